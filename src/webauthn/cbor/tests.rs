use proptest::{collection::vec, prelude::*};

use super::*;

fn refused(bytes: &[u8]) -> Error {
    Value::parse(bytes).unwrap_err()
}

#[test]
fn reads_each_kind() {
    for (bytes, value) in [
        (&[0x17][..], Value::Unsigned(23)),
        (&[0x18, 0x18], Value::Unsigned(24)),
        (&[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Value::Unsigned(u64::MAX)),
        (&[0x39, 0x01, 0x00], Value::from(-257)),
        (&[0x42, 1, 2], Value::Bytes(&[1, 2])),
        (&[0x62, 0xc3, 0xa9], Value::Text("é")),
        (&[0x82, 0xf4, 0xf5], Value::Array(vec![Value::Bool(false), Value::Bool(true)])),
        (&[0xf6], Value::Null),
        (&[0xf7], Value::Undefined),
        (&[0xf9, 0x3c, 0x00], Value::Float(&[0x3c, 0x00])),
        (&[0xa1, 0x01, 0x02], Value::Map(Map(vec![(Value::Unsigned(1), Value::Unsigned(2))]))),
    ] {
        assert_eq!(Value::parse(bytes), Ok(value.clone()), "{bytes:02x?}");
        assert_eq!(value.to_vec(), bytes, "{value:?}");
    }
}

#[test]
fn integers_convert_both_ways() {
    for n in [0, 1, -1, -7, -257, -65535, i64::MAX, i64::MIN] {
        assert_eq!(Value::from(n).as_int(), Some(n), "{n}");
    }
    assert_eq!(Value::Unsigned(u64::MAX).as_int(), None);
    assert_eq!(Value::Negative(u64::MAX).as_int(), None);
}

#[test]
fn refuses_what_is_not_canonical() {
    for (bytes, error) in [
        (&[][..], Error::Truncated),
        (&[0x19, 0x01], Error::Truncated),
        (&[0x42, 0x01], Error::Truncated),
        (&[0x01, 0x01], Error::TrailingBytes),
        (&[0x18, 0x17], Error::NotShortest),
        (&[0x19, 0x00, 0xff], Error::NotShortest),
        (&[0x38, 0x01], Error::NotShortest),
        (&[0x58, 0x01, 0x00], Error::NotShortest),
        (&[0x5f, 0x41, 0x00, 0xff], Error::Indefinite),
        (&[0x9f, 0xff], Error::Indefinite),
        (&[0xbf, 0xff], Error::Indefinite),
        (&[0xff], Error::Indefinite),
        (&[0xa2, 0x01, 0x00, 0x01, 0x00], Error::DuplicateKey),
        (&[0xa3, 0x61, 0x61, 0x00, 0x01, 0x00, 0x61, 0x61, 0x01], Error::DuplicateKey),
        // Two orders of one map.
        (&[0xa2, 0xa2, 0x01, 0x00, 0x02, 0x00, 0x00, 0xa2, 0x02, 0x00, 0x01, 0x00, 0x00], Error::DuplicateKey),
        (&[0x61, 0xff], Error::NotUtf8),
        (&[0xc0, 0x00], Error::Tag),
        (&[0xe0], Error::Reserved),
        (&[0xf8, 0x20], Error::Reserved),
        (&[0x1c], Error::Reserved),
    ] {
        assert_eq!(refused(bytes), error, "{bytes:02x?}");
    }
}

#[test]
fn a_claimed_size_costs_nothing() {
    assert_eq!(refused(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Error::Truncated);
    assert_eq!(refused(&[0xba, 0xff, 0xff, 0xff, 0xff]), Error::Truncated);
    assert_eq!(refused(&[0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Error::Truncated);
    let many = [vec![0x99, 0x20, 0x00], vec![0; 0x2000]].concat();
    assert_eq!(refused(&many), Error::TooMany);
}

#[test]
fn depth_is_bounded() {
    let nested = |n: usize| [vec![0x81; n], vec![0]].concat();
    assert!(Value::parse(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(refused(&nested(MAX_DEPTH + 1)), Error::TooDeep);
    assert_eq!(refused(&nested(60_000)), Error::TooDeep);
}

#[test]
fn keys_out_of_order_are_read_and_written_in_order() {
    let value = Value::parse(&[0xa3, 0x20, 0x01, 0x61, 0x61, 0x02, 0x03, 0x26]).unwrap();
    assert_eq!(value.as_map().unwrap().int(3).unwrap().as_int(), Some(-7));
    assert_eq!(value.as_map().unwrap().text("a").unwrap().as_int(), Some(2));
    assert_eq!(value.to_vec(), [0xa3, 0x03, 0x26, 0x20, 0x01, 0x61, 0x61, 0x02]);
}

#[test]
fn the_item_before_other_bytes() {
    let (value, rest) = Value::parse_prefix(&[0x01, 0xff, 0xee]).unwrap();
    assert_eq!((value, rest), (Value::Unsigned(1), &[0xff, 0xee][..]));
}

/// A value that owns its strings, to be written and read again.
#[derive(Debug, Clone)]
enum Owned {
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
    Simple(u8),
    Float(Vec<u8>),
    Array(Vec<Owned>),
    Map(Vec<Owned>),
}

impl Owned {
    fn any() -> impl Strategy<Value = Self> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Self::Int),
            (-300..300i64).prop_map(Self::Int),
            vec(any::<u8>(), 0..40).prop_map(Self::Bytes),
            ".{0,30}".prop_map(Self::Text),
            (0..4u8).prop_map(Self::Simple),
            prop::sample::select(vec![2usize, 4, 8]).prop_flat_map(|n| vec(any::<u8>(), n)).prop_map(Self::Float),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![vec(inner.clone(), 0..5).prop_map(Self::Array), vec(inner, 0..5).prop_map(Self::Map)]
        })
    }

    fn value(&self) -> Value<'_> {
        match self {
            Self::Int(n) => (*n).into(),
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Text(text) => Value::Text(text),
            Self::Simple(n) => [Value::Null, Value::Undefined, Value::Bool(true), Value::Bool(false)][usize::from(*n)].clone(),
            Self::Float(bytes) => Value::Float(bytes),
            Self::Array(items) => Value::Array(items.iter().map(Self::value).collect()),
            // Keys that differ: the place of each value.
            Self::Map(items) => Value::Map(Map((0..).zip(items).map(|(n, item)| (Value::from(2 - n), item.value())).collect())),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(owned in Owned::any()) {
        let written = owned.value().to_vec();
        let read = Value::parse(&written).unwrap();
        prop_assert_eq!(read.to_vec(), written.clone());
        for cut in 0..written.len() {
            prop_assert!(Value::parse(&written[..cut]).is_err());
        }
        let longer = [&written[..], &[0]].concat();
        prop_assert_eq!(Value::parse(&longer), Err(Error::TrailingBytes));
    }

    /// What is read has one encoding, but for the order of keys: writing it gives as many bytes.
    #[test]
    fn what_is_read_was_canonical(bytes in vec(any::<u8>(), 0..64)) {
        if let Ok(value) = Value::parse(&bytes) {
            prop_assert_eq!(value.to_vec().len(), bytes.len());
        }
    }
}
