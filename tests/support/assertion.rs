//! What the software authenticator does with a credential that it has: [`AssertionDraft::new`] answers request options as an honest client
//! would. Change its fields to change what is signed; change what [`AssertionDraft::body`] returns to spoil what is sent afterwards.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::sha::sha256;
use serde_json::{Map, Value, json};

use super::{
    authenticator::{Draft, flag},
    keys::KeyPair,
};

/// An assertion in the making.
#[derive(Clone)]
pub struct AssertionDraft {
    /// What it is signed with.
    pub key: KeyPair,
    pub credential_id: Vec<u8>,
    /// The members of client data, in order.
    pub client_data: Map<String, Value>,
    pub rp_id_hash: Vec<u8>,
    pub flags: u8,
    pub sign_count: u32,
    /// Whatever follows the counter in authenticator data.
    pub trailing: Vec<u8>,
    pub user_handle: Option<Vec<u8>>,
    /// In the place of the honest signature.
    pub signature: Option<Vec<u8>>,
}

impl AssertionDraft {
    /// An honest answer to `options` (the `{"publicKey": ..}` of initialize) with the credential that `registered` made, where it was made.
    pub fn new(options: &Value, registered: &Draft) -> Self {
        let public_key = &options["publicKey"];
        let rp_id = public_key["rpId"].as_str().expect("options name a relying party");
        let origin = &registered.client_data["origin"];
        let client_data = json!({"type": "webauthn.get", "challenge": public_key["challenge"], "origin": origin, "crossOrigin": false});
        Self {
            key: registered.key.clone(),
            credential_id: registered.credential_id.clone(),
            client_data: client_data.as_object().unwrap().clone(),
            rp_id_hash: sha256(rp_id.as_bytes()).to_vec(),
            flags: registered.flags & !flag::AT,
            sign_count: registered.sign_count,
            trailing: Vec::new(),
            user_handle: Some(registered.user_handle.clone()),
            signature: None,
        }
    }

    /// `clientDataJSON`, before base64url.
    pub fn client_data_json(&self) -> Vec<u8> {
        Value::Object(self.client_data.clone()).to_string().into_bytes()
    }

    /// Authenticator data (WebAuthn L3 section 6.1).
    pub fn auth_data(&self) -> Vec<u8> {
        [self.rp_id_hash.as_slice(), &[self.flags], &self.sign_count.to_be_bytes(), &self.trailing].concat()
    }

    /// The AuthenticationResponseJSON that the browser would post (WebAuthn L3 section 5.1.8).
    pub fn body(&self) -> Value {
        let (auth_data, client_data) = (self.auth_data(), self.client_data_json());
        let honest = || self.key.sign(&[auth_data.as_slice(), &sha256(&client_data)].concat());
        let signature = self.signature.clone().unwrap_or_else(honest);
        json!({
            "id": self.id(),
            "rawId": self.id(),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "response": {
                "clientDataJSON": URL_SAFE_NO_PAD.encode(client_data),
                "authenticatorData": URL_SAFE_NO_PAD.encode(auth_data),
                "signature": URL_SAFE_NO_PAD.encode(signature),
                "userHandle": self.user_handle.as_ref().map(|handle| URL_SAFE_NO_PAD.encode(handle)),
            },
            "clientExtensionResults": {},
        })
    }

    /// The same as text.
    pub fn text(&self) -> String {
        self.body().to_string()
    }

    /// The credential's id, as the API writes it.
    pub fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.credential_id)
    }
}
