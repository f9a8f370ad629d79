use openssl::{
    error::ErrorStack,
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::Rsa,
    x509::{X509Builder, X509NameBuilder, extension::BasicConstraints},
};

use super::{super::testing::*, *};
use crate::{
    domain::TrustDemand,
    webauthn::{
        CoseAlgorithm, TrustAnchor,
        testing::{CertificateSpec, KeyPair, NEW_YEAR, Statement},
    },
};

/// The places of the path found from these certificates of a chain to one of these anchors, at the end of new year's day.
fn find_in(chain: &Chain, x5c: &[usize], anchors: &[usize]) -> Result<Vec<usize>, TrustError> {
    let ders: Vec<_> = x5c.iter().map(|&n| chain.der(n)).collect();
    let found = find_ders(&ders, anchors.iter().map(|&n| chain.anchor(n)))?;
    Ok(found.iter().map(|one| chain.0.iter().position(|(other, _)| other == one).unwrap()).collect())
}

fn find_ders(ders: &[Vec<u8>], anchors: impl Iterator<Item = TrustAnchor>) -> Result<Vec<X509>, TrustError> {
    let path: Vec<_> = ders.iter().map(|der| Cow::Borrowed(der.as_slice())).collect();
    let now = Timestamp::from_millis((NEW_YEAR + 86_400) * 1000);
    let set: AnchorSet = anchors.collect();
    find(&path, &[("ours", &set)], now, || "ours".to_owned()).map(|path| {
        assert_eq!(path.set, "ours");
        path.certificates
    })
}

