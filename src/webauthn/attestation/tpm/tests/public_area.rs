use super::*;
use crate::webauthn::cose::CoseKey;

fn area_fault(area: Area, credential: CoseAlgorithm) -> TpmError {
    fault(Tpm { area, ..tpm() }, credential)
}

fn is_good_area(area: Area, credential: CoseAlgorithm) -> bool {
    is_good(Tpm { area, ..tpm() }, credential)
}

#[test]
fn what_it_may_say() {
    let area = Area::default;
    for credential in [A::Es256, A::Rs256] {
        assert!(is_good_area(Area { attributes: 0, policy: vec![], ..area() }, credential));
        assert!(is_good_area(Area { attributes: u32::MAX, policy: vec![1; 64], ..area() }, credential));
        for cipher in [0x0003, 0x0006, 0x0013, 0x0026] {
            assert!(is_good_area(Area { symmetric: vec![cipher, 128, 0x0043], ..area() }, credential));
        }
    }
    assert!(is_good_area(Area { exponent_or_curve: Some(65537), ..area() }, A::Rs256));
    for kdf in [0x0007, 0x0020, 0x0021, 0x0022] {
        assert!(is_good_area(Area { kdf: vec![kdf, 0x000b], ..area() }, A::Es256));
    }
}

#[test]
fn a_scheme_is_the_keys_own() {
    for (credential, own) in [
        (A::Es256, [structures::ECDSA, 0x000b]),
        (A::Es512, [structures::ECDSA, 0x000d]),
        (A::Rs256, [structures::RSASSA, 0x000b]),
        (A::Rs384, [structures::RSASSA, 0x000c]),
        (A::Ps256, [structures::RSAPSS, 0x000b]),
    ] {
        assert!(is_good_area(Area { scheme: own.to_vec(), ..Area::default() }, credential));
        let others: &[&[u16]] = match credential {
            A::Es256 | A::Es512 => &[&[0x0018, 0x000c], &[0x0019, 0x000b], &[0x001a, 0x000b, 1], &[0x001b, 0x000b], &[0x001c, 0x000b]],
            _ => &[&[0x0014, 0x000d], &[0x0016, 0x000d], &[0x0015], &[0x0017, 0x000b]],
        };
        for other in others {
            let area = Area { scheme: other.to_vec(), ..Area::default() };
            assert_eq!(area_fault(area, credential), TpmError::KeyMismatch("scheme"), "{credential} {other:x?}");
        }
    }
}

#[test]
fn what_has_no_use_here() {
    let area = Area::default;
    for kind in [0x0000, 0x0008, 0x0025] {
        assert_eq!(area_fault(Area { kind: Some(kind), ..area() }, A::Es256), TpmError::Unsupported("type", kind));
    }
    for name_alg in [0x0000, 0x0010, 0x0012, 0x0027, 0x0028, 0x0029] {
        assert_eq!(area_fault(Area { name_alg, ..area() }, A::Es256), TpmError::Unsupported("nameAlg", name_alg));
    }
    assert_eq!(TpmError::Unsupported("nameAlg", 0x12).to_string(), "pubArea's nameAlg SM3-256 (0x0012) is not supported");
    let symmetric = Area { symmetric: vec![0x000a, 0x000b], ..area() };
    assert_eq!(area_fault(symmetric, A::Es256), TpmError::Unsupported("symmetric", 0x000a));
    for (credential, scheme) in [(A::Rs256, 0x0018), (A::Es256, 0x0014), (A::Es256, 0x0015), (A::Es256, 0xffff)] {
        let area = Area { scheme: vec![scheme, 0x000b], ..area() };
        assert_eq!(area_fault(area, credential), TpmError::Unsupported("scheme", scheme));
    }
    for curve in [0, 1, 2, 0x10, 0x20, 0x40] {
        let area = Area { exponent_or_curve: Some(curve), ..area() };
        assert_eq!(area_fault(area, A::Es256), TpmError::Curve(u16::try_from(curve).unwrap()));
    }
    assert_eq!(area_fault(Area { kdf: vec![0x0018, 0x000b], ..area() }, A::Es256), TpmError::Unsupported("kdf", 0x0018));
}

