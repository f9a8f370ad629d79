//! Every refusal in the contract's shape. The only status codes of the project are here.

use std::fmt;

use axum::response::{IntoResponse, Response};
use hyper::{HeaderMap, StatusCode, header};
use serde::Serialize;

use super::json;
use crate::{
    domain::{CredentialId, Operation},
    services,
    webauthn::{AssertionParseError, AuthenticationRefusal, CeremonyRefusal, ParseError, Refusal},
};

/// An answer that is not a success.
#[derive(Debug)]
pub(super) struct Error {
    status: StatusCode,
    title: String,
    details: String,
    retry_after: Option<u32>,
    /// What a client that showed no credentials, or wrong ones, is to show (RFC 9110 section 11.6.1).
    challenge: Option<&'static str>,
    /// What only the operator is told.
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// `{"title", "details", "status"}`; a fault of ours has no details.
#[derive(Serialize)]
struct Body<'a> {
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a str>,
    status: u16,
}

/// The most characters of an answer's details, and of a line that is logged for it.
const MAX_DETAILS: usize = 1000;

/// The most characters of a credential's id in base64url.
const MAX_CREDENTIAL_ID: usize = (4 * CredentialId::MAX_LEN).div_ceil(3);

/// Seconds after which a client may try again.
const RETRY_AFTER: u32 = 1;

impl Error {
    fn new(status: StatusCode, title: impl Into<String>, details: impl Into<String>) -> Self {
        // Details may quote what a client sent: no more than that comes back.
        let details = details.into().chars().take(MAX_DETAILS).collect();
        Self { status, title: title.into(), details, retry_after: None, challenge: None, cause: None }
    }

    pub(super) fn internal(what: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let cause = Some(cause.into());
        Self { cause, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", what) }
    }

    pub(super) fn panicked(what: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", what)
    }

    /// No such path, or no such method on it.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found", "")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", "")
    }

