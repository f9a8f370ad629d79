//! Whole assertions: any bytes, and genuine ones with a byte changed.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value as Json, json};

use super::{VECTORS, generator_key, outcome, text, unpadded};
use crate::{
    domain::{BackupFlags, Challenge, CredentialId, Origin, UserVerification},
    webauthn::{
        AccountKnown, Authentication, AuthenticationCredential, AuthenticationError, AuthenticationPolicy, StoredCredential,
        verify_authentication,
    },
};

/// Any body, as a client sends it: nobody has signed it with a key of which nobody has the private half.
pub fn authentication_body(input: &[u8]) {
    let Ok(credential) = outcome(|| AuthenticationCredential::parse(input)) else { return };
    let party = Party { rp_id: "example.org", origin: "https://example.org", public_key: &generator_key() };
    assert!(outcome(|| party.verify(&credential, credential.challenge())).is_err());
}

/// An assertion made of client data and authenticator data, two bytes with the length of the first, then both; the signature is the rest
/// after two bytes with the length of the second.
pub fn authentication(input: &[u8]) {
    let Some((client_data, rest)) = sized(input) else { return };
    let Some((data, signature)) = sized(rest) else { return };
    authentication_body(&body(b"id", client_data, data, signature));
}

/// Bytes after two with their length, and what follows them.
fn sized(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// A genuine assertion in which something signed was changed: as in [`super::mutated_vector`].
pub fn mutated_assertion(input: &[u8]) {
    let Some((&[which, part], changes)) = input.split_first_chunk::<2>() else { return };
    let Some(genuine) = GENUINE.get(usize::from(which) % GENUINE.len()) else { panic!("no vector is accepted") };
    let (mut client_data, mut data) = (genuine.client_data.clone(), genuine.authenticator_data.clone());
    super::change(if part & 1 == 0 { &mut client_data } else { &mut data }, changes);
    let is_genuine = client_data == genuine.client_data && data == genuine.authenticator_data;
    assert_eq!(genuine.verify(&client_data, &data).is_some(), is_genuine, "{}", genuine.name);
}

/// A vector that is accepted.
pub(super) struct Genuine {
    name: String,
    rp_id: String,
    origin: String,
    id: Vec<u8>,
    public_key: Vec<u8>,
    pub(super) client_data: Vec<u8>,
    pub(super) authenticator_data: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

pub(super) static GENUINE: LazyLock<Vec<Genuine>> = LazyLock::new(|| {
    let vectors = VECTORS.lines().filter_map(|line| serde_json::from_str(line).ok());
    let is_accepted = |genuine: &Genuine| genuine.verify(&genuine.client_data, &genuine.authenticator_data).is_some();
    vectors.filter_map(|vector| Genuine::read(&vector)).filter(is_accepted).collect()
});

impl Genuine {
    fn read(vector: &Json) -> Option<Self> {
        let bytes = |pointer| unpadded(vector, pointer);
        Some(Self {
            name: text(vector, "/name")?,
            rp_id: text(vector, "/rp_id")?,
            origin: text(vector, "/origin")?,
            id: bytes("/credential/rawId")?,
            public_key: bytes("/stored/cose_public_key")?,
            client_data: bytes("/credential/response/clientDataJSON")?,
            authenticator_data: bytes("/credential/response/authenticatorData")?,
            signature: bytes("/credential/response/signature")?,
        })
    }

    fn verify(&self, client_data: &[u8], data: &[u8]) -> Option<Authentication> {
        let credential = AuthenticationCredential::parse(&body(&self.id, client_data, data, &self.signature)).ok()?;
        let party = Party { rp_id: &self.rp_id, origin: &self.origin, public_key: &self.public_key };
        party.verify(&credential, credential.challenge()).ok()
    }
}

/// Who asked, and the key that it has stored.
struct Party<'a> {
    rp_id: &'a str,
    origin: &'a str,
    public_key: &'a [u8],
}

impl Party<'_> {
    /// The record has the credential's id and flags, and no counter.
    fn verify(&self, credential: &AuthenticationCredential, challenge: Challenge) -> Result<Authentication, AuthenticationError> {
        let origins: Vec<Origin> = self.origin.parse().into_iter().collect();
        let user_handle = credential.user_handle().unwrap_or(b"user");
        let allowed: [CredentialId; 1] = [credential.id().clone()];
        verify_authentication(
            credential,
            &AuthenticationPolicy {
                rp_id: self.rp_id,
                origins: &origins,
                challenge: &challenge,
                user_verification: UserVerification::Preferred,
                allow_cross_origin: true,
                top_origins: &[],
                allowed: &allowed,
                account: AccountKnown::Before(user_handle),
                stored: StoredCredential {
                    id: credential.id(),
                    user_handle,
                    public_key: self.public_key,
                    sign_count: 0,
                    backup: BackupFlags { eligible: credential.assertion.flags.backup().eligible, state: false },
                },
                refuse_clones: false,
            },
        )
    }
}

fn body(id: &[u8], client_data: &[u8], data: &[u8], signature: &[u8]) -> Vec<u8> {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let response = json!({ "clientDataJSON": encode(client_data), "authenticatorData": encode(data), "signature": encode(signature) });
    json!({ "id": encode(id), "rawId": encode(id), "type": "public-key", "response": response, "clientExtensionResults": {} })
        .to_string()
        .into_bytes()
}
