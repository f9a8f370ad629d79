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
pub(super) const BMP_STRING: u8 = 0x1e;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const CONTEXT_0: u8 = 0xa0;
pub(super) const CONTEXT_1: u8 = 0x81;
pub(super) const CONTEXT_2: u8 = 0x82;
pub(super) const CONTEXT_3: u8 = 0xa3;

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
        let (&[tag, length], rest) = self.0.split_first_chunk::<2>().ok_or(NotDer)?;
        if tag & 0x1f == 0x1f {
            return Err(NotDer);
        }
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
        let (contents, rest) = rest.split_at_checked(length).ok_or(NotDer)?;
        self.0 = rest;
        Ok((tag, contents))
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

/// The contents of the one element that `bytes` are, of this tag.
pub(super) fn only(tag: u8, bytes: &[u8]) -> Result<&[u8], NotDer> {
    let mut reader = Reader::new(bytes);
    let contents = reader.expect(tag)?;
    if reader.is_empty() { Ok(contents) } else { Err(NotDer) }
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
}
