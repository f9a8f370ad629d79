//! The kinds of ceremony, each from its beginning to the body that ends it.

use serde_json::{Value, json};

use super::{
    api::{Answer, Tenant},
    assertion::AssertionDraft,
    authenticator::{Draft, Format},
    keys::Algorithm,
};

/// A kind of ceremony. `Login` is of whoever comes, `UserLogin` of a user who is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Registration,
    MfaRegistration,
    Login,
    UserLogin,
    MfaLogin,
    Transaction,
}

/// A ceremony that was begun, with the body that ends it.
pub struct Begun {
    pub kind: Kind,
    pub options: Value,
    pub body: String,
}

impl Kind {
    pub const ALL: [Self; 6] = [Self::Registration, Self::MfaRegistration, Self::Login, Self::UserLogin, Self::MfaLogin, Self::Transaction];

    /// Where under the tenant it begins and ends.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Registration => "/registration",
            Self::MfaRegistration => "/mfa/registration",
            Self::Login | Self::UserLogin => "/login",
            Self::MfaLogin => "/mfa/login",
            Self::Transaction => "/transaction",
        }
    }

    /// What its events begin with.
    pub const fn events(self) -> &'static str {
        match self {
            Self::Registration => "webauthn_registration",
            Self::MfaRegistration => "mfa_registration",
            Self::Login | Self::UserLogin => "webauthn_authentication",
            Self::MfaLogin => "mfa_authentication",
            Self::Transaction => "webauthn_transaction",
        }
    }

    /// What its tokens say it is.
    pub const fn ceremony(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::MfaRegistration => "mfa_registration",
            Self::Login | Self::UserLogin => "login",
            Self::MfaLogin => "mfa_login",
            Self::Transaction => "transaction",
        }
    }

    pub const fn is_registration(self) -> bool {
        matches!(self, Self::Registration | Self::MfaRegistration)
    }

    pub const fn is_mfa(self) -> bool {
        matches!(self, Self::MfaRegistration | Self::MfaLogin)
    }

    /// Title and details for a challenge that nothing is known of.
    pub const fn unknown(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Registration | Self::MfaRegistration => (400, "received challenge does not match with any stored one", ""),
            Self::Login | Self::UserLogin | Self::MfaLogin => {
                (401, "failed to get session data", "received challenge does not match with any stored one")
            }
            Self::Transaction => (401, "failed to get session data", "no transaction found for this challenge"),
        }
    }

    /// Status and title for what was judged and refused, and for what came too late.
    pub const fn refused(self) -> (u16, &'static str) {
        if self.is_registration() { (400, "failed to validate attestation") } else { (401, "failed to validate assertion") }
    }

    /// What begins one for `user`; a transaction is called `transaction`.
    pub fn request(self, user: &str, transaction: &str) -> Value {
        match self {
            Self::Registration | Self::MfaRegistration => json!({"user_id": user, "username": "ann"}),
            Self::Login => json!({}),
            Self::UserLogin | Self::MfaLogin => json!({"user_id": user}),
            Self::Transaction => json!({"user_id": user, "transaction_id": transaction, "transaction_data": {"pay": "50 EUR"}}),
        }
    }
}

impl Tenant {
    /// Posts JSON with the API key; `path` is the tenant's own.
    pub async fn call(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        let request = self.request(reqwest::Method::POST, &self.path(path)).header("apiKey", &self.api_key);
        Answer::to(request.header("Content-Type", "application/json").body(body.into())).await
    }

    /// Options for a ceremony; panics when there are none.
    pub async fn begin(&self, kind: Kind, user: &str, transaction: &str) -> Value {
        let answer = self.call(&format!("{}/initialize", kind.path()), kind.request(user, transaction).to_string()).await;
        assert_eq!(answer.status, 200, "{kind:?}: {}", answer.body);
        answer.json()
    }

    /// Ends a ceremony, with the API key.
    pub async fn end(&self, kind: Kind, body: impl Into<Vec<u8>>) -> Answer {
        self.call(&format!("{}/finalize", kind.path()), body).await
    }

    /// A passkey of `user`.
    pub async fn passkey(&self, user: &str, algorithm: Algorithm) -> Draft {
        self.registered(Kind::Registration, user, algorithm).await
    }

    /// A second factor of `user`.
    pub async fn second_factor(&self, user: &str, algorithm: Algorithm) -> Draft {
        self.registered(Kind::MfaRegistration, user, algorithm).await
    }

    async fn registered(&self, kind: Kind, user: &str, algorithm: Algorithm) -> Draft {
        let draft = Draft::new(&self.begin(kind, user, "").await, &self.origin, Format::None, algorithm);
        self.end(kind, draft.body().to_string()).await.token();
        draft
    }

    /// An honest assertion by `credential` in a fresh ceremony of its user's.
    pub async fn assertion(&self, kind: Kind, transaction: &str, credential: &Draft) -> AssertionDraft {
        let user = String::from_utf8(credential.user_handle.clone()).unwrap();
        AssertionDraft::new(&self.begin(kind, &user, transaction).await, credential)
    }

    /// A fresh ceremony of `user`'s with the honest body that ends it; for all but registrations, by `credential`.
    pub async fn begun(&self, kind: Kind, user: &str, transaction: &str, credential: &Draft) -> Begun {
        let options = self.begin(kind, user, transaction).await;
        let body = answer(&options, kind, &self.origin, credential);
        Begun { kind, options, body }
    }
}

/// The honest body for options; registrations get a new credential.
pub fn answer(options: &Value, kind: Kind, origin: &str, credential: &Draft) -> String {
    if kind.is_registration() {
        Draft::new(options, origin, Format::None, Algorithm::Es256).body().to_string()
    } else {
        AssertionDraft::new(options, credential).text()
    }
}
