//! The little of DER (X.690) that OpenSSL's binding does not reach: walking to a certificate's extensions and into them.

/// Not DER of the expected shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotDer;

/// Universal tags, and the context tags of a certificate.
pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const BMP_STRING: u8 = 0x1e;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const CONTEXT_0: u8 = 0xa0;
pub(super) const CONTEXT_1: u8 = 0x81;
pub(super) const CONTEXT_2: u8 = 0x82;
pub(super) const CONTEXT_3: u8 = 0xa3;
/// dNSName in a GeneralName.
pub(super) const DNS_NAME: u8 = 0x82;

/// Elements one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `bytes` from the front.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes not yet read.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next element's tag and contents. Tags of one byte, lengths definite and in their shortest form.
    pub(super) fn any(&mut self) -> Result<(u8, &'a [u8]), NotDer> {
        let (&tag, rest) = self.0.split_first().ok_or(NotDer)?;
        if tag & 0x1f == HIGH_NUMBER {
            return Err(NotDer);
        }
        let (contents, rest) = contents(rest)?;
        self.0 = rest;
        Ok((tag, contents))
    }

    /// The number and the contents of the next element, whose tag must be an EXPLICIT one: of the context, constructed. Its number has one
    /// form: up to 30 it is in the first byte, from there on in one to three bytes after it (X.690 section 8.1.2.4).
    pub(super) fn explicit(&mut self) -> Result<(u32, &'a [u8]), NotDer> {
        let (&tag, rest) = self.0.split_first().ok_or(NotDer)?;
        if tag & 0xe0 != 0xa0 {
            return Err(NotDer);
        }
        let (number, rest) = if tag & 0x1f == HIGH_NUMBER { high_number(rest)? } else { (u32::from(tag & 0x1f), rest) };
        let (contents, rest) = contents(rest)?;
        self.0 = rest;
        Ok((number, contents))
    }

    /// The contents of the next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<&'a [u8], NotDer> {
        match self.any()? {
            (found, contents) if found == tag => Ok(contents),
            _ => Err(NotDer),
        }
    }

    /// The contents of the next element if it has this tag; else nothing is read.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, NotDer> {
        if self.0.first() == Some(&tag) { self.expect(tag).map(Some) } else { Ok(None) }
    }

    /// A BOOLEAN that is FALSE when it is left out, which in DER is the only way to write that.
    pub(super) fn default_false(&mut self) -> Result<bool, NotDer> {
        match self.optional(BOOLEAN)? {
            // To write FALSE is not DER, but makers of attestation certificates do.
            None | Some([0x00]) => Ok(false),
            Some([0xff]) => Ok(true),
            Some(_) => Err(NotDer),
        }
    }
}

/// What a tag's five last bits are where its number comes in the bytes after it.
const HIGH_NUMBER: u8 = 0x1f;

/// The tag number that `bytes` begin with, seven bits to a byte, and the bytes after it.
fn high_number(bytes: &[u8]) -> Result<(u32, &[u8]), NotDer> {
    let more = bytes.iter().take(2).take_while(|&&byte| byte & 0x80 != 0).count();
    let (bytes, rest) = bytes.split_at_checked(more + 1).ok_or(NotDer)?;
    let number = bytes.iter().fold(0, |n, &byte| n << 7 | u32::from(byte & 0x7f));
    let ends = bytes.last().is_some_and(|&byte| byte & 0x80 == 0);
    if ends && bytes.first() != Some(&0x80) && number >= u32::from(HIGH_NUMBER) { Ok((number, rest)) } else { Err(NotDer) }
}

/// The contents whose length `bytes` begin with, and the bytes after them.
fn contents(bytes: &[u8]) -> Result<(&[u8], &[u8]), NotDer> {
    let (&length, rest) = bytes.split_first().ok_or(NotDer)?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f)).ok_or(NotDer)?;
            let length = bytes.iter().fold(0usize, |n, &byte| n << 8 | usize::from(byte));
            if length < 0x80 || bytes.first() == Some(&0) {
                return Err(NotDer);
            }
            (length, rest)
        }
        _ => return Err(NotDer),
    };
    rest.split_at_checked(length).ok_or(NotDer)
}

