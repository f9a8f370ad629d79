//! Every operation of the admin API: its path, its handler, what it needs, and what the document says of it. One list makes the router and the
//! document; each part of the API has a file here with its `operations()` and its `schemas()`.

mod admins;
mod health;

use serde_json::Value;

use crate::http::openapi::Operation;

/// All of them.
pub(super) fn all() -> Vec<Operation> {
    [health::operations(), admins::operations()].into_iter().flatten().collect()
}

/// The forms that only this API's document has, by their names.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    [health::schemas(), admins::schemas()].into_iter().flatten().collect()
}
