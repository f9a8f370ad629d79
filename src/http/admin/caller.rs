//! Who calls the admin API, and whether they may do what they ask: the one place where that is decided.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts as _, RawPathParams, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use hyper::{HeaderMap, Method, header, http::request::Parts};

use super::{AppState, Error};
use crate::{
    domain::{Actor, AdminHash, AdminToken, AuditEvent, Caller, KeyId, Permission, RequestMeta, Role, TenantId},
    http::{
        body::WholeBody,
        extract::{JsonObject, Members},
        meta::Peer,
        openapi::Scope,
    },
    services::{self, By},
};

/// How administrators prove who they are on the admin listener, and from which pages.
#[derive(Debug, Clone)]
pub struct AdminAccess {
    /// What they show.
    pub credentials: Credentials,
    /// The origins of pages that may call, as browsers write them.
    pub origins: Vec<String>,
}

/// What administrators show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// A bearer token.
    Token,
    /// A registered TLS client certificate.
    Certificate,
    /// Whichever they have. Who shows both is whom the token says; the certificate was verified all the same.
    Either,
    /// A client certificate of the configured roots and a bearer token, which says who it is.
    Both,
}

/// What an operation asks of its caller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    pub(super) permission: Permission,
    pub(super) scope: Scope,
}

/// Lets those through who may. Handlers find the [`Caller`] among the request's extensions, and the [`TenantId`] or [`KeyId`] of the path.
pub(super) async fn authorize(State((state, need)): State<(AppState, Need)>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admit(&state, need, &mut parts).await {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn admit(state: &AppState, need: Need, parts: &mut Parts) -> Result<(), Error> {
    let meta = parts.extensions.get::<RequestMeta>().cloned().unwrap_or_default();
    let mut caller = match recognize(state, parts).await? {
        Ok(caller) => caller,
        Err(why) => {
            state.services.admins.unrecognized(why, &meta).await;
            return Err(Error::unrecognized(why, CHALLENGE));
        }
    };
    // Dual control begins with somebody who is there: the first is made on the server's own host.
    let first = need.permission == Permission::ChangeAdmins && parts.method == Method::POST && matches!(caller.actor, Actor::Local { .. });
    if first && caller.role != Role::Admin && !state.services.admins.has_admin().await? {
        caller.role = Role::Admin;
    }
    match judge(state, need, &caller, parts).await? {
        Ok(()) => {
            parts.extensions.insert(caller);
            Ok(())
        }
        Err(why) => {
            state.services.admins.denied(&caller, &why, &meta).await;
            Err(Error::forbidden(why))
        }
    }
}

/// What a client is to show (RFC 6750 section 3). That a certificate may do instead cannot be said here.
const CHALLENGE: &str = "Bearer realm=\"passkey-hsm admin\"";

/// Who calls, or why that is nobody. Says nothing of what was shown.
async fn recognize(state: &AppState, parts: &Parts) -> Result<Result<Caller, &'static str>, Error> {
    use Credentials as C;

    let token = match bearer(&parts.headers) {
        Ok(token) => token,
        Err(why) => return Ok(Err(why)),
    };
    let (certificate, credentials) = match parts.extensions.get::<Peer>() {
        Some(Peer::Local { uid }) if token.is_none() => return Ok(Ok(local(state, *uid))),
        Some(Peer::Local { .. }) => (None, Credentials::Token),
        Some(Peer::Network { certificate, .. }) => (certificate.as_ref(), state.admin.credentials),
        None => return Ok(Err("the connection is unknown")),
    };
    let shown = match (credentials, token, certificate) {
        (C::Token | C::Either, Some(token), _) | (C::Both, Some(token), Some(_)) => Shown::Token(token),
        (C::Certificate, _, Some(certificate)) | (C::Either, None, Some(certificate)) => Shown::Certificate(certificate),
        (C::Token, None, _) => return Ok(Err("an admin token is needed: Authorization: Bearer TOKEN")),
        (C::Certificate, _, None) => return Ok(Err("a TLS client certificate is needed")),
        (C::Either, None, None) => return Ok(Err("an admin token or a TLS client certificate is needed")),
        (C::Both, _, _) => return Ok(Err("an admin token and a TLS client certificate are needed")),
    };
    if matches!(shown, Shown::Certificate(_)) && from_a_foreign_page(&parts.headers, &state.admin) {
        return Ok(Err("the page is of no origin in admin.cors_origins"));
    }
    let (hash, otherwise) = match shown {
        Shown::Token(token) => (token.hash(), "the admin token is unknown, revoked or expired"),
        Shown::Certificate(hash) => (hash.clone(), "the client certificate is not registered, or is revoked or expired"),
    };
    Ok(state.services.admins.authenticate(&hash).await?.ok_or(otherwise))
}

enum Shown<'a> {
    Token(AdminToken),
    Certificate(&'a AdminHash),
}

/// Whoever may run commands as the server's user may do everything; under dual control such a one may look.
fn local(state: &AppState, uid: u32) -> Caller {
    let role = if state.services.context.governance.dual_control { Role::Auditor } else { Role::Admin };
    Caller { actor: Actor::Local { uid }, role, tenants: Vec::new() }
}

/// The token of the one `Authorization` header; nowhere else is one looked for.
fn bearer(headers: &HeaderMap) -> Result<Option<AdminToken>, &'static str> {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (shown.next(), shown.next()) else {
        return if headers.contains_key(header::AUTHORIZATION) { Err("there is more than one Authorization header") } else { Ok(None) };
    };
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("the Authorization header is not of the form: Bearer TOKEN");
    }
    token.parse().map(Some).map_err(|_| "what follows Bearer is no admin token")
}