/// The contents of the one element that `bytes` are, of this tag.
pub(super) fn only(tag: u8, bytes: &[u8]) -> Result<&[u8], NotDer> {
    let mut reader = Reader::new(bytes);
    let contents = reader.expect(tag)?;
    if reader.is_empty() { Ok(contents) } else { Err(NotDer) }
}

/// An element, for tests to put certificates' extensions together. The tag may have more than one byte.
#[cfg(test)]
pub(super) fn element(tag: &[u8], contents: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(contents.len()).unwrap_or(u16::MAX).to_be_bytes();
    let length: &[u8] = match contents.len() {
        0..0x80 => &[low],
        0x80..0x100 => &[0x81, low],
        _ => &[0x82, high, low],
    };
    [tag, length, contents].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(only(4, &[4, 2, 7, 8]), Ok(&[7, 8][..]));
        let long = [&[4, 0x81, 0x80][..], &[0; 128]].concat();
        assert_eq!(only(4, &long).map(<[u8]>::len), Ok(128));
        let longer = [&[4, 0x82, 0x01, 0x00][..], &[0; 256]].concat();
        assert_eq!(only(4, &longer).map(<[u8]>::len), Ok(256));
        for bad in [
            &[][..],
            &[4],
            &[4, 1],
            &[4, 0x80, 0, 0],
            &[4, 0x81, 1, 0],
            &[4, 0x82, 0, 0x80],
            &[4, 0x85, 0, 0, 0, 0, 0],
            &[4, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[4, 0xff],
            &[0x1f, 1, 0],
            &[4, 0, 0],
            &[5, 0],
        ] {
            assert_eq!(only(4, bad), Err(NotDer), "{bad:02x?}");
        }
    }

    #[test]
    fn optional_elements() {
        let mut reader = Reader::new(&[1, 1, 0xff, 4, 0]);
        assert_eq!(reader.optional(4), Ok(None));
        assert_eq!(reader.default_false(), Ok(true));
        assert_eq!(reader.default_false(), Ok(false));
        assert_eq!(reader.expect(4), Ok(&[][..]));
        assert!(reader.is_empty());
        assert_eq!(Reader::new(&[1, 1, 7]).default_false(), Err(NotDer));
    }

    #[test]
    fn explicit_tags_of_any_number() {
        for (tag, number) in [
            (&[0xa0][..], 0),
            (&[0xa1], 1),
            (&[0xbe], 30),
            (&[0xbf, 31], 31),
            (&[0xbf, 0x7f], 127),
            (&[0xbf, 0x81, 0x00], 128),
            (&[0xbf, 0x84, 0x58], 600),
            (&[0xbf, 0x85, 0x3e], 702),
            (&[0xbf, 0xff, 0xff, 0x7f], 0x1f_ffff),
        ] {
            let bytes = [&element(tag, &[5, 0])[..], &[7]].concat();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.explicit(), Ok((number, &[5, 0][..])), "{tag:02x?}");
            assert_eq!(reader.rest(), [7]);
        }
    }

    #[test]
    fn a_tag_has_one_form() {
        for tag in [
            &[][..],
            &[0x30],
            &[0x81],
            &[0x9f, 0x84, 0x58],
            &[0xe1],
            &[0x3f, 0x84, 0x58],
            &[0xbf],
            &[0xbf, 30],
            &[0xbf, 0x80, 0x1f],
            &[0xbf, 0x80, 0x84, 0x58],
            &[0xbf, 0x84],
            &[0xbf, 0xff, 0xff, 0xff],
            &[0xbf, 0x81, 0x80, 0x80, 0x00],
        ] {
            assert_eq!(Reader::new(&[tag, &[0]].concat()).explicit(), Err(NotDer), "{tag:02x?}");
        }
        assert_eq!(Reader::new(&[0xbf, 0x84, 0x58, 1]).explicit(), Err(NotDer));
        assert_eq!(Reader::new(&[0xbf, 0x84, 0x58, 0]).any(), Err(NotDer));
    }
}
