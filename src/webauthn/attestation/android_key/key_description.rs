//! KeyDescription: what Android's keystore says of a key in its certificate (Android's documentation, "Key and ID attestation").
//!
//! The schema has grown with each version of Keymaster and KeyMint (1 to 4, 100 to 400). What is read here has been the same in all.

use crate::webauthn::{
    certificate::ANDROID_KEY_DESCRIPTION,
    der::{self, NotDer, Reader},
};

/// Numbers of the fields of an AuthorizationList.
const PURPOSE: u32 = 1;
const ALL_APPLICATIONS: u32 = 600;
const ORIGIN: u32 = 702;

/// Their values, as contents of an INTEGER.
const KM_PURPOSE_SIGN: &[u8] = &[2];
const KM_ORIGIN_GENERATED: &[u8] = &[0];

/// The extension's value.
#[derive(Debug)]
pub(super) struct KeyDescription<'a> {
    /// Whether a trusted environment or a StrongBox attested the key, and one of them keeps it.
    pub(super) is_by_hardware: bool,
    pub(super) challenge: &'a [u8],
    pub(super) software_enforced: AuthorizationList,
    /// Since KeyMint it is called hardwareEnforced.
    pub(super) tee_enforced: AuthorizationList,
}

/// An AuthorizationList, as far as it is needed. Each field is optional.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AuthorizationList {
    /// How many fields it has.
    len: usize,
    /// Whether one of the purposes, if there are any, is to sign.
    may_sign: Option<bool>,
    pub(super) all_applications: bool,
    /// Whether the origin, if there is one, is KM_ORIGIN_GENERATED.
    pub(super) is_generated: Option<bool>,
}

impl<'a> KeyDescription<'a> {
    /// Object identifier in DER: 1.3.6.1.4.1.11129.2.1.17.
    pub(super) const OID: &'static [u8] = ANDROID_KEY_DESCRIPTION;

    /// The whole of `value`. Versions are not judged: a new one adds fields to the lists, and takes none away.
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, NotDer> {
        let mut fields = Reader::new(der::only(der::SEQUENCE, value)?);
        fields.expect(der::INTEGER)?; // attestationVersion
        let attested_by_hardware = is_hardware(&mut fields)?; // attestationSecurityLevel
        fields.expect(der::INTEGER)?; // keymasterVersion
        let kept_by_hardware = is_hardware(&mut fields)?; // keymasterSecurityLevel
        let challenge = fields.expect(der::OCTET_STRING)?;
        fields.expect(der::OCTET_STRING)?; // uniqueId
        let software_enforced = AuthorizationList::parse(fields.expect(der::SEQUENCE)?)?;
        let tee_enforced = AuthorizationList::parse(fields.expect(der::SEQUENCE)?)?;
        let is_by_hardware = attested_by_hardware && kept_by_hardware;
        if fields.is_empty() { Ok(Self { is_by_hardware, challenge, software_enforced, tee_enforced }) } else { Err(NotDer) }
    }
}

/// A SecurityLevel: Software (0), TrustedEnvironment (1), StrongBox (2). It is an ENUMERATED; an example that the W3C published has INTEGERs.
fn is_hardware(fields: &mut Reader<'_>) -> Result<bool, NotDer> {
    match fields.any()? {
        (der::ENUMERATED | der::INTEGER, [0]) => Ok(false),
        (der::ENUMERATED | der::INTEGER, [1 | 2]) => Ok(true),
        _ => Err(NotDer),
    }
}

impl AuthorizationList {
    /// Fields in any order and of any other number; none of those that are read may be there twice.
    fn parse(contents: &[u8]) -> Result<Self, NotDer> {
        let mut list = Self::default();
        let mut fields = Reader::new(contents);
        while !fields.is_empty() {
            list.len += 1;
            match fields.explicit()? {
                (PURPOSE, set) if list.may_sign.is_none() => list.may_sign = Some(has_sign(der::only(der::SET, set)?)?),
                (ALL_APPLICATIONS, _) if !list.all_applications => list.all_applications = true,
                (ORIGIN, origin) if list.is_generated.is_none() => {
                    list.is_generated = Some(der::only(der::INTEGER, origin)? == KM_ORIGIN_GENERATED);
                }
                (PURPOSE | ALL_APPLICATIONS | ORIGIN, _) => return Err(NotDer),
                _ => {}
            }
        }
        Ok(list)
    }

    /// Whether it says nothing at all.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it says that the key is for signing.
    pub(super) fn may_sign(&self) -> bool {
        self.may_sign == Some(true)
    }
}

fn has_sign(purposes: &[u8]) -> Result<bool, NotDer> {
    let (mut purposes, mut found) = (Reader::new(purposes), false);
    while !purposes.is_empty() {
        found |= purposes.expect(der::INTEGER)? == KM_PURPOSE_SIGN;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webauthn::der::element;

    fn list(contents: &[u8]) -> Result<AuthorizationList, NotDer> {
        AuthorizationList::parse(contents)
    }

    #[test]
    fn lists() {
        let purposes = [0xa1, 8, 0x31, 6, 2, 1, 2, 2, 1, 3];
        let origin = [0xbf, 0x85, 0x3e, 3, 2, 1, 0];
        let all_applications = [0xbf, 0x84, 0x58, 2, 5, 0];
        let os_version = [0xbf, 0x85, 0x41, 5, 2, 3, 2, 0x49, 0xf0];
        assert_eq!(list(&[]), Ok(AuthorizationList::default()));
        assert!(list(&[]).unwrap().is_empty() && !list(&os_version).unwrap().is_empty());
        let all = [&purposes[..], &all_applications, &origin, &os_version].concat();
        let found = AuthorizationList { len: 4, may_sign: Some(true), all_applications: true, is_generated: Some(true) };
        assert_eq!(list(&all), Ok(found));
        assert_eq!(list(&[&os_version[..], &origin].concat()).map(|list| list.is_generated), Ok(Some(true)));
        for field in [&purposes[..], &origin, &all_applications] {
            assert_eq!(list(&field.repeat(2)), Err(NotDer), "{field:02x?}");
        }
        assert!(list(&os_version.repeat(2)).is_ok());
    }

    #[test]
    fn values() {
        let may_sign = |set: &[u8]| list(&element(&[0xa1], &element(&[der::SET], set))).map(|list| list.may_sign);
        assert_eq!(may_sign(&[]), Ok(Some(false)));
        assert_eq!(may_sign(&[2, 1, 3]), Ok(Some(false)));
        assert_eq!(may_sign(&[2, 2, 1, 2]), Ok(Some(false)));
        assert_eq!(may_sign(&[2, 1, 3, 2, 1, 2]), Ok(Some(true)));
        assert_eq!(may_sign(&[4, 1, 2]), Err(NotDer));
        assert_eq!(list(&[0xa1, 3, 2, 1, 2]), Err(NotDer));
        let origin = |value: &[u8]| list(&element(&[0xbf, 0x85, 0x3e], &element(&[der::INTEGER], value))).map(|list| list.is_generated);
        assert_eq!(origin(&[0]), Ok(Some(true)));
        for other in [&[1][..], &[2], &[0, 0], &[]] {
            assert_eq!(origin(other), Ok(Some(false)), "{other:?}");
        }
        for malformed in [&[0xbf, 0x85, 0x3e, 2, 5, 0][..], &[0xbf, 0x85, 0x3e, 6, 2, 1, 0, 2, 1, 0], &[0x30, 0], &[0xbf, 0x85]] {
            assert_eq!(list(malformed), Err(NotDer), "{malformed:02x?}");
        }
    }
}
