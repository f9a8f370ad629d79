//! Request bodies: bounded in size and in time, however they are sent.

use axum::{
    body::{Bytes, HttpBody as _},
    extract::{FromRequest, Request},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{AppState, Error};

/// A whole request body. A chunked one is read like any other.
#[derive(Debug)]
pub(super) struct WholeBody(pub(super) Bytes);

impl FromRequest<AppState> for WholeBody {
    type Rejection = Error;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Error> {
        // Not read at all when it says itself that it is too long.
        if request.body().size_hint().lower() > state.body_limit as u64 {
            return Err(Error::body_too_large(state.body_limit));
        }
        let limited = Limited::new(request.into_body(), state.body_limit);
        match tokio::time::timeout(state.body_timeout, limited.collect()).await {
            Err(_) => Err(Error::body_too_slow()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Error::body_too_large(state.body_limit)),
            Ok(Err(_)) => Err(Error::unprocessable("the request body broke off")),
            Ok(Ok(whole)) => Ok(Self(whole.to_bytes())),
        }
    }
}
