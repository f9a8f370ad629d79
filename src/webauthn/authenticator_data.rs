//! Authenticator data: what the authenticator signs, or is said to have said (WebAuthn L3 section 6.1).

use uuid::Uuid;

use super::cbor::{self, Map, Value};
use crate::domain::{Aaguid, BackupFlags};

/// The flags byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    /// UP: someone was there.
    pub(super) const fn user_present(self) -> bool {
        self.0 & 0x01 != 0
    }

    /// UV: it was the user.
    pub(super) const fn user_verified(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// BE and BS.
    pub(super) const fn backup(self) -> BackupFlags {
        BackupFlags { eligible: self.0 & 0x08 != 0, state: self.0 & 0x10 != 0 }
    }

    /// All of them, as they came.
    pub(super) const fn as_byte(self) -> u8 {
        self.0
    }

    const fn attested_credential(self) -> bool {
        self.0 & 0x40 != 0
    }

    const fn extensions(self) -> bool {
        self.0 & 0x80 != 0
    }
}

/// Bytes that are not authenticator data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticatorDataError {
    /// Fewer bytes than the flags promise.
    #[error("authenticator data is too short")]
    TooShort,
    /// The credential's key is not a CBOR map.
    #[error("the credential public key is not a COSE key: {0}")]
    PublicKey(cbor::Error),
    /// The key is CBOR, but no map.
    #[error("the credential public key is not a map")]
    PublicKeyNotMap,
    /// The extension outputs are not CBOR.
    #[error("the extension outputs are not CBOR: {0}")]
    Extensions(cbor::Error),
    /// The extension outputs are CBOR, but no map.
    #[error("the extension outputs are not a map")]
    ExtensionsNotMap,
    /// No credential in it, where there must be one.
    #[error("authenticator data without a credential")]
    NoCredential,
    /// Bytes that no flag accounts for.
    #[error("authenticator data has bytes left over")]
    LeftOver,
}

/// Authenticator data, borrowed from its bytes.
#[derive(Debug, Clone)]
pub(super) struct AuthenticatorData<'a> {
    /// SHA-256 of the RP ID.
    pub(super) rp_id_hash: &'a [u8; 32],
    /// What the authenticator saw.
    pub(super) flags: Flags,
    /// Its signature counter.
    pub(super) sign_count: u32,
    /// The credential just made; there where AT is set.
    pub(super) attested: Option<AttestedCredential<'a>>,
}

/// Attested credential data (WebAuthn L3 section 6.5.1).
#[derive(Debug, Clone)]
pub(super) struct AttestedCredential<'a> {
    /// The model, as the authenticator claims.
    pub(super) aaguid: Aaguid,
    /// The id as the authenticator chose it; its length is judged in step 25.
    pub(super) credential_id: &'a [u8],
    /// A COSE_Key, not yet judged.
    pub(super) public_key: Map<'a>,
}

impl<'a> AuthenticatorData<'a> {
    /// All of `bytes`. The flags AT and ED must say exactly what follows; reserved flags are ignored, and so are unknown extensions.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, AuthenticatorDataError> {
        let short = AuthenticatorDataError::TooShort;
        let (rp_id_hash, rest) = bytes.split_first_chunk::<32>().ok_or(short)?;
        let (&[flags, a, b, c, d], mut rest) = rest.split_first_chunk::<5>().ok_or(short)?;
        let flags = Flags(flags);
        let mut attested = None;
        if flags.attested_credential() {
            let (credential, after) = AttestedCredential::parse_prefix(rest)?;
            (attested, rest) = (Some(credential), after);
        }
        if flags.extensions() {
            let (outputs, after) = Value::parse_prefix(rest).map_err(AuthenticatorDataError::Extensions)?;
            if outputs.as_map().is_none() {
                return Err(AuthenticatorDataError::ExtensionsNotMap);
            }
            rest = after;
        }
        if !rest.is_empty() {
            return Err(AuthenticatorDataError::LeftOver);
        }
        Ok(Self { rp_id_hash, flags, sign_count: u32::from_be_bytes([a, b, c, d]), attested })
    }
}