/// A browser chooses a certificate by itself, for whichever page asks; it names the page, though (the Fetch standard, section 3.1).
fn from_a_foreign_page(headers: &HeaderMap, access: &AdminAccess) -> bool {
    headers.get_all(header::ORIGIN).iter().any(|origin| !access.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()))
}

/// Whether the caller may, or why not. To whoever is bound to tenants a foreign one and one that there is not look alike.
async fn judge(state: &AppState, need: Need, caller: &Caller, parts: &mut Parts) -> Result<Result<(), String>, Error> {
    let Need { permission, scope } = need;
    let role = caller.role;
    if !role.has(permission) {
        return Ok(Err(format!("the role {role} does not have {permission}")));
    }
    let bound = role == Role::TenantAdmin;
    let foreign = || format!("the role {role} has {permission} of its own tenants alone");
    match scope {
        Scope::Own => Ok(Ok(())),
        Scope::Deployment => Ok(if bound { Err(foreign()) } else { Ok(()) }),
        Scope::Tenant => {
            let tenant = segment(parts, "tenant_id").await.parse::<TenantId>().map_err(|_| Error::tenant_id_malformed())?;
            parts.extensions.insert(tenant);
            Ok(if caller.may(permission, Some(tenant)) { Ok(()) } else { Err(foreign()) })
        }
        Scope::Key => {
            let kid = segment(parts, "kid").await.parse::<KeyId>().map_err(|_| Error::kid_malformed())?;
            parts.extensions.insert(kid);
            if !bound {
                return Ok(Ok(()));
            }
            let tenant = match state.services.keys.get(kid).await {
                Ok(key) => Some(key.tenant_id),
                Err(services::Error::KeyNotFound(_)) => None,
                Err(error) => return Err(error.into()),
            };
            Ok(if tenant.is_some_and(|tenant| caller.may(permission, Some(tenant))) { Ok(()) } else { Err(foreign()) })
        }
    }
}

/// A segment of the path, by its name in the route; empty when it is no text.
async fn segment(parts: &mut Parts, name: &str) -> String {
    let Ok(params) = RawPathParams::from_request_parts(parts, &()).await else { return String::new() };
    params.iter().find(|(found, _)| *found == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
}

/// A request that is to change something: who asks, and a body, which may say why.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) caller: Caller,
    /// Whether it came over the Unix socket, or from within this process: from the server's own host.
    pub(super) on_host: bool,
    pub(super) meta: RequestMeta,
    object: JsonObject,
}

