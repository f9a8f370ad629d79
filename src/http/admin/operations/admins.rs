//! Administrators.

use serde_json::{Value, json};

use crate::{
    domain::{ADMIN_TOKEN_PREFIX, AdminKind, Permission, Role},
    http::{
        admin::admins,
        openapi::{Doc, Operation, delete, get, post, reference},
    },
};

pub(super) fn operations() -> Vec<Operation> {
    let list = json!({
        "description": "All of them, revoked ones included, the oldest first",
        "content": {"application/json": {"schema": {"type": "array", "items": reference("Admin")}}},
    });
    let made =
        json!({"description": "It, with its token where it has one", "content": {"application/json": {"schema": reference("Admin")}}});
    vec![
        get(
            "/admin_tokens",
            admins::list,
            Doc::new("listAdmins", "Lists administrators").needs(Permission::ReadAdmins).answers_as(200, &list),
        ),
        post(
            "/admin_tokens",
            admins::create,
            Doc::new("createAdmin", "Makes an administrator")
                .description(
                    "With a certificate it is known by that; else a token is made, and shown this once. The name is taken for ever.",
                )
                .needs(Permission::ChangeAdmins)
                .body(&new_admin(), true)
                .answers_as(201, &made)
                .refuses(400, "unable to validate request")
                .refuses(409, "{what is taken}"),
        ),
        delete(
            "/admin_tokens/{id}",
            admins::revoke,
            Doc::new("revokeAdmin", "Revokes an administrator, at once and for good")
                .description("One's own too. The last one of the role admin can be revoked on the server's own host alone.")
                .needs(Permission::ChangeAdmins)
                .path("id", &json!({"type": "string", "format": "uuid"}), "The administrator")
                .body(&json!({"type": "object", "properties": {"reason": {"type": "string"}}}), false)
                .empty(204, "It opens nothing any more")
                .refuses(404, "there is no administrator {id}, or it was revoked before")
                .refuses(409, "{why it cannot be}"),
        ),
    ]
}

fn new_admin() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 200},
            "role": {"type": "string", "enum": Role::ALL},
            "tenants": {"type": "array", "items": {"type": "string", "format": "uuid"}, "description": "Of a tenant-admin alone, and needed there"},
            "expires_at": {"type": "string", "format": "date-time"},
            "expires_in_days": {"type": "integer", "minimum": 1, "maximum": admins::MAX_DAYS, "description": "In the place of expires_at"},
            "certificate": {"type": "string", "description": "A TLS client certificate in PEM, to be known by"},
            "reason": {"type": "string"},
        },
        "required": ["name", "role"],
    })
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let text = || json!({"type": "string"});
    let instant = || json!({"type": "string", "format": "date-time"});
    vec![(
        "Admin",
        json!({
            "type": "object",
            "properties": {
                "id": {"type": "string", "format": "uuid"},
                "name": text(),
                "kind": {"type": "string", "enum": AdminKind::ALL},
                "role": {"type": "string", "enum": Role::ALL},
                "tenants": {"type": "array", "items": {"type": "string", "format": "uuid"}},
                "created_at": instant(),
                "created_by": text(),
                "expires_at": instant(),
                "last_used_at": {"type": "string", "format": "date-time", "description": "Within a minute"},
                "revoked_at": instant(),
                "token": {"type": "string", "description": format!("{ADMIN_TOKEN_PREFIX} and 43 characters, shown once")},
            },
            "required": ["id", "name", "kind", "role", "tenants", "created_at", "created_by"],
        }),
    )]
}
