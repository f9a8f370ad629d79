//! What is answered to an act that may need a second administrator.

use axum::response::Response;
use hyper::HeaderMap;
use serde_json::json;

use crate::{
    http::{error, json::GoJson},
    services::Submitted,
};

/// 204 when it was done; 202 with the request when it waits.
pub(super) fn submitted(submitted: Submitted) -> Response {
    match submitted {
        Submitted::Done(_) => error::no_content(HeaderMap::new()),
        Submitted::Requested(approval) => error::accepted(GoJson(json!({"id": approval.id, "state": approval.state}))),
    }
}
