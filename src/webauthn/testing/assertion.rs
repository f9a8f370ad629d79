//! The authenticator's other half: makes assertions of any algorithm, each part of which a test can spoil.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::sha::sha256;
use serde_json::{Value as Json, json};

use super::{KeyPair, client_data, sign};
use crate::{
    domain::{BackupFlags, Challenge, CredentialId, Origin, UserVerification},
    webauthn::{
        AccountKnown, Authentication, AuthenticationCredential, AuthenticationError, AuthenticationPolicy, CoseAlgorithm, StoredCredential,
        verify_authentication,
    },
};

/// An assertion to be made, with its relying party's policy and record.
pub(in crate::webauthn) struct AssertionMaker {
    pub(in crate::webauthn) algorithm: CoseAlgorithm,
    pub(in crate::webauthn) key: KeyPair,
    pub(in crate::webauthn) challenge: Challenge,
    pub(in crate::webauthn) rp_id: &'static str,
    pub(in crate::webauthn) flags: u8,
    pub(in crate::webauthn) sign_count: u32,
    /// Bytes that end the authenticator data.
    pub(in crate::webauthn) tail: Vec<u8>,
    pub(in crate::webauthn) user_handle: Option<&'static str>,
    /// Members of the client data in place of, or beside, the usual ones; `null` leaves one out.
    pub(in crate::webauthn) client_data: Json,
    pub(in crate::webauthn) user_verification: UserVerification,
    pub(in crate::webauthn) allow_cross_origin: bool,
    pub(in crate::webauthn) top_origins: Vec<Origin>,
    pub(in crate::webauthn) allowed: Vec<CredentialId>,
    pub(in crate::webauthn) account: AccountKnown<'static>,
    pub(in crate::webauthn) stored_id: CredentialId,
    pub(in crate::webauthn) stored_user_handle: &'static str,
    /// In place of the key that signs.
    pub(in crate::webauthn) stored_key: Option<Vec<u8>>,
    pub(in crate::webauthn) stored_count: u32,
    pub(in crate::webauthn) stored_backup: BackupFlags,
    pub(in crate::webauthn) refuse_clones: bool,
}

/// The id of every assertion.
const ID: [u8; 16] = [1; 16];

impl Default for AssertionMaker {
    fn default() -> Self {
        Self::of(CoseAlgorithm::Es256)
    }
}

impl AssertionMaker {
    /// With a fresh key for `algorithm`.
    pub(in crate::webauthn) fn of(algorithm: CoseAlgorithm) -> Self {
        Self {
            algorithm,
            key: KeyPair::generate(algorithm),
            challenge: Challenge::from_bytes(&[0x5a; 32]),
            rp_id: "example.org",
            flags: 0x05,
            sign_count: 10,
            tail: Vec::new(),
            user_handle: None,
            client_data: json!({}),
            user_verification: UserVerification::Preferred,
            allow_cross_origin: false,
            top_origins: Vec::new(),
            allowed: Vec::new(),
            account: AccountKnown::Before(b"u1"),
            stored_id: ID.as_slice().try_into().unwrap(),
            stored_user_handle: "u1",
            stored_key: None,
            stored_count: 9,
            stored_backup: BackupFlags { eligible: false, state: false },
            refuse_clones: true,
        }
    }

    /// The JSON form.
    pub(in crate::webauthn) fn credential(&self) -> Json {
        let client_data = client_data("webauthn.get", &self.challenge, &self.client_data);
        let data = [&sha256(self.rp_id.as_bytes())[..], &[self.flags], &self.sign_count.to_be_bytes(), &self.tail].concat();
        let signed = [&data[..], &sha256(client_data.as_bytes())].concat();
        let mut response = json!({
            "clientDataJSON": URL_SAFE_NO_PAD.encode(client_data),
            "authenticatorData": URL_SAFE_NO_PAD.encode(&data),
            "signature": URL_SAFE_NO_PAD.encode(sign(self.algorithm, &self.key.private, &signed)),
        });
        if let Some(handle) = self.user_handle {
            response["userHandle"] = json!(URL_SAFE_NO_PAD.encode(handle));
        }
        let id = URL_SAFE_NO_PAD.encode(ID);
        json!({"id": id, "rawId": id, "type": "public-key", "response": response, "clientExtensionResults": {}})
    }

    /// Makes, parses and verifies it.
    pub(in crate::webauthn) fn verify(&self) -> Result<Authentication, AuthenticationError> {
        self.judge(&AuthenticationCredential::parse(self.credential().to_string().as_bytes()).unwrap())
    }

    /// Verifies a credential in place of the one that it would make.
    pub(in crate::webauthn) fn judge(&self, credential: &AuthenticationCredential) -> Result<Authentication, AuthenticationError> {
        let origins = ["https://example.org".parse().unwrap()];
        verify_authentication(
            credential,
            &AuthenticationPolicy {
                rp_id: "example.org",
                origins: &origins,
                challenge: &Challenge::from_bytes(&[0x5a; 32]),
                user_verification: self.user_verification,
                allow_cross_origin: self.allow_cross_origin,
                top_origins: &self.top_origins,
                allowed: &self.allowed,
                account: self.account,
                stored: StoredCredential {
                    id: &self.stored_id,
                    user_handle: self.stored_user_handle.as_bytes(),
                    public_key: self.stored_key.as_ref().unwrap_or(&self.key.cose),
                    sign_count: self.stored_count,
                    backup: self.stored_backup,
                },
                refuse_clones: self.refuse_clones,
            },
        )
    }
}