/// Why, and at which certificate.
fn no_path<T: std::fmt::Debug>(verdict: Result<T, TrustError>) -> (String, String) {
    match verdict {
        Err(TrustError::NoPath { subject, why, looked_in }) => {
            assert_eq!(looked_in, "ours");
            (subject, why)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn paths_to_any_kind_of_anchor() {
    let chain = Chain::new();
    let all = Ok(vec![LEAF, INTERMEDIATE, ROOT]);
    assert_eq!(find_in(&chain, &[LEAF, INTERMEDIATE], &[ROOT]), all);
    assert_eq!(find_in(&chain, &[LEAF, INTERMEDIATE, ROOT], &[ROOT]), all);
    assert_eq!(find_in(&chain, &[LEAF], &[INTERMEDIATE]), Ok(vec![LEAF, INTERMEDIATE]));
    assert_eq!(find_in(&chain, &[LEAF, INTERMEDIATE], &[INTERMEDIATE]), Ok(vec![LEAF, INTERMEDIATE]));
    assert_eq!(find_in(&chain, &[LEAF, INTERMEDIATE, ROOT], &[INTERMEDIATE]), Ok(vec![LEAF, INTERMEDIATE]));
    assert_eq!(find_in(&chain, &[LEAF], &[LEAF]), Ok(vec![LEAF]));
    assert_eq!(find_in(&chain, &[LEAF, INTERMEDIATE, ROOT], &[LEAF]), Ok(vec![LEAF]));
}

#[test]
fn no_path_says_where_it_ended() {
    let (chain, other) = (Chain::new(), Chain::new());
    let (subject, why) = no_path(find_in(&chain, &[LEAF], &[ROOT]));
    assert_eq!(subject, "C=SE, O=Example, OU=Authenticator Attestation, CN=Batch 1");
    assert!(why.contains("unable to get local issuer certificate"), "{why}");
    assert_eq!(no_path(find_in(&chain, &[LEAF, INTERMEDIATE], &[])).0, "CN=Intermediate");
    // Of the same name, with another key.
    for anchor in [ROOT, INTERMEDIATE] {
        no_path(find_ders(&[chain.der(LEAF), chain.der(INTERMEDIATE)], [other.anchor(anchor)].into_iter()));
    }
    no_path(find_ders(&[chain.der(LEAF), other.der(INTERMEDIATE)], [other.anchor(ROOT)].into_iter()));
}

#[test]
fn order_matters() {
    let chain = Chain::new();
    let place = |x5c: &[usize]| match find_in(&chain, x5c, &[ROOT]) {
        Err(TrustError::NotAChain { place, .. }) => place,
        other => panic!("{other:?}"),
    };
    assert_eq!(place(&[LEAF, ROOT, INTERMEDIATE]), 0);
    assert_eq!(place(&[LEAF, INTERMEDIATE, INTERMEDIATE]), 1);
    assert_eq!(place(&[LEAF, LEAF, INTERMEDIATE]), 0);
}

#[test]
fn dates_are_judged_at_the_given_instant() {
    // The instant is the end of the first day.
    assert!(find_in(&Chain::valid((-9, 9), (0, 2)), &[LEAF, INTERMEDIATE], &[ROOT]).is_ok());
    for (intermediate, leaf) in [((-9, 0), (0, 9)), ((2, 9), (0, 9)), ((0, 9), (-9, 0)), ((0, 9), (2, 9))] {
        let (subject, why) = no_path(find_in(&Chain::valid(intermediate, leaf), &[LEAF, INTERMEDIATE], &[ROOT]));
        assert_eq!(subject == "CN=Intermediate", intermediate != (0, 9));
        assert!(why.contains("certificate has expired") || why.contains("certificate is not yet valid"), "{why}");
    }
    // An anchor's own dates count too, be it the attestation certificate.
    no_path(find_in(&Chain::valid((0, 9), (-9, 0)), &[LEAF], &[LEAF]));
}

#[test]
fn only_cas_issue() {
    for not_a_ca in [Some(false), None] {
        let chain = Chain::of(&CertificateSpec { ca: not_a_ca, ..ca("Intermediate") }, &CertificateSpec::default());
        no_path(find_in(&chain, &[LEAF, INTERMEDIATE], &[ROOT]));
        no_path(find_in(&chain, &[LEAF], &[INTERMEDIATE]));
    }
    // Without basicConstraints keyUsage (here: keyCertSign) makes no CA.
    let key_usage = ("2.5.29.15", true, vec![3, 2, 2, 4]);
    let chain = Chain::of(&CertificateSpec { ca: None, extensions: vec![key_usage], ..ca("Intermediate") }, &CertificateSpec::default());
    let found = no_path(find_in(&chain, &[LEAF, INTERMEDIATE], &[ROOT]));
    assert_eq!(found, ("CN=Intermediate".to_owned(), "invalid CA certificate".to_owned()));
}

/// Root, what it issued, and what that issued; the root has these extensions alone and is of this version.
fn below(version: i32, extensions: &[(&'static str, bool, Vec<u8>)], second: &CertificateSpec<'_>) -> [(X509, PKey<Private>); 3] {
    let key = || KeyPair::generate(CoseAlgorithm::Es256).private;
    let (root_key, second_key, third_key) = (key(), key(), key());
    let root = CertificateSpec { ca: None, version, extensions: extensions.to_vec(), ..ca("Root") }.make(&root_key, None);
    let second = second.make(&second_key, Some((&root, &root_key)));
    let third =
        CertificateSpec { subject: &[("CN", "Third")], ..CertificateSpec::default() }.make(&third_key, Some((&second, &second_key)));
    [(root, root_key), (second, second_key), (third, third_key)]
}

/// In the FIDO metadata the roots of Ledger, Atos and Egis are silent on it, and those of GoTrust and WiSECURE have CA:FALSE.
#[test]
fn a_root_need_not_say_that_it_may_issue() {
    let find = |chain: &[(X509, PKey<Private>); 3], x5c: &[usize], anchor: &X509| {
        let ders: Vec<_> = x5c.iter().map(|&n| chain[n].0.to_der().unwrap()).collect();
        find_ders(&ders, [TrustAnchor::from_der(&anchor.to_der().unwrap()).unwrap()].into_iter()).map(|path| path.len())
    };
    let leaf = CertificateSpec::default();
    let key_identifier = ("2.5.29.14", false, [&[4, 20][..], &[1; 20]].concat());
    let no_ca = ("2.5.29.19", true, vec![0x30, 0]);
    for (version, extensions) in [(0, vec![]), (2, vec![]), (2, vec![key_identifier]), (2, vec![no_ca])] {
        let chain = below(version, &extensions, &leaf);
        assert_eq!(find(&chain, &[1], &chain[0].0), Ok(2), "{version}");
        assert_eq!(find(&chain, &[1, 0], &chain[0].0), Ok(2), "{version}");
        // What it issued is an attestation certificate, and issues nothing.
        no_path(find(&chain, &[2, 1], &chain[0].0));
        let chain = below(version, &extensions, &ca("Intermediate"));
        assert_eq!(find(&chain, &[2, 1], &chain[0].0), Ok(3), "{version}");
        assert_eq!(find(&chain, &[2, 1, 0], &chain[0].0), Ok(3), "{version}");
    }

    // One whose key is for something else is taken at its word.
    let chain = below(2, &[("2.5.29.15", true, vec![3, 2, 7, 0x80])], &leaf);
    no_path(find(&chain, &[1], &chain[0].0));
    // What a root says of paths and names holds.
    for (oid, value) in [("2.5.29.19", vec![0x30, 6, 1, 1, 0xff, 2, 1, 0]), ("2.5.29.30", vec![0x30, 7, 0xa0, 5, 0x30, 3, 0x82, 1, b'x'])] {
        let chain = below(2, &[(oid, true, value)], &ca("Intermediate"));
        no_path(find(&chain, &[2, 1], &chain[0].0));
    }
    // All else is judged: whose signature it is, with what, when, and what is critical.
    let (chain, other) = (below(2, &[], &leaf), below(2, &[], &leaf));
    no_path(find(&chain, &[1], &other[0].0));
    let weak = sha1_signed(&chain[1].0, &chain[0].1);
    let anchor = TrustAnchor::from_der(&chain[0].0.to_der().unwrap()).unwrap();
    no_path(find_ders(&[weak.to_der().unwrap()], [anchor].into_iter()));
    let expired = below(2, &[], &CertificateSpec { validity: (-9, 0), ..CertificateSpec::default() });
    no_path(find(&expired, &[1], &expired[0].0));
    let root = CertificateSpec { ca: None, validity: (-9, 0), ..ca("Root") }.make(&chain[0].1, None);
    no_path(find(&chain, &[1], &root));
    let critical = below(2, &[("1.3.6.1.4.1.45724.9.9", true, vec![5, 0])], &leaf);
    no_path(find(&critical, &[1], &critical[0].0));
    let key_usage = ("2.5.29.15", true, vec![3, 2, 2, 4]);
    let chain = below(2, &[], &CertificateSpec { ca: None, extensions: vec![key_usage], ..ca("Intermediate") });
    no_path(find(&chain, &[2, 1], &chain[0].0));
    assert!(ErrorStack::get().errors().is_empty());
}

#[test]
fn critical_extensions() {
    let leaf = |extension| Chain::of(&ca("Intermediate"), &CertificateSpec { extensions: vec![extension], ..CertificateSpec::default() });
    // Those of TPMs: extKeyUsage of tcg-kp-AIKCertificate, and certificatePolicies.
    let usage = ("2.5.29.37", true, vec![0x30, 7, 6, 5, 0x67, 0x81, 5, 8, 3]);
    let policies = ("2.5.29.32", true, vec![0x30, 8, 0x30, 6, 6, 4, 0x2a, 3, 4, 5]);
    for known in [usage, policies] {
        assert!(find_in(&leaf(known), &[LEAF, INTERMEDIATE], &[ROOT]).is_ok());
    }
    let unknown = |critical| leaf(("1.3.6.1.4.1.45724.9.9", critical, vec![5, 0]));
    assert!(find_in(&unknown(false), &[LEAF, INTERMEDIATE], &[ROOT]).is_ok());
    let (_, why) = no_path(find_in(&unknown(true), &[LEAF, INTERMEDIATE], &[ROOT]));
    assert!(why.contains("unhandled critical extension"), "{why}");
}

#[test]
fn weak_certificates_do_not_count() {
    let key = || KeyPair::generate(CoseAlgorithm::Es256).private;
    let rsa = |bits| PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
    let of = |intermediate, leaf| Chain::with_keys(&ca("Intermediate"), &CertificateSpec::default(), [key(), intermediate, leaf]);
    assert!(find_in(&of(rsa(2048), rsa(2048)), &[LEAF, INTERMEDIATE], &[ROOT]).is_ok());
    let (subject, why) = no_path(find_in(&of(rsa(1024), key()), &[LEAF, INTERMEDIATE], &[ROOT]));
    assert!(subject == "CN=Intermediate" && why.contains("too weak"), "{subject} {why}");
    assert!(no_path(find_in(&of(key(), rsa(1024)), &[LEAF, INTERMEDIATE], &[ROOT])).1.contains("too weak"));

    // A signature with SHA-1 counts on the anchor, where nobody looks at it, and nowhere else.
    let chain = Chain::new();
    let with_sha1 = sha1_signed(&chain.0[LEAF].0, &chain.0[INTERMEDIATE].1);
    let ders = [with_sha1.to_der().unwrap(), chain.der(INTERMEDIATE)];
    assert!(no_path(find_ders(&ders, [chain.anchor(ROOT)].into_iter())).1.contains("too weak"));
    let root = sha1_signed(&chain.0[ROOT].0, &chain.0[ROOT].1);
    let anchor = TrustAnchor::from_der(&root.to_der().unwrap()).unwrap();
    assert!(find_ders(&[chain.der(LEAF), chain.der(INTERMEDIATE)], [anchor].into_iter()).is_ok());
}

/// The same certificate signed again.
fn sha1_signed(certificate: &X509, issuer: &PKey<Private>) -> X509 {
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(certificate.serial_number()).unwrap();
    builder.set_subject_name(certificate.subject_name()).unwrap();
    builder.set_issuer_name(certificate.issuer_name()).unwrap();
    builder.set_not_before(certificate.not_before()).unwrap();
    builder.set_not_after(certificate.not_after()).unwrap();
    builder.set_pubkey(&certificate.public_key().unwrap()).unwrap();
    let is_ca = certificate.subject_name().entries().count() == 1;
    if is_ca {
        builder.append_extension(BasicConstraints::new().ca().build().unwrap()).unwrap();
    }
    builder.sign(issuer, MessageDigest::sha1()).unwrap();
    builder.build()
}

/// OpenSSL takes the first of two anchors of one name; the one that is needed may be the other.
#[test]
fn anchors_of_one_name() {
    let (chain, others) = (Chain::new(), [Chain::new(), Chain::new()]);
    for place in 0..=others.len() {
        let mut anchors: Vec<_> = others.iter().map(|other| other.anchor(ROOT)).collect();
        anchors.insert(place, chain.anchor(ROOT));
        let found = find_ders(&[chain.der(LEAF), chain.der(INTERMEDIATE)], anchors.into_iter()).unwrap();
        assert_eq!(found.last(), Some(&chain.0[ROOT].0));
    }
}

#[test]
fn names_are_one_whatever_their_case() {
    let chain = Chain::new();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "rOOT").unwrap();
    let name = name.build();
    let (root, key) = &chain.0[ROOT];
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_not_before(root.not_before()).unwrap();
    builder.set_not_after(root.not_after()).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.append_extension(BasicConstraints::new().ca().build().unwrap()).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    let anchor = TrustAnchor::from_der(&builder.build().to_der().unwrap()).unwrap();
    assert!(find_ders(&[chain.der(LEAF), chain.der(INTERMEDIATE)], [anchor].into_iter()).is_ok());
}

/// Chains of any kind of key are judged; what OpenSSL cannot read is an answer, not an accident.
#[test]
fn keys_of_every_kind() {
    for algorithm in [CoseAlgorithm::Es384, CoseAlgorithm::Es512, CoseAlgorithm::Es256k, CoseAlgorithm::Ed25519, CoseAlgorithm::Ed448] {
        let key = || KeyPair::generate(algorithm).private;
        let chain = Chain::with_keys(&ca("Intermediate"), &CertificateSpec::default(), [key(), key(), key()]);
        assert_eq!(find_in(&chain, &[LEAF, INTERMEDIATE], &[ROOT]).map(|path| path.len()), Ok(3), "{algorithm}");
    }
    // A key of no known kind: the last arc of the intermediate's 1.2.840.10045.2.1 becomes another.
    let chain = Chain::new();
    let mut der = chain.der(INTERMEDIATE);
    let oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    let at = der.windows(oid.len()).position(|window| window == oid).unwrap();
    der[at + 6] = 0x7f;
    no_path(find_ders(&[chain.der(LEAF), der], [chain.anchor(ROOT)].into_iter()));
    assert_eq!(no_path(find_ders(&[vec![0x30, 0]], [chain.anchor(ROOT)].into_iter())).0, "certificate 0");
}

#[test]
fn failed_searches_leave_no_errors_behind() {
    let (chain, other) = (Chain::new(), Chain::new());
    no_path(find_ders(&[chain.der(LEAF), chain.der(INTERMEDIATE)], [other.anchor(ROOT)].into_iter()));
    assert!(ErrorStack::get().errors().is_empty());
}

/// Through the whole registration.
#[test]
fn a_registration_is_judged() {
    let chain = Chain::new();
    let store = store(&[chain.anchor(ROOT)], &[]);
    let record = judged(&device(chain.packed(&[LEAF, INTERMEDIATE])), &policy(TrustDemand::Judge), &store).unwrap();
    let subjects: Vec<_> = record.path.iter().map(|certificate| certificate.subject.as_str()).collect();
    assert_eq!(subjects, ["C=SE, O=Example, OU=Authenticator Attestation, CN=Batch 1", "CN=Intermediate", "CN=Root"]);
    assert_eq!(record.path[2].sha256, chain.anchor(ROOT).sha256());
    assert_eq!((record.anchors.as_deref(), record.reason), (Some("ours"), None));
    assert!(judged(&device(Statement::PackedSelf), &policy(TrustDemand::Judge), &store).is_ok());
}