#[test]
fn its_shape() {
    let area = Area::default;
    for credential in [A::Es256, A::Rs256] {
        assert_eq!(area_fault(Area { tail: vec![0], ..area() }, credential), TpmError::Trailing("pubArea"));
        let long = TpmError::TooLong("pubArea", "authPolicy");
        assert_eq!(area_fault(Area { policy: vec![0; 65], ..area() }, credential), long);
    }
    let unique = |numbers: &[usize]| Some(numbers.iter().map(|&length| vec![0; length]).collect());
    let long = TpmError::TooLong("pubArea", "unique");
    assert_eq!(area_fault(Area { unique: unique(&[33, 32]), ..area() }, A::Es256), long);
    assert_eq!(area_fault(Area { unique: unique(&[32, 33]), ..area() }, A::Es256), long);
    assert_eq!(area_fault(Area { unique: unique(&[1025]), ..area() }, A::Rs256), long);
    for credential in [A::Es256, A::Rs256] {
        let bytes = area().bytes(&KeyPair::generate(credential).cose);
        assert!(PublicArea::parse(&bytes).is_ok());
        for cut in 0..bytes.len() {
            assert_eq!(PublicArea::parse(&bytes[..cut]).unwrap_err(), TpmError::Truncated("pubArea"));
        }
    }
}

#[test]
fn another_key() {
    let area = Area::default;
    let other = |algorithm| {
        let cose = KeyPair::generate(algorithm).cose;
        let value = Value::parse(&cose).unwrap();
        let coordinate = |label| value.as_map().unwrap().int(label).and_then(Value::as_bytes).unwrap().to_vec();
        Some(vec![coordinate(-2), coordinate(-3)])
    };
    assert_eq!(area_fault(Area { unique: other(A::Es256), ..area() }, A::Es256), TpmError::KeyMismatch("x"));
    let curve = Area { exponent_or_curve: Some(4), ..area() };
    assert_eq!(area_fault(curve, A::Es256), TpmError::KeyMismatch("curve"));
    assert_eq!(area_fault(Area { unique: Some(vec![vec![0xff; 256]]), ..area() }, A::Rs256), TpmError::KeyMismatch("modulus"));
    assert_eq!(area_fault(Area { exponent_or_curve: Some(3), ..area() }, A::Rs256), TpmError::KeyMismatch("exponent"));
    for bits in [0, 2047, 2049, 3072] {
        assert_eq!(area_fault(Area { bits: Some(bits), ..area() }, A::Rs256), TpmError::KeyMismatch("keyBits"));
    }
    assert_eq!(check(&area().bytes(&KeyPair::generate(A::Rs256).cose), &KeyPair::generate(A::Es256)), Err(TpmError::KeyMismatch("type")));
    assert_eq!(check(&area().bytes(&KeyPair::generate(A::Es256).cose), &KeyPair::generate(A::Rs256)), Err(TpmError::KeyMismatch("type")));
    assert_eq!(check(&area().bytes(&KeyPair::generate(A::Es256).cose), &KeyPair::generate(A::EdDsa)), Err(TpmError::KeyMismatch("type")));
    let key = KeyPair::generate(A::Es256);
    let mut bytes = area().bytes(&key.cose);
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(check(&bytes, &key), Err(TpmError::KeyMismatch("y")));
}

fn check(area: &[u8], key: &KeyPair) -> Result<(), TpmError> {
    let value = Value::parse(&key.cose).unwrap();
    check_key(&PublicArea::parse(area)?, &CoseKey::parse(value.as_map().unwrap()).unwrap())
}

/// One key in 128 has a coordinate that begins with a zero, which a TPM may leave out.
#[test]
fn numbers_are_compared_not_bytes() {
    let mut seen = [false; 2];
    while seen != [true; 2] {
        let key = KeyPair::generate(A::Es256);
        let value = Value::parse(&key.cose).unwrap();
        let coordinate = |label| value.as_map().unwrap().int(label).and_then(Value::as_bytes).unwrap();
        let (x, y) = (number(coordinate(-2)), number(coordinate(-3)));
        if x.len() == 32 && y.len() == 32 {
            continue;
        }
        seen = [seen[0] || x.len() < 32, seen[1] || y.len() < 32];
        let area = Area { unique: Some(vec![x.to_vec(), y.to_vec()]), ..Area::default() };
        assert_eq!(check(&area.bytes(&key.cose), &key), Ok(()));
        assert_eq!(check(&Area::default().bytes(&key.cose), &key), Ok(()));
    }
    assert_eq!((number(&[0, 0, 1, 0]), number(&[0]), number(&[])), (&[1, 0][..], &[][..], &[][..]));
    assert_eq!((bit_length(&[1]), bit_length(&[0x80, 0]), bit_length(&[])), (Some(1), Some(16), None));
}
