//! What a browser's `navigator.credentials.create()` is called with (WebAuthn L3 section 5.4).

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use super::CoseAlgorithm;
use crate::domain::{Attachment, AttestationPreference, Challenge, CredentialId, Hint, ResidentKey, UserId, UserVerification};

/// The algorithms that are offered, the preferred one first: the contract's list, in its order.
pub const OFFERED_ALGORITHMS: [CoseAlgorithm; 10] = [
    CoseAlgorithm::Es256,
    CoseAlgorithm::Es384,
    CoseAlgorithm::Es512,
    CoseAlgorithm::Rs256,
    CoseAlgorithm::Rs384,
    CoseAlgorithm::Rs512,
    CoseAlgorithm::Ps256,
    CoseAlgorithm::Ps384,
    CoseAlgorithm::Ps512,
    CoseAlgorithm::EdDsa,
];

/// What the options of one registration are made of.
#[derive(Debug, Clone)]
pub struct CreationRequest<'a> {
    /// The RP ID.
    pub rp_id: &'a str,
    /// The relying party's name for people.
    pub rp_name: &'a str,
    /// The user handle.
    pub user_id: &'a UserId,
    /// `user.name`.
    pub user_name: &'a str,
    /// `user.displayName`.
    pub display_name: &'a str,
    /// `user.icon`: no longer in the standard, still in the contract.
    pub icon: Option<&'a str>,
    /// What the browser has to return.
    pub challenge: &'a Challenge,
    /// How long the ceremony may take; sent in whole milliseconds.
    pub timeout: Duration,
    /// Credentials that the user has: an authenticator that holds one makes no other.
    pub exclude: Vec<CredentialDescriptor>,
    /// Which authenticators may take part.
    pub attachment: Option<Attachment>,
    /// Whether the credential must be discoverable.
    pub resident_key: ResidentKey,
    /// Whether the user must be verified.
    pub user_verification: UserVerification,
    /// What the browser should offer first.
    pub hints: &'a [Hint],
    /// What the relying party wants to know of the authenticator.
    pub attestation: AttestationPreference,
    /// Whether to ask if the credential is discoverable.
    pub cred_props: bool,
}

/// A credential by its id (WebAuthn L3 section 5.8.3).
#[derive(Debug, Clone, Serialize)]
pub struct CredentialDescriptor {
    /// Which.
    #[serde(serialize_with = "display")]
    pub id: CredentialId,
    /// How its authenticator may be reached; left out when nothing is known of that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transports: Vec<String>,
}

/// `PublicKeyCredentialCreationOptionsJSON` (WebAuthn L3 section 5.1.9): the value of the contract's `publicKey` member, its members in
/// the contract's order. Members that have nothing to say are left out.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreationOptions {
    rp: Rp,
    user: User,
    challenge: String,
    pub_key_cred_params: [Parameters; OFFERED_ALGORITHMS.len()],
    timeout: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exclude_credentials: Vec<Descriptor>,
    authenticator_selection: Selection,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<Hint>,
    attestation: AttestationPreference,
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<Extensions>,
}

/// What the options of one authentication are made of.
#[derive(Debug, Clone)]
pub struct AssertionRequest<'a> {
    /// What the browser has to return.
    pub challenge: &'a Challenge,
    /// How long the ceremony may take; sent in whole milliseconds.
    pub timeout: Duration,
    /// The RP ID.
    pub rp_id: &'a str,
    /// The credentials that may answer; any discoverable one when empty.
    pub allow: Vec<CredentialDescriptor>,
    /// Whether the user must be verified.
    pub user_verification: UserVerification,
    /// What the browser should offer first.
    pub hints: &'a [Hint],
}

/// `PublicKeyCredentialRequestOptionsJSON` (WebAuthn L3 section 5.1.10): the value of the contract's `publicKey` member, its members in
/// the contract's order. Members that have nothing to say are left out.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestOptions {
    challenge: String,
    timeout: u64,
    rp_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow_credentials: Vec<Descriptor>,
    user_verification: UserVerification,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<Hint>,
}

/// The options of one authentication.
pub fn request_options(request: &AssertionRequest<'_>) -> RequestOptions {
    RequestOptions {
        challenge: URL_SAFE_NO_PAD.encode(request.challenge.as_bytes()),
        timeout: u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX),
        rp_id: request.rp_id.to_owned(),
        allow_credentials: request.allow.iter().map(|c| Descriptor { kind: PUBLIC_KEY, credential: c.clone() }).collect(),
        user_verification: request.user_verification,
        hints: request.hints.to_vec(),
    }
}

