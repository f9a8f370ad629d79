//! CRLs that a metadata service of the tests signs.

use std::slice;

use proptest::prelude::*;

use super::*;
use crate::webauthn::metadata::testing::{CrlSpec, INTERMEDIATE, LEAF, ROOT, Service, tlv};

/// The serial number of every certificate in unit tests.
const SERIAL: u8 = 7;
const SIGNER: &str = "O=Example, CN=mds.fidoalliance.org";

fn fault(service: &Service, crl: Vec<u8>) -> CrlFault {
    match service.verify_with(&[crl]).unwrap_err() {
        BlobError::Crl { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

#[test]
fn what_was_checked_is_told() {
    let service = Service::default();
    let [of_root, of_intermediate] = [ROOT, INTERMEDIATE].map(|ca| service.crl(ca, &CrlSpec { serials: &[1, 2], ..CrlSpec::default() }));
    assert_eq!(service.verify_with(&[]).unwrap().unchecked, [SIGNER, "CN=Intermediate"]);
    assert_eq!(service.verify_with(slice::from_ref(&of_root)).unwrap().unchecked, [SIGNER]);
    assert_eq!(service.verify_with(slice::from_ref(&of_intermediate)).unwrap().unchecked, ["CN=Intermediate"]);
    assert_eq!(service.verify_with(&[of_root, of_intermediate]).unwrap().unchecked, [""; 0]);
}

#[test]
fn revoked() {
    let service = Service::default();
    for (ca, subject) in [(INTERMEDIATE, SIGNER), (ROOT, "CN=Intermediate")] {
        let crl = service.crl(ca, &CrlSpec { serials: &[1, SERIAL, 9], ..CrlSpec::default() });
        assert_eq!(service.verify_with(slice::from_ref(&crl)).unwrap_err(), BlobError::Revoked(subject.to_owned()));
        // One list that says nothing does not help.
        let empty = service.crl(ca, &CrlSpec::default());
        assert_eq!(service.verify_with(&[empty, crl]).unwrap_err(), BlobError::Revoked(subject.to_owned()));
    }
}

#[test]
fn of_nobody_on_the_path() {
    let (service, other) = (Service::default(), Service::default());
    assert_eq!(fault(&service, service.crl(LEAF, &CrlSpec::default())), CrlFault::Foreign);
    // Of the same name, with another key.
    assert_eq!(fault(&service, other.crl(ROOT, &CrlSpec::default())), CrlFault::Signature);
    let mut tampered = service.crl(ROOT, &CrlSpec { serials: &[SERIAL], ..CrlSpec::default() });
    let place = tampered.windows(3).rposition(|window| window == [2, 1, SERIAL]).unwrap();
    tampered[place + 2] = 8;
    assert_eq!(fault(&service, tampered), CrlFault::Signature);
}

/// The instant is the end of the first day.
#[test]
fn dates() {
    let service = Service::default();
    let of = |validity| service.crl(ROOT, &CrlSpec { validity, ..CrlSpec::default() });
    for validity in [(0, Some(1)), (1, Some(2)), (-9, Some(9))] {
        assert!(service.verify_with(&[of(validity)]).is_ok(), "{validity:?}");
    }
    assert_eq!(fault(&service, of((2, Some(9)))), CrlFault::NotYet);
    assert_eq!(fault(&service, of((-9, Some(0)))), CrlFault::Stale);
    assert_eq!(fault(&service, of((0, None))), CrlFault::Stale);
}

#[test]
fn critical_extensions() {
    let service = Service::default();
    let parse = |extension: (&[u8], bool, Vec<u8>)| {
        Crl::parse(&service.crl(ROOT, &CrlSpec { extensions: &[extension], ..CrlSpec::default() })).map(|_| ())
    };
    let number = vec![2, 1, 1];
    // cRLNumber, deltaCRLIndicator, one that nobody knows.
    assert_eq!(parse((&[0x55, 0x1d, 0x14], false, number.clone())), Ok(()));
    assert_eq!(parse((&[0x55, 0x1d, 0x1b], true, number.clone())), Err(CrlError::Critical));
    assert_eq!(parse((&[0x2a, 0x03], true, number)), Err(CrlError::Critical));
    for tag in [ONLY_SOME_REASONS, INDIRECT, ONLY_ATTRIBUTE_CERTIFICATES] {
        let point = tlv(0x30, &[&tlv(tag, &[&[0xff]])]);
        assert_eq!(parse((ISSUING_DISTRIBUTION_POINT, true, point.clone())), Err(CrlError::Critical), "{tag:x}");
        assert_eq!(parse((ISSUING_DISTRIBUTION_POINT, false, point)), Err(CrlError::Critical), "{tag:x}");
    }
    assert_eq!(parse((ISSUING_DISTRIBUTION_POINT, true, vec![4, 0])), Err(CrlError::Malformed));
}

/// A list for CAs alone says nothing of the signer, and one for a distribution point nothing of certificates that do not name it.
#[test]
fn scope() {
    let service = Service::default();
    let of = |ca, part: Vec<u8>| {
        let extensions = [(ISSUING_DISTRIBUTION_POINT, true, tlv(0x30, &[&part]))];
        service.crl(ca, &CrlSpec { serials: &[SERIAL], extensions: &extensions, ..CrlSpec::default() })
    };
    let (users, cas) = (tlv(der::CONTEXT_1, &[&[0xff]]), tlv(der::CONTEXT_2, &[&[0xff]]));
    let both = [SIGNER, "CN=Intermediate"];
    assert_eq!(service.verify_with(&[of(INTERMEDIATE, cas.clone())]).unwrap().unchecked, both);
    assert_eq!(service.verify_with(&[of(ROOT, users.clone())]).unwrap().unchecked, both);
    assert!(matches!(service.verify_with(&[of(INTERMEDIATE, users)]), Err(BlobError::Revoked(_))));
    assert!(matches!(service.verify_with(&[of(ROOT, cas)]), Err(BlobError::Revoked(_))));
    let point = |uri: &[u8]| tlv(0xa0, &[&tlv(0xa0, &[&tlv(URI, &[uri])])]);
    assert_eq!(service.verify_with(&[of(INTERMEDIATE, point(b"http://example.org/1"))]).unwrap().unchecked, both);
}

#[test]
fn distribution_points() {
    let point = |uri: &[u8]| tlv(0xa0, &[&tlv(0xa0, &[&tlv(URI, &[uri])])]);
    let own = tlv(0x30, &[&tlv(0x30, &[&point(b"http://example.org/1")]), &tlv(0x30, &[&point(b"http://example.org/2")])]);
    let service = Service::extended(Some(("2.5.29.31", &own)), None);
    let of = |uri| {
        let extensions = [(ISSUING_DISTRIBUTION_POINT, true, tlv(0x30, &[&point(uri)]))];
        let crl = service.crl(INTERMEDIATE, &CrlSpec { serials: &[SERIAL], extensions: &extensions, ..CrlSpec::default() });
        service.verify_with(&[crl])
    };
    for uri in [b"http://example.org/1", b"http://example.org/2"] {
        assert_eq!(of(uri).unwrap_err(), BlobError::Revoked(SIGNER.to_owned()));
    }
    assert_eq!(of(b"http://example.org/3").unwrap().unchecked, [SIGNER, "CN=Intermediate"]);
}

#[test]
fn pem_and_der() {
    let der = Service::default().crl(ROOT, &CrlSpec::default());
    let pem = X509Crl::from_der(&der).unwrap().to_pem().unwrap();
    assert_eq!(Crl::parse(&pem).unwrap().issuer(), "CN=Root");
    for bytes in [&b""[..], b"x", b"-----BEGIN X509 CRL-----", &der[..der.len() - 1], &pem[..pem.len() / 2]] {
        assert_eq!(Crl::parse(bytes).unwrap_err(), CrlError::Malformed);
    }
    assert_eq!(Crl::parse(&vec![0x30; MAX_LEN + 1]).unwrap_err(), CrlError::Malformed);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Crl::parse(&bytes).is_err());
    }

    #[test]
    fn any_byte_changed(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let service = Service::default();
        let point = tlv(0x30, &[&tlv(0xa0, &[&tlv(0xa0, &[&tlv(URI, &[b"http://example.org/1.crl"])])])]);
        let extensions = [(ISSUING_DISTRIBUTION_POINT, true, point)];
        let mut crl = service.crl(ROOT, &CrlSpec { serials: &[SERIAL], extensions: &extensions, ..CrlSpec::default() });
        let place = place.index(crl.len());
        crl[place] = byte;
        if let Ok(crl) = Crl::parse(&crl) {
            let path: Vec<_> = [LEAF, INTERMEDIATE, ROOT].into_iter().map(|n| service.chain[n].0.clone()).collect();
            let _ = check_revocation(&path, &[crl], crate::webauthn::metadata::testing::NOW);
        }
    }
}
