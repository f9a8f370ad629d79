//! The HSM.

use serde_json::{Value, json};

use super::signing_keys::{body, waits};
use crate::{
    domain::Permission,
    http::{
        admin::hsm,
        openapi::{Doc, Operation, get, post, reference},
    },
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get(
            "/hsm",
            hsm::get,
            Doc::new("getHsm", "The token, its module, and whether it serves").needs(Permission::ReadHsm).answers("Its state", "Hsm"),
        ),
        get(
            "/hsm/orphans",
            hsm::orphans,
            Doc::new("getOrphans", "Reads the token anew, and holds it against the database")
                .needs(Permission::ReadHsm)
                .answers("What they do not agree on", "Differences"),
        ),
        post(
            "/hsm/bench",
            hsm::bench,
            Doc::new("benchHsm", "Measures signatures with the health key, beside those of tokens")
                .needs(Permission::OperateHsm)
                .body(
                    &body(
                        &json!({
                            "seconds": {"type": "integer", "minimum": 1, "maximum": 30, "default": 5},
                            "concurrency": {"type": "integer", "minimum": 1, "maximum": 64, "default": 4},
                        }),
                        &[],
                    ),
                    false,
                )
                .answers("What was measured", "HsmBench"),
        ),
        post(
            "/hsm/activate",
            hsm::activate,
            waits(Doc::new("activateHsm", "Gives this server's signer processes the PIN, or has them start again with the configured one"))
                .description(
                    "The PIN is tried once. It is taken over the Unix socket, over TLS, and from the server's own host. Under dual control the \
                     first call has no PIN, and answers the request that a second administrator approves; the second has it, and `approval`.",
                )
                .needs(Permission::OperateHsm)
                .body(&body(&json!({"pin": {"type": "string", "minLength": 1}, "approval": {"type": "string", "format": "uuid"}}), &[]), false)
                .answers("Its state", "Hsm")
                .refuses(400, "unable to validate request")
                .refuses(404, "there is no approval {id}")
                .refuses(409, "the approval was not decided"),
        ),
        post(
            "/hsm/deactivate",
            hsm::deactivate,
            waits(Doc::new("deactivateHsm", "Takes the HSM out of service on this server"))
                .needs(Permission::OperateHsm)
                .body(&body(&json!({}), &[]), false)
                .answers("Its state", "Hsm"),
        ),
    ]
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer", "minimum": 0});
    let token: serde_json::Map<String, Value> =
        ["label", "serial", "manufacturer", "model", "firmware", "module", "module_sha256", "library"]
            .into_iter()
            .map(|name| (name.to_owned(), text()))
            .collect();
    let process = json!({
        "type": "object",
        "properties": {
            "state": {"type": "string", "enum": ["starting", "up", "down", "stopped"]},
            "pid": number(), "respawns": number(), "last_health_seconds": number(), "last_error": text(),
        },
        "required": ["state", "respawns"],
    });
    let orphan = json!({
        "type": "object",
        "properties": {
            "cka_id": {"type": "string", "description": "In hexadecimal"},
            "label": text(), "key_type": text(), "private_keys": number(), "public_keys": number(),
        },
        "required": ["cka_id", "label", "key_type", "private_keys", "public_keys"],
    });
    vec![
        (
            "Hsm",
            json!({
                "type": "object",
                "properties": {
                    "activation": {"type": "string", "enum": ["automatic", "waiting", "activated", "deactivated"]},
                    "ready": {"type": "boolean"},
                    "stopped": {"type": "string", "description": "Why signer processes are not started any more"},
                    "token": {"type": ["object", "null"], "properties": token},
                    "pairs_on_token": {"type": ["integer", "null"], "description": "The service's own two included; null where it could not be asked"},
                    "keys_expected": {"type": "integer", "description": "Keys that should have a private half there"},
                    "in_flight": number(), "max_in_flight": number(),
                    "processes": {"type": "array", "items": process},
                },
                "required": ["activation", "ready", "token", "pairs_on_token", "keys_expected", "in_flight", "max_in_flight", "processes"],
            }),
        ),
        (
            "HsmBench",
            json!({
                "type": "object",
                "properties": {
                    "algorithm": {"type": ["string", "null"]},
                    "concurrency": {"type": "integer", "description": "Signatures at once: at most half of the queue"},
                    "signatures": number(), "errors": number(),
                    "seconds": {"description": "How long it took"},
                    "per_second": {"description": "Signatures in a second"},
                    "p50_ms": {"description": "Half of them took no longer, in milliseconds"},
                    "p99_ms": {"description": "99 of 100 took no longer"},
                },
                "required": ["algorithm", "concurrency", "signatures", "errors", "seconds", "per_second", "p50_ms", "p99_ms"],
            }),
        ),
        (
            "Differences",
            json!({
                "type": "object",
                "properties": {
                    "orphans": {"type": "array", "items": orphan, "description": "On the token, and no key's here"},
                    "missing": {"type": "array", "items": reference("SigningKey"), "description": "Keys here whose private half is not there"},
                },
                "required": ["orphans", "missing"],
            }),
        ),
    ]
}
