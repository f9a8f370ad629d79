//! A CBOR writer that writes what it is told, wrong or right: keys in the order given, twice if given twice.

/// One CBOR data item.
#[derive(Debug, Clone, PartialEq)]
pub enum Cbor {
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Cbor>),
    Map(Entries),
    /// Bytes that stand where an item should: wrong CBOR goes here.
    Raw(Vec<u8>),
}

/// The entries of a map, in the order in which they are written.
pub type Entries = Vec<(Cbor, Cbor)>;

impl Cbor {
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The item's bytes, each integer and length in its shortest form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(n) if *n < 0 => out.extend(head(1, (-1 - n).cast_unsigned())),
            Self::Int(n) => out.extend(head(0, n.cast_unsigned())),
            Self::Bytes(bytes) => {
                out.extend(head(2, bytes.len() as u64));
                out.extend(bytes);
            }
            Self::Text(text) => {
                out.extend(head(3, text.len() as u64));
                out.extend(text.as_bytes());
            }
            Self::Array(items) => {
                out.extend(head(4, items.len() as u64));
                for item in items {
                    item.write(out);
                }
            }
            Self::Map(entries) => {
                out.extend(head(5, entries.len() as u64));
                for (key, value) in entries {
                    key.write(out);
                    value.write(out);
                }
            }
            Self::Raw(bytes) => out.extend(bytes),
        }
    }
}

/// The first bytes of an item: its major type and its length or value (RFC 8949 section 3).
pub fn head(major: u8, n: u64) -> Vec<u8> {
    let major = major << 5;
    let bytes = n.to_be_bytes();
    match n {
        0..=23 => vec![major | bytes[7]],
        24..=0xff => vec![major | 0x18, bytes[7]],
        0x100..=0xffff => [&[major | 0x19], &bytes[6..]].concat(),
        0x1_0000..=0xffff_ffff => [&[major | 0x1a], &bytes[4..]].concat(),
        _ => [&[major | 0x1b], &bytes[..]].concat(),
    }
}

/// Replaces the value of a text key, or adds the entry at the end.
pub fn set(entries: &mut Entries, key: &str, value: Cbor) {
    match entries.iter_mut().find(|(k, _)| *k == Cbor::text(key)) {
        Some((_, old)) => *old = value,
        None => entries.push((Cbor::text(key), value)),
    }
}

/// Takes an entry out; panics when it is not there, because then the test tests nothing.
pub fn remove(entries: &mut Entries, key: &str) -> Cbor {
    let at = entries.iter().position(|(k, _)| *k == Cbor::text(key)).unwrap_or_else(|| panic!("no {key}"));
    entries.remove(at).1
}

#[test]
fn writes_the_examples_of_rfc_8949() {
    for (item, hex) in [
        (Cbor::Int(0), "00"),
        (Cbor::Int(23), "17"),
        (Cbor::Int(24), "1818"),
        (Cbor::Int(1000), "1903e8"),
        (Cbor::Int(1_000_000), "1a000f4240"),
        (Cbor::Int(1_000_000_000_000), "1b000000e8d4a51000"),
        (Cbor::Int(-1), "20"),
        (Cbor::Int(-1000), "3903e7"),
        (Cbor::Bytes(vec![1, 2, 3, 4]), "4401020304"),
        (Cbor::text("IETF"), "6449455446"),
        (Cbor::Array(vec![Cbor::Int(1), Cbor::Array(vec![Cbor::Int(2), Cbor::Int(3)])]), "8201820203"),
        (Cbor::Map(vec![(Cbor::Int(1), Cbor::Int(2)), (Cbor::Int(3), Cbor::Int(4))]), "a201020304"),
    ] {
        let expected: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        assert_eq!(item.encode(), expected, "{item:?}");
    }
}
