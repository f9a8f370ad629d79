//! Requests for a second administrator's approval.

use serde_json::{Value, json};

use super::signing_keys::body;
use crate::{
    domain::{ApprovalState, Permission},
    http::{
        admin::approvals,
        openapi::{Doc, Operation, get, post},
    },
};

/// The title of the answer where there is no such request.
const NONE: &str = "there is no approval {id}";

pub(super) fn operations() -> Vec<Operation> {
    let doc =
        |id, summary| Doc::new(id, summary).path("id", &json!({"type": "string", "format": "uuid"}), "The request").refuses(404, NONE);
    let undecided = "the approval was not decided";
    vec![
        get(
            "/approvals",
            approvals::list,
            Doc::new("listApprovals", "Lists requests for approvals, the newest first")
                .needs(Permission::ReadApprovals)
                .query("state", &json!({"type": "string", "enum": ApprovalState::ALL}), "Those in this state now")
                .pages_of("Approval")
                .refuses(400, "unable to validate request"),
        ),
        get(
            "/approvals/{id}",
            approvals::get,
            doc("getApproval", "A request for an approval").needs(Permission::ReadApprovals).answers("It", "Approval"),
        ),
        post(
            "/approvals/{id}/approve",
            approvals::approve,
            doc("approve", "Approves another administrator's request, and does what it asks for")
                .description(
                    "The caller needs the permission that the act needs, too. An activation is then done by who asked, with the PIN. Where an \
                     act was cut short, whoever approved it calls again. What the act is refused for is answered as if it had been asked for \
                     directly, and the request is `failed`.",
                )
                .needs(Permission::DecideApprovals)
                .body(&body(&json!({}), &[]), false)
                .answers("It, with what came of it", "Approval")
                .refuses(409, undecided)
                .refuses(409, "{why the act was refused}"),
        ),
        post(
            "/approvals/{id}/reject",
            approvals::reject,
            doc("reject", "Rejects a request, or takes one's own back")
                .description("Another's needs decide-approvals, and the permission that the act needs.")
                // Whoever may ask for anything has this.
                .needs_of_own(Permission::OperateKeys)
                .body(&body(&json!({}), &[]), false)
                .answers("It", "Approval")
                .refuses(409, undecided),
        ),
    ]
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let text = || json!({"type": "string"});
    let uuid = || json!({"type": "string", "format": "uuid"});
    let instant = |what: &str| json!({"type": "string", "format": "date-time", "description": what});
    vec![(
        "Approval",
        json!({
            "type": "object",
            "properties": {
                "id": uuid(),
                "act": text(),
                "request": {"description": "The whole act, as it will be done"},
                "tenant_id": uuid(),
                "kid": uuid(),
                "reason": text(),
                "state": {"type": "string", "enum": ApprovalState::ALL},
                "requested_by": text(),
                "requested_at": instant("When it was asked for"),
                "expires_at": instant("Until when it can be decided, and done"),
                "decided_by": {"type": "string", "description": "Nobody where it was taken back"},
                "decided_at": instant("When it was decided"),
                "outcome": {"type": "string", "description": "What came of it, for people"},
                "result": {"type": "object", "description": "What the act led to, where it was done now: a SigningKey, Rotation or Compromise"},
            },
            "required": ["id", "act", "request", "reason", "state", "requested_by", "requested_at", "expires_at"],
        }),
    )]
}
