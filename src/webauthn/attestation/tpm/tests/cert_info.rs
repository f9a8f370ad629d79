use super::*;

fn info_fault(info: Info) -> TpmError {
    fault(Tpm { info, ..tpm() }, A::Es256)
}

#[test]
fn what_it_must_say() {
    let info = Info::default;
    assert_eq!(info_fault(Info { magic: 0xff54_4348, ..info() }), TpmError::Magic);
    for kind in [0x8014, 0x8018, 0x801a] {
        assert_eq!(info_fault(Info { kind, ..info() }), TpmError::Type);
    }
    for extra_data in [vec![], vec![1; 32], vec![1; 20]] {
        assert_eq!(info_fault(Info { extra_data: Some(extra_data), ..info() }), TpmError::ExtraData);
    }
    let other_hash = [&[0, 0x0c][..], &[1; 48]].concat();
    for name in [vec![], vec![0, 0x0b], [&[0, 0x0b][..], &[1; 32]].concat(), other_hash] {
        assert_eq!(info_fault(Info { name: Some(name), ..info() }), TpmError::Name);
    }
}

#[test]
fn what_is_ignored() {
    let info = Info { signer: vec![], clock_and_firmware: [0xff; 25], qualified_name: vec![], ..Info::default() };
    assert!(is_good(Tpm { info, ..tpm() }, A::Es256));
    let info = Info { signer: vec![9; 66], qualified_name: vec![9; 66], ..Info::default() };
    assert!(is_good(Tpm { info, ..tpm() }, A::Es256));
}

#[test]
fn its_shape() {
    let info = Info::default;
    assert_eq!(info_fault(Info { tail: vec![0], ..info() }), TpmError::Trailing("certInfo"));
    let long = || vec![0; 67];
    assert_eq!(info_fault(Info { signer: long(), ..info() }), TpmError::TooLong("certInfo", "qualifiedSigner"));
    assert_eq!(info_fault(Info { extra_data: Some(long()), ..info() }), TpmError::TooLong("certInfo", "extraData"));
    assert_eq!(info_fault(Info { name: Some(long()), ..info() }), TpmError::TooLong("certInfo", "name"));
    assert_eq!(info_fault(Info { qualified_name: long(), ..info() }), TpmError::TooLong("certInfo", "qualifiedName"));
    for cut in [0, 3, 5, 7, 41, 50, 90, 101, 172] {
        let change: testing::Change = Box::new(move |bytes| bytes.truncate(cut));
        assert_eq!(info_fault(Info { change, ..info() }), TpmError::Truncated("certInfo"), "{cut}");
    }
}