    /// A request for another host than this one.
    pub(super) fn misdirected() -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, "Misdirected Request", "the page goes by the names of its own host only")
    }

    pub(super) fn tenant_id_malformed() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "tenant_id must be a valid uuid4", "")
    }

    pub(super) fn tenant_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "tenant not found", "")
    }

    /// No API key, one of the wrong form, or one that opens nothing: all alike.
    pub(super) fn api_key_invalid() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "The api key is invalid", "api keys needs to be an apiKey Header and 32 byte long")
    }

    /// No API key where one is needed for what the body asks.
    pub(super) fn api_key_missing() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "api key is missing", "")
    }

    /// Nobody who may use the admin API; `challenge` says how to show who one is.
    pub(super) fn unrecognized(details: &str, challenge: &'static str) -> Self {
        Self { challenge: Some(challenge), ..Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", details) }
    }

    /// Somebody known, who may not do this.
    pub(super) fn forbidden(details: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", details)
    }

    pub(super) fn kid_malformed() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "kid must be a valid uuid4", "")
    }

    /// There is no such thing, in words that name it.
    pub(super) fn nothing(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, what, "")
    }

    /// A path that names no user that there can be.
    pub(super) fn user_id_invalid() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid user id", "")
    }

    /// A body that cannot be read as what it should be.
    pub(super) fn unprocessable(details: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unable to process request", details)
    }

    /// Members that are missing or impossible, joined with ` and `.
    pub(super) fn invalid(faults: &[String]) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unable to validate request", faults.join(" and "))
    }

    /// The tenant has no such user.
    pub(super) fn user_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "user not found", "")
    }

    /// No such credential of this tenant. `id` is quoted as it was sent, as far as an id may go.
    pub(super) fn credential_not_found(id: &str) -> Self {
        let id: String = id.chars().take(MAX_CREDENTIAL_ID).collect();
        Self::new(StatusCode::NOT_FOUND, format!("credential with id '{id}' not found"), "")
    }

    /// A query for the audit log that cannot be read, for whatever reason: it has a title of its own.
    pub(super) fn audit_logs_unlistable(details: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unable to list audit logs", details)
    }

    /// A request of the admin API that cannot be carried out, by the endpoint's own title.
    pub(super) fn unable(title: &'static str, details: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, title, details)
    }

    /// The same where what was asked for is taken.
    pub(super) fn taken(title: &'static str, details: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, title, details)
    }

    /// What is wrong with a request, without a title.
    pub(super) fn into_details(self) -> String {
        self.details
    }

    pub(super) fn body_too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large", format!("a request body has at most {limit} bytes"))
    }

    pub(super) fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "Request Timeout", "the request body did not arrive in time")
    }

    pub(super) fn credential_unreadable(error: &ParseError) -> Self {
        let details = match error {
            ParseError::Credential(_) => "Parse error for Registration",
            ParseError::ClientData(_) | ParseError::AttestationObject(_) => "Error parsing attestation response",
        };
        // The contract's details are exact; what is wrong goes to the log.
        let answer = Self::new(StatusCode::BAD_REQUEST, "unable to parse credential creation response", details);
        Self { cause: Some(error.to_string().into()), ..answer }
    }

    /// What the client is told, in one text.
    pub(super) fn reason(&self) -> String {
        let title = self.title.trim_end();
        if self.details.is_empty() { title.to_owned() } else { format!("{title}: {}", self.details) }
    }

    /// What a service said that was asked about a user.
    pub(super) fn of_user(error: services::Error) -> Self {
        if let services::Error::UserNotFound = error { Self::user_not_found() } else { error.into() }
    }

    /// What a service said while a registration was finalized.
    pub(super) fn registration(error: services::Error) -> Self {
        use services::Error as E;
        let refused = |details: String| Self::new(StatusCode::BAD_REQUEST, "failed to validate attestation", details);
        match error {
            E::UnknownChallenge => Self::new(StatusCode::BAD_REQUEST, "received challenge does not match with any stored one", ""),
            E::UserNotFound => Self::user_not_found(),
            E::CeremonyExpired | E::CredentialExists => refused(error.to_string()),
            E::CredentialRefused(refusal) if refusal.is_user_verification_missing() => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, USER_VERIFICATION_MISSING, refusal.to_string())
            }
            E::CredentialRefused(refusal) => {
                let ceremony = if let Refusal::Ceremony(refusal) = refusal.refusal() { quoted(refusal) } else { None };
                let Some(details) = ceremony else { return refused(refusal.to_string()) };
                Self { cause: Some(refusal.to_string().into()), ..refused(details.to_owned()) }
            }
            other => other.into(),
        }
    }

    /// A body that is no assertion: refused in the contract's words, the rest goes to the log.
    pub(super) fn assertion_unreadable(operation: Operation, error: &AssertionParseError) -> Self {
        use AssertionParseError as E;
        let title = if operation == Operation::Transaction { "unable to finish transaction" } else { "unable to finish login" };
        let details = match error {
            E::Credential(_) | E::ClientData(_) => "Parse error for Assertion".to_owned(),
            E::AuthenticatorData(_) => "Error unmarshalling auth data".to_owned(),
            E::IdMissing | E::IdNotBase64Url | E::Type => error.to_string(),
        };
        Self { cause: Some(error.to_string().into()), ..Self::new(StatusCode::BAD_REQUEST, title, details) }
    }

    /// What a service said while a login was begun.
    pub(super) fn login_initialize(error: services::Error) -> Self {
        match error {
            services::Error::UserNotFound => Self::user_not_found(),
            // The contract's answer is of status 500, for what is no fault of the server's.
            services::Error::NoCredentials => {
                Self::new(StatusCode::BAD_REQUEST, format!("failed to create webauthn assertion options for login: {error}"), "")
            }
            other => other.into(),
        }
    }

    /// What a service said while a transaction was begun.
    pub(super) fn transaction_initialize(error: services::Error) -> Self {
        use services::Error as E;
        match error {
            E::UserNotFound => Self::new(StatusCode::NOT_FOUND, "unable to find user", ""),
            E::TransactionExists => Self::new(StatusCode::CONFLICT, error.to_string(), ""),
            E::NoCredentials => Self::new(StatusCode::BAD_REQUEST, "user has no suitable credentials for this operation", ""),
            other => other.into(),
        }
    }

    /// What a service said while a login or a transaction was finalized.
    pub(super) fn authentication(error: services::Error) -> Self {
        use services::Error as E;
        let refused = |title, details: String| Self::new(StatusCode::UNAUTHORIZED, title, details);
        match error {
            E::UnknownChallenge | E::UnknownTransaction => refused("failed to get session data", error.to_string()),
            E::UnknownUserHandle | E::UserNotFound => refused("failed to get user handle", error.to_string()),
            E::CeremonyExpired | E::UnknownCredential => refused("failed to validate assertion", error.to_string()),
            E::AssertionRefused(refusal) => {
                let ceremony = if let AuthenticationRefusal::Ceremony(refusal) = refusal.refusal() { quoted(refusal) } else { None };
                let title = "failed to validate assertion";
                let Some(details) = ceremony else { return refused(title, refusal.to_string()) };
                Self { cause: Some(refusal.to_string().into()), ..refused(title, details.to_owned()) }
            }
            other => other.into(),
        }
    }
}

/// The details that are exact in the contract; the whole text is in the log and in the audit event.
fn quoted(refusal: &CeremonyRefusal) -> Option<&'static str> {
    match refusal {
        CeremonyRefusal::Challenge => Some("Error validating challenge"),
        CeremonyRefusal::Origin { .. } => Some("Error validating origin"),
        _ => None,
    }
}

