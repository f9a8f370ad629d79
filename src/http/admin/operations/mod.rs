//! Every operation of the admin API: its path, its handler, what it needs, and what the document says of it. One list makes the router and the
//! document; each part of the API has a file here with its `operations()` and its `schemas()`.

mod admins;
mod approvals;
mod health;
mod hsm;
mod signing_keys;
mod tenants;

use serde_json::Value;

use crate::http::openapi::Operation;

/// All of them.
pub(super) fn all() -> Vec<Operation> {
    let all = [
        health::operations(),
        admins::operations(),
        signing_keys::operations(),
        approvals::operations(),
        hsm::operations(),
        tenants::operations(),
    ];
    all.into_iter().flatten().collect()
}

/// The forms that only this API's document has, by their names.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    [health::schemas(), admins::schemas(), signing_keys::schemas(), approvals::schemas(), hsm::schemas(), tenants::schemas()]
        .into_iter()
        .flatten()
        .collect()
}
