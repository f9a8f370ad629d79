//! What a backend posts to begin a ceremony, and what both ends of every ceremony answer.

use axum::extract::{FromRequest, FromRequestParts, Request};
use serde::Serialize;

use super::{
    AppState, Error,
    extract::{Backend, JsonObject, Members},
};
use crate::{
    domain::{Operation, RequestMeta, Tenant, UserId},
    http::{body::WholeBody, json::GoJson},
    services::JwtToken,
    webauthn::CreationOptions,
};

/// `{"publicKey": ...}`: what `navigator.credentials.create` or `get` takes.
#[derive(Debug, Serialize)]
pub(in crate::http) struct InitializeResponse<T = CreationOptions> {
    #[serde(rename = "publicKey")]
    public_key: T,
}

/// `{"token": "..."}`
#[derive(Debug, Serialize)]
pub(super) struct TokenResponse {
    token: String,
}

impl<T> InitializeResponse<T> {
    pub(in crate::http) fn new(public_key: T) -> Self {
        Self { public_key }
    }
}

/// The answer to a ceremony that ended well.
#[expect(clippy::needless_pass_by_value, reason = "a token is answered once")]
pub(super) fn vouched(token: JwtToken) -> GoJson<TokenResponse> {
    GoJson(TokenResponse { token: token.expose().to_owned() })
}

/// A request that begins a ceremony, from whoever holds one of the tenant's API keys. What it is refused is in the tenant's audit log, for
/// it has shown its key.
#[derive(Debug)]
pub(super) struct BackendCall {
    tenant: Tenant,
    meta: RequestMeta,
    object: Result<JsonObject, Error>,
}

impl FromRequest<AppState> for BackendCall {
    type Rejection = Error;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Error> {
        let (mut parts, body) = request.into_parts();
        Backend::from_request_parts(&mut parts, state).await?;
        let tenant = parts.extensions.get::<Tenant>().cloned().ok_or_else(Error::tenant_not_found)?;
        let meta = parts.extensions.get::<RequestMeta>().cloned().unwrap_or_default();
        let headers = parts.headers.clone();
        let body = WholeBody::from_request(Request::from_parts(parts, body), state).await;
        let object = body.and_then(|WholeBody(body)| JsonObject::new(&headers, body));
        Ok(Self { tenant, meta, object })
    }
}

impl BackendCall {
    /// The same with U+FFFD for each byte of its body that is not UTF-8, as Go reads JSON.
    pub(super) fn coerced(self) -> Self {
        Self { object: self.object.map(JsonObject::coerced), ..self }
    }

    /// What `parse` makes of the body's members.
    ///
    /// # Errors
    /// Whatever is wrong with the body. It has been recorded.
    pub(super) async fn read<T>(
        self,
        state: &AppState,
        operation: Operation,
        parse: impl FnOnce(&Members<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (request, user) = match self.object {
            Ok(object) => (object.members().and_then(|members| parse(&members)), user_id(&object)),
            Err(refusal) => (Err(refusal), None),
        };
        if let Err(refusal) = &request {
            let failed = operation.events().init_failed;
            state.services.audit.refused(self.tenant.id, failed, &refusal.reason(), user.as_ref(), &self.meta).await;
        }
        request
    }
}

/// Whom a request that is refused was about, if that much can be read.
pub(super) fn user_id(object: &JsonObject) -> Option<UserId> {
    object.members().ok()?.text("user_id").ok()??.parse().ok()
}

/// Records that a backend posted what is no credential, and gives the refusal back.
pub(super) async fn unreadable(state: &AppState, tenant: &Tenant, operation: Operation, meta: &RequestMeta, refusal: Error) -> Error {
    state.services.audit.refused(tenant.id, operation.events().final_failed, &refusal.reason(), None, meta).await;
    refusal
}