/// The contract's title, word for word, newline included.
pub(super) const USER_VERIFICATION_MISSING: &str = "failed to validate attestation: Error validating the authenticator response: User verification \
                                         required but flag not set by authenticator\n";

/// Faults that have nothing to do with what was asked.
impl From<services::Error> for Error {
    fn from(error: services::Error) -> Self {
        use services::Error as E;
        match error {
            E::TenantNotFound(_) => Self::tenant_not_found(),
            E::CredentialNotFound(id) => Self::credential_not_found(&id.to_string()),
            E::Busy | E::Unavailable(..) | E::NoActiveKey(_) | E::KeyMissing(_) => {
                let details = match &error {
                    E::KeyMissing(kid) => format!("the signing key {kid} is not available; nothing was changed, try again"),
                    other => format!("{other}; nothing was changed, try again"),
                };
                let busy = Self::new(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", details);
                Self { retry_after: Some(RETRY_AFTER), cause: Some(error.into()), ..busy }
            }
            E::OutcomeUnknown => {
                let details = "the database was lost while it committed: the request may have succeeded";
                Self { cause: Some(error.into()), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "Outcome Unknown", details) }
            }
            E::KeyNotFound(_) | E::ApprovalNotFound(_) => Self::new(StatusCode::NOT_FOUND, error.to_string(), ""),
            E::KeyRefused(refusal) => Self::new(StatusCode::CONFLICT, "the key was not changed", refusal.to_string()),
            E::ApprovalRefused(why) => Self::new(StatusCode::CONFLICT, "the approval was not decided", why),
            E::Forbidden(why) => Self::forbidden(why),
            E::Invalid(why) => Self::new(StatusCode::BAD_REQUEST, "unable to process request", why),
            E::Conflict(what) => Self::new(StatusCode::CONFLICT, what, ""),
            other => Self::internal("an operation failed", other),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.reason())?;
        let mut cause = self.cause.as_deref().map(|c| c as &dyn std::error::Error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// A text for the log, which a client may have had a hand in: one line, that no terminal takes for more than text.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars().take(2 * MAX_DETAILS) {
        // Separators of lines and what turns the direction of writing are no control characters, but `escape_debug` knows them.
        if c.is_ascii() && !c.is_ascii_control() || c.is_alphanumeric() { line.push(c) } else { line.extend(c.escape_debug()) }
    }
    line
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        // The one place where a failure is logged: here it is answered. The request's span has its id and tenant.
        let line = one_line(&self.to_string());
        if self.status.is_server_error() {
            tracing::error!(status = self.status.as_u16(), "{line}");
        } else {
            tracing::info!(status = self.status.as_u16(), "{line}");
        }
        let ours = self.status == StatusCode::INTERNAL_SERVER_ERROR;
        let body = Body { title: &self.title, details: (!ours).then_some(self.details.as_str()), status: self.status.as_u16() };
        let json = serde_json::to_string(&body).unwrap_or_default();
        let mut response = json::respond(&json);
        *response.status_mut() = self.status;
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static(challenge));
        }
        response
    }
}

/// 201.
pub(super) fn created(response: impl IntoResponse) -> Response {
    (StatusCode::CREATED, response).into_response()
}

/// 202: it waits for somebody else.
pub(super) fn accepted(response: impl IntoResponse) -> Response {
    (StatusCode::ACCEPTED, response).into_response()
}

/// 204.
pub(super) fn no_content(headers: HeaderMap) -> Response {
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// 304 (RFC 9110 section 15.4.5).
pub(super) fn not_modified(headers: HeaderMap) -> Response {
    (StatusCode::NOT_MODIFIED, headers).into_response()
}

/// A page that tells a person or a load balancer that the service is not well.
pub(super) fn unhealthy(response: impl IntoResponse) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, response).into_response()
}

/// The contract's answer when the status page finds the database gone.
pub(super) fn failed(response: impl IntoResponse) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, response).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_one_line() {
        let forged = "member a\n2026-01-01 INFO all is well\r\u{1b}[2J\u{9b}2J\u{2028}\u{202e} ü \"x\" \\";
        let line = one_line(forged);
        assert!(!line.contains(['\n', '\r', '\u{1b}', '\u{9b}', '\u{2028}', '\u{202e}']), "{line:?}");
        assert!(line.starts_with("member a\\n2026") && line.ends_with(" ü \"x\" \\"), "{line:?}");
        assert_eq!(one_line(&"x".repeat(100_000)).len(), 2 * MAX_DETAILS);
    }

    #[test]
    fn details_are_cut() {
        assert_eq!(Error::unprocessable("ü".repeat(100_000)).details.chars().count(), MAX_DETAILS);
    }
}
