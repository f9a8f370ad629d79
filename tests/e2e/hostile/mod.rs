//! Hostile bodies, a family a file. Each refusal has its exact status and title and the contract's shape, stores nothing, and uses the
//! challenge up exactly when the ceremony was found and the credential judged.

mod attestation;
mod challenges;
mod client_data;
mod initialize;
mod members;

use serde_json::Value;

use crate::support::{
    api::{Answer, Tenant},
    authenticator::{Draft, Format},
    keys::Algorithm,
    server::Server,
};

/// Makes a hostile body of an honest draft.
type Spoil = fn(&mut Draft) -> Vec<u8>;

/// How a finalize is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// Not a credential: nothing is looked up.
    Credential,
    /// Client data or attestation object cannot be read: nothing is looked up.
    Response,
    /// No ceremony has this challenge.
    Challenge,
    /// Judged, and found wanting.
    Attestation,
}

impl Refusal {
    /// Whether the credential was judged, so that its challenge is gone.
    fn uses_the_challenge_up(self) -> bool {
        self == Self::Attestation
    }

    /// Status, title and, where the contract quotes them, details.
    fn check(self, name: &str, answer: &Answer) {
        assert_eq!(answer.status, 400, "{name}: {}", answer.body);
        let title = match self {
            Self::Credential | Self::Response => "unable to parse credential creation response",
            Self::Challenge => "received challenge does not match with any stored one",
            Self::Attestation => "failed to validate attestation",
        };
        assert_eq!(answer.json()["title"], title, "{name}: {}", answer.body);
        let details = answer.problem(400, title);
        let good = match self {
            Self::Credential => details == "Parse error for Registration",
            Self::Response => details == "Error parsing attestation response",
            Self::Challenge => details.is_empty(),
            Self::Attestation => !details.is_empty(),
        };
        assert!(good, "{name}: {details}");
    }
}

/// Posts what `spoil` makes of an honest draft, and holds the answer and what is left behind against `refusal`.
async fn refused(
    server: &Server,
    tenant: &Tenant,
    format: Format,
    name: &str,
    refusal: Refusal,
    spoil: impl FnOnce(&mut Draft) -> Vec<u8>,
) {
    let options = tenant.options("u1").await;
    let mut draft = Draft::new(&options, &tenant.origin, format, Algorithm::Es256);
    let before = server.count("credentials").await;
    let answer = tenant.finalize(spoil(&mut draft)).await;
    refusal.check(name, &answer);
    assert_eq!(server.count("credentials").await, before, "{name} was stored");

    // The honest answer to the same options tells whether the challenge is still there.
    let honest = Draft::new(&options, &tenant.origin, format, Algorithm::Es256);
    let answer = tenant.finalize(honest.body().to_string()).await;
    if refusal.uses_the_challenge_up() {
        Refusal::Challenge.check(name, &answer);
    } else {
        assert_eq!(answer.status, 200, "{name} has used the challenge up: {}", answer.body);
    }
}

/// The bytes of a JSON value.
fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