impl FromRequest<AppState> for Command {
    type Rejection = Error;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Error> {
        let find = || Error::internal("a route asks nobody who they are", "it lacks a permission in its description");
        let caller = request.extensions().get::<Caller>().cloned().ok_or_else(find)?;
        let meta = request.extensions().get::<RequestMeta>().cloned().unwrap_or_default();
        let on_host = matches!(request.extensions().get::<Peer>(), Some(Peer::Local { .. }));
        let headers = request.headers().clone();
        let WholeBody(body) = WholeBody::from_request(request, state).await?;
        Ok(Self { caller, on_host, meta, object: JsonObject::new(&headers, body)? })
    }
}

impl Command {
    /// The body's members, of which there are no others than `names` and `reason`, and who asks.
    ///
    /// # Errors
    /// 400 when the body is no object, has other members, or a reason that is too long.
    pub(super) fn read(&self, names: &[&str]) -> Result<(Members<'_>, By), Error> {
        let members = self.object.members()?;
        members.only(&[names, &["reason"]].concat())?;
        let by = self.by(&members)?;
        Ok((members, by))
    }

    /// The same, where the contract has it that members without a meaning are ignored.
    ///
    /// # Errors
    /// 400 when the body is no object, or has a reason that is too long.
    pub(super) fn read_loosely(&self) -> Result<(Members<'_>, By), Error> {
        let members = self.object.members()?;
        let by = self.by(&members)?;
        Ok((members, by))
    }

    /// Wipes the body, which has a secret in it. What the connection's own buffer holds is beyond that.
    pub(super) fn wipe(self) {
        self.object.wipe();
    }

    fn by(&self, members: &Members<'_>) -> Result<By, Error> {
        let reason = members.text("reason")?.filter(|reason| !reason.trim().is_empty());
        if reason.as_ref().is_some_and(|reason| reason.chars().count() > AuditEvent::MAX_ERROR_CHARS) {
            return Err(Error::unprocessable(format!("reason has at most {} characters", AuditEvent::MAX_ERROR_CHARS)));
        }
        Ok(By { actor: self.caller.actor.clone(), reason, meta: self.meta.clone() })
    }
}

/// Of no use to anybody else: the answers are of one caller.
pub(super) async fn unstored(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(header::HeaderValue::from_static("no-store"));
    response
}

/// Answers the preflights of pages that may call, and lets them read answers (the Fetch standard, section 3.2). By default there are none.
pub(super) async fn cors(State(access): State<Arc<AdminAccess>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let Some(origin) = origin.filter(|origin| access.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())) else {
        return next.run(request).await;
    };
    let preflight = request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight { crate::http::error::no_content(permitted()) } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.append(header::VARY, header::HeaderValue::from_static("Origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, header::HeaderValue::from_static("Link, X-Total-Count, X-Request-Id"));
    if access.credentials != Credentials::Token {
        // A client certificate is one of the credentials that a browser sends only where that is allowed.
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, header::HeaderValue::from_static("true"));
    }
    response
}

fn permitted() -> HeaderMap {
    let value = header::HeaderValue::from_static;
    HeaderMap::from_iter([
        (header::ACCESS_CONTROL_ALLOW_METHODS, value("GET, POST, PUT, DELETE")),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, value("Authorization, Content-Type, X-Request-Id")),
        (header::ACCESS_CONTROL_MAX_AGE, value("600")),
    ])
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;
    use crate::domain::SystemRng;

    fn shown(values: &[&str]) -> Result<Option<AdminToken>, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        bearer(&headers)
    }

    #[test]
    fn one_bearer_token_is_found_and_nothing_else() {
        let token = AdminToken::random(&SystemRng).expose();
        assert!(shown(&[]).unwrap().is_none());
        for good in [format!("Bearer {}", *token), format!("bearer  {}", *token)] {
            assert!(shown(&[&good]).unwrap().is_some(), "{good}");
        }
        let good = format!("Bearer {}", *token);
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer x",
            "Basic eDp5",
            &token,
            &format!("Bearer {}x", *token),
            &format!("{good} {}", *token),
            "Bearer \u{fc}",
        ] {
            let why = shown(&[bad]).unwrap_err();
            assert!(!why.contains("phsm"), "{why}");
        }
        assert_eq!(shown(&[&good, &good]).unwrap_err(), "there is more than one Authorization header");
    }
}