impl<'a> AttestedCredential<'a> {
    fn parse_prefix(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), AuthenticatorDataError> {
        let short = AuthenticatorDataError::TooShort;
        let (aaguid, rest) = bytes.split_first_chunk::<16>().ok_or(short)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(short)?;
        let (credential_id, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(short)?;
        let (public_key, rest) = Value::parse_prefix(rest).map_err(AuthenticatorDataError::PublicKey)?;
        let Value::Map(public_key) = public_key else { return Err(AuthenticatorDataError::PublicKeyNotMap) };
        Ok((Self { aaguid: Aaguid::from_uuid(Uuid::from_bytes(*aaguid)), credential_id, public_key }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = &[0xa1, 0x01, 0x02];
    const EXTENSIONS: &[u8] = &[0xa1, 0x61, 0x78, 0xf5];

    fn bytes(flags: u8, tail: &[&[u8]]) -> Vec<u8> {
        [&[7; 32][..], &[flags, 0, 0, 1, 2], &tail.concat()].concat()
    }

    fn attested(tail: &[&[u8]]) -> Vec<u8> {
        [&[9; 16][..], &[0, 3, 1, 2, 3], &tail.concat()].concat()
    }

    fn refused(flags: u8, tail: &[&[u8]]) -> AuthenticatorDataError {
        AuthenticatorData::parse(&bytes(flags, tail)).unwrap_err()
    }

    #[test]
    fn flags_say_what_follows() {
        let bare = bytes(0x1d, &[]);
        let data = AuthenticatorData::parse(&bare).unwrap();
        assert!(data.flags.user_present() && data.flags.user_verified() && data.attested.is_none());
        assert_eq!(data.flags.backup(), BackupFlags { eligible: true, state: true });
        assert_eq!((data.rp_id_hash, data.sign_count), (&[7; 32], 0x0102));

        let full = bytes(0xe2, &[&attested(&[KEY]), EXTENSIONS]);
        let data = AuthenticatorData::parse(&full).unwrap();
        assert!(!data.flags.user_present() && !data.flags.user_verified());
        let credential = data.attested.unwrap();
        assert_eq!(credential.credential_id, [1, 2, 3]);
        assert_eq!(credential.aaguid.to_string(), "09090909-0909-0909-0909-090909090909");
        assert_eq!(credential.public_key.int(1).unwrap().as_int(), Some(2));
    }

    #[test]
    fn refusals() {
        use AuthenticatorDataError as E;
        assert_eq!(AuthenticatorData::parse(&[]).unwrap_err(), E::TooShort);
        assert_eq!(AuthenticatorData::parse(&[0; 36]).unwrap_err(), E::TooShort);
        assert_eq!(refused(0x41, &[]), E::TooShort);
        assert_eq!(refused(0x41, &[&[0; 16]]), E::TooShort);
        assert_eq!(refused(0x41, &[&[0; 16], &[0, 9, 1]]), E::TooShort);
        assert_eq!(refused(0x41, &[&attested(&[])]), E::PublicKey(cbor::Error::Truncated));
        assert_eq!(refused(0x41, &[&attested(&[&[0x01]])]), E::PublicKeyNotMap);
        assert_eq!(refused(0x01, &[&attested(&[KEY])]), E::LeftOver);
        assert_eq!(refused(0x41, &[&attested(&[KEY]), EXTENSIONS]), E::LeftOver);
        assert_eq!(refused(0x41, &[&attested(&[KEY]), &[0]]), E::LeftOver);
        assert_eq!(refused(0xc1, &[&attested(&[KEY])]), E::Extensions(cbor::Error::Truncated));
        assert_eq!(refused(0x81, &[&[0x01]]), E::ExtensionsNotMap);
        assert_eq!(refused(0x81, &[EXTENSIONS, &[0]]), E::LeftOver);
    }
}
