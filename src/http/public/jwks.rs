//! `GET /{tenant_id}/.well-known/jwks.json`

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use hyper::{
    HeaderMap,
    header::{self, HeaderValue},
};

use super::{AppState, Error};
use crate::{
    domain::Tenant,
    http::{error, json},
};

/// The tenant's public keys, to be kept for as long as its key policy says (ten minutes by default); 304 when the client has them already.
pub(super) async fn get(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    request: HeaderMap,
) -> Result<Response, Error> {
    let keys = state.services.tokens.published_keys(tenant.id).await?;
    let mut headers = HeaderMap::new();
    // A tenant's first key signs as soon as it is there, which is right where nobody keeps what has no key in it.
    let cache_control =
        if keys.is_empty { "no-cache".to_owned() } else { format!("max-age={}", tenant.settings.keys.jwks_max_age().as_secs()) };
    for (name, value) in [(header::CACHE_CONTROL, cache_control), (header::ETAG, keys.etag.clone())] {
        headers.insert(name, HeaderValue::from_str(&value).map_err(|e| Error::internal("a header of ours is malformed", e))?);
    }
    if names(&request, &keys.etag) {
        return Ok(error::not_modified(headers));
    }
    Ok((headers, json::respond(&keys.body)).into_response())
}

/// Whether `If-None-Match` names `etag` (RFC 9110 section 13.1.2: weak comparison).
fn names(request: &HeaderMap, etag: &str) -> bool {
    let values = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