#[derive(Debug, Clone, Serialize)]
struct Rp {
    name: String,
    id: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<String>,
    display_name: String,
    id: String,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Parameters {
    #[serde(rename = "type")]
    kind: &'static str,
    alg: i64,
}

#[derive(Debug, Clone, Serialize)]
struct Descriptor {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    credential: CredentialDescriptor,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Selection {
    #[serde(skip_serializing_if = "Option::is_none")]
    authenticator_attachment: Option<Attachment>,
    require_resident_key: bool,
    resident_key: ResidentKey,
    user_verification: UserVerification,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct Extensions {
    cred_props: bool,
}

const PUBLIC_KEY: &str = "public-key";

/// The options of one registration.
pub fn creation_options(request: &CreationRequest<'_>) -> CreationOptions {
    CreationOptions {
        rp: Rp { name: request.rp_name.to_owned(), id: request.rp_id.to_owned() },
        user: User {
            name: request.user_name.to_owned(),
            icon: request.icon.map(str::to_owned),
            display_name: request.display_name.to_owned(),
            id: URL_SAFE_NO_PAD.encode(request.user_id.as_bytes()),
        },
        challenge: URL_SAFE_NO_PAD.encode(request.challenge.as_bytes()),
        pub_key_cred_params: OFFERED_ALGORITHMS.map(|algorithm| Parameters { kind: PUBLIC_KEY, alg: algorithm.id() }),
        timeout: u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX),
        exclude_credentials: request.exclude.iter().map(|c| Descriptor { kind: PUBLIC_KEY, credential: c.clone() }).collect(),
        authenticator_selection: Selection {
            authenticator_attachment: request.attachment,
            require_resident_key: request.resident_key == ResidentKey::Required,
            resident_key: request.resident_key,
            user_verification: request.user_verification,
        },
        hints: request.hints.to_vec(),
        attestation: request.attestation,
        extensions: request.cred_props.then_some(Extensions { cred_props: true }),
    }
}

fn display<S: serde::Serializer>(value: &CredentialId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(user_id: &'a UserId, challenge: &'a Challenge) -> CreationRequest<'a> {
        CreationRequest {
            rp_id: "localhost",
            rp_name: "Example",
            user_id,
            user_name: "ann",
            display_name: "Ann",
            icon: None,
            challenge,
            timeout: Duration::from_mins(1),
            exclude: Vec::new(),
            attachment: None,
            resident_key: ResidentKey::Required,
            user_verification: UserVerification::Required,
            hints: &[],
            attestation: AttestationPreference::Direct,
            cred_props: false,
        }
    }

    fn json(request: &CreationRequest<'_>) -> String {
        serde_json::to_string(&creation_options(request)).unwrap()
    }

    const ALGORITHMS: &str = concat!(
        r#"[{"type":"public-key","alg":-7},{"type":"public-key","alg":-35},{"type":"public-key","alg":-36},"#,
        r#"{"type":"public-key","alg":-257},{"type":"public-key","alg":-258},{"type":"public-key","alg":-259},"#,
        r#"{"type":"public-key","alg":-37},{"type":"public-key","alg":-38},{"type":"public-key","alg":-39},{"type":"public-key","alg":-8}]"#
    );

    #[test]
    fn the_contracts_members_in_its_order() {
        let (user, challenge) = ("u1".parse().unwrap(), Challenge::from_bytes(&[0xff; 3]));
        let expected = format!(
            concat!(
                r#"{{"rp":{{"name":"Example","id":"localhost"}},"user":{{"name":"ann","displayName":"Ann","id":"dTE"}},"challenge":"____","#,
                r#""pubKeyCredParams":{},"timeout":60000,"authenticatorSelection":{{"requireResidentKey":true,"residentKey":"required","#,
                r#""userVerification":"required"}},"attestation":"direct"}}"#
            ),
            ALGORITHMS
        );
        assert_eq!(json(&request(&user, &challenge)), expected);
    }

    #[test]
    fn everything_said() {
        let (user, challenge) = ("u1".parse().unwrap(), Challenge::from_bytes(&[0; 3]));
        let credential = |transports: &[&str]| CredentialDescriptor {
            id: CredentialId::try_from(&[1, 2, 3][..]).unwrap(),
            transports: transports.iter().map(ToString::to_string).collect(),
        };
        let full = CreationRequest {
            icon: Some("https://example.org/a.png"),
            exclude: vec![credential(&["usb"]), credential(&[])],
            attachment: Some(Attachment::CrossPlatform),
            resident_key: ResidentKey::Preferred,
            user_verification: UserVerification::Discouraged,
            hints: &[Hint::SecurityKey, Hint::Hybrid],
            attestation: AttestationPreference::Enterprise,
            cred_props: true,
            ..request(&user, &challenge)
        };
        let expected = format!(
            concat!(
                r#"{{"rp":{{"name":"Example","id":"localhost"}},"user":{{"name":"ann","icon":"https://example.org/a.png","displayName":"Ann","#,
                r#""id":"dTE"}},"challenge":"AAAA","pubKeyCredParams":{},"timeout":60000,"excludeCredentials":["#,
                r#"{{"type":"public-key","id":"AQID","transports":["usb"]}},{{"type":"public-key","id":"AQID"}}],"#,
                r#""authenticatorSelection":{{"authenticatorAttachment":"cross-platform","requireResidentKey":false,"residentKey":"preferred","#,
                r#""userVerification":"discouraged"}},"hints":["security-key","hybrid"],"attestation":"enterprise","#,
                r#""extensions":{{"credProps":true}}}}"#
            ),
            ALGORITHMS
        );
        assert_eq!(json(&full), expected);
    }
}
