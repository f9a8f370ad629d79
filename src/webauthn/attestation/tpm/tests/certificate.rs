use super::*;

fn certificate_fault(certificate: CertificateSpec<'static>) -> StatementError {
    refused(&Tpm { certificate, ..tpm() }.attests(A::Es256))
}

/// One whose extension of this kind is another, or missing.
fn with(oid: &str, value: Option<Vec<u8>>) -> CertificateSpec<'static> {
    let mut spec = aik_certificate();
    match value {
        Some(value) => spec.extensions.iter_mut().filter(|extension| extension.0 == oid).for_each(|e| e.2.clone_from(&value)),
        None => spec.extensions.retain(|extension| extension.0 != oid),
    }
    spec
}

fn is_good_certificate(certificate: CertificateSpec<'static>) -> bool {
    is_good(Tpm { certificate, ..tpm() }, A::Es256)
}

#[test]
fn version_subject_and_constraints() {
    let spec = aik_certificate;
    assert_eq!(certificate_fault(CertificateSpec { version: 1, ..spec() }), CertificateError::Version.into());
    assert_eq!(certificate_fault(CertificateSpec { subject: &[("CN", "TPM")], ..spec() }), TpmError::Subject.into());
    assert_eq!(certificate_fault(CertificateSpec { ca: Some(true), ..spec() }), CertificateError::IsCa.into());
    assert!(is_good_certificate(CertificateSpec { ca: None, ..spec() }));
}

#[test]
fn names_of_the_tpm() {
    let named = |parts: &[(u8, &str)]| with(ALTERNATIVE_NAME, Some(alternative_name(parts, false)));
    let missing = |name| StatementError::Tpm(TpmError::AlternativeName(name));
    let kinds = ["TPM manufacturer", "TPM model", "TPM version"];
    assert!(is_good_certificate(with(ALTERNATIVE_NAME, Some(alternative_name(TPM_NAME, true)))));
    assert_eq!(certificate_fault(with(ALTERNATIVE_NAME, None)), missing(kinds[0]));
    for (n, name) in kinds.into_iter().enumerate() {
        let mut parts = TPM_NAME.to_vec();
        parts[n].1 = "";
        assert_eq!(certificate_fault(named(&parts)), missing(name));
        parts.remove(n);
        assert_eq!(certificate_fault(named(&parts)), missing(name));
    }
    for manufacturer in ["id:00000000", "id:FFFFF1D0", "id:4e544300"] {
        assert!(is_good_certificate(named(&[(1, manufacturer), TPM_NAME[1], TPM_NAME[2]])), "{manufacturer}");
    }
    for manufacturer in ["INTC", "id:", "id:494E544", "id:494E54430", "id:494E544G", "ID:494E5443", "494E5443"] {
        assert_eq!(certificate_fault(named(&[(1, manufacturer), TPM_NAME[1], TPM_NAME[2]])), missing(kinds[0]), "{manufacturer}");
    }
}

#[test]
fn other_kinds_of_names() {
    let good = alternative_name(TPM_NAME, false);
    let dns = element(0x82, b"tpm.example");
    assert!(is_good_certificate(with(ALTERNATIVE_NAME, Some(element(0x30, &[&dns, &good[2..]].concat())))));
    assert!(is_good_certificate(with(ALTERNATIVE_NAME, Some(element(0x30, &[&good[2..], &dns].concat())))));
    let other = element(0xa4, &element(0x30, &[]));
    assert!(is_good_certificate(with(ALTERNATIVE_NAME, Some(element(0x30, &[&other, &good[2..]].concat())))));
    let no_directory = certificate_fault(with(ALTERNATIVE_NAME, Some(element(0x30, &dns))));
    assert_eq!(no_directory, TpmError::AlternativeName("TPM manufacturer").into());
    for malformed in [vec![], dns, element(0x30, &[0xa4]), element(0x30, &element(0xa4, &[0x31, 0])), [good, vec![0]].concat()] {
        let fault = certificate_fault(with(ALTERNATIVE_NAME, Some(malformed.clone())));
        assert_eq!(fault, CertificateError::Extension("subjectAltName").into(), "{malformed:x?}");
    }
    // Whether it is critical changes nothing: it was read.
    let mut spec = aik_certificate();
    spec.extensions.iter_mut().for_each(|extension| extension.1 = !extension.1);
    assert!(is_good_certificate(spec));
}

#[test]
fn key_usages() {
    let usages = |usages: &[u8]| with(KEY_USAGE, Some(element(0x30, usages)));
    let other = [0x06, 0x05, 0x67, 0x81, 0x05, 0x08, 0x01];
    assert!(is_good_certificate(usages(&[&other, AIK_USAGE].concat())));
    assert_eq!(certificate_fault(with(KEY_USAGE, None)), TpmError::KeyUsage.into());
    assert_eq!(certificate_fault(usages(&[])), TpmError::KeyUsage.into());
    assert_eq!(certificate_fault(usages(&other)), TpmError::KeyUsage.into());
    for malformed in [vec![], AIK_USAGE.to_vec(), element(0x30, &[AIK_USAGE, &[4, 0]].concat())] {
        assert_eq!(certificate_fault(with(KEY_USAGE, Some(malformed))), CertificateError::Extension("extKeyUsage").into());
    }
}

#[test]
fn the_model() {
    let of = |aaguid: u8| Maker {
        aaguid: [7; 16],
        ..Tpm { certificate: CertificateSpec { aaguid: Some((element(4, &[aaguid; 16]), false)), ..aik_certificate() }, ..tpm() }
            .attests(A::Es256)
    };
    assert!(of(7).verify().is_ok());
    assert_eq!(refused(&of(8)), CertificateError::AaguidMismatch.into());
}
