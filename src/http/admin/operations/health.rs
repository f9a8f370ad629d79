//! What monitoring asks, without saying who it is.

use serde_json::{Value, json};

use crate::http::{
    admin::health,
    openapi::{self, Doc, Operation, get, reference},
};

pub(super) fn operations() -> Vec<Operation> {
    let unready = json!({"description": "Something is missing", "content": {"application/json": {"schema": reference("Readiness")}}});
    vec![
        get("/health/alive", health::alive, Doc::new("alive", "Whether the process answers").answers("It does", "Liveness")),
        get(
            "/health/ready",
            health::ready,
            Doc::new("ready", "Whether the service can do its work").answers("It can", "Readiness").answers_as(503, &unready),
        ),
        get(
            "/metrics",
            health::metrics,
            Doc::new("metrics", "Counters, for Prometheus").answers_as(
                200,
                &json!({"description": "Prometheus' text form", "content": {"text/plain": {"schema": {"type": "string"}}}}),
            ),
        ),
        get(
            "/openapi-admin.json",
            openapi::serve,
            Doc::new("openapiAdmin", "This document")
                .answers_as(200, &json!({"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}})),
        ),
    ]
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let truth = || json!({"type": "boolean"});
    vec![
        ("Liveness", json!({"type": "object", "properties": {"alive": truth()}, "required": ["alive"]})),
        (
            "Readiness",
            json!({
                "type": "object",
                "properties": {
                    "ready": truth(), "database": truth(), "hsm": truth(), "root_secret": truth(),
                    "hsm_state": {"type": "string", "description": "What the HSM's supervisor has to say"},
                },
                "required": ["ready", "database", "hsm", "root_secret", "hsm_state"],
            }),
        ),
    ]
}
