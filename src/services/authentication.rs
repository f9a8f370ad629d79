//! Authentication: a passkey, or a second factor, signs in.

use super::{Audit, Context, Error, JwtToken, Tokens};
use crate::{
    domain::{Operation, RequestMeta, Tenant, UserId},
    webauthn::{AuthenticationCredential, RequestOptions},
};

/// The use cases of signing in.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "not built yet")]
pub struct Authentication {
    context: Context,
    tokens: Tokens,
    audit: Audit,
}

impl Authentication {
    pub(super) fn new(context: Context, tokens: Tokens, audit: Audit) -> Self {
        Self { context, tokens, audit }
    }

    /// Begins a ceremony of `operation` ([`Operation::Login`] or [`Operation::MfaLogin`]), for a user whom a backend names, or for whoever
    /// has a discoverable credential. Without a user nothing is written.
    pub async fn initialize(
        &self,
        tenant: &Tenant,
        operation: Operation,
        user: Option<&UserId>,
        meta: &RequestMeta,
    ) -> Result<RequestOptions, Error> {
        let _ = (tenant, operation, user, meta);
        Err(Error::Internal("not built yet".to_owned(), None))
    }

    /// Ends a ceremony: verifies the assertion, writes the credential's use down, and returns the token that vouches for its user.
    pub async fn finalize(
        &self,
        tenant: &Tenant,
        operation: Operation,
        credential: &AuthenticationCredential,
        meta: &RequestMeta,
    ) -> Result<JwtToken, Error> {
        let _ = (tenant, operation, credential, meta);
        Err(Error::Internal("not built yet".to_owned(), None))
    }
}
