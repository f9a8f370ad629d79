//! Tenants, their settings, their keys in the contract's form, and their users: the contract's 1.7, and what we add to it.

use serde_json::{Value, json};

use crate::{
    domain::Permission,
    http::{
        admin::{audit_logs, secrets, settings, tenants, users},
        openapi::{Doc, Operation, audit_event, delete, get, post, put, reference, user_id},
    },
};

pub(super) fn operations() -> Vec<Operation> {
    [of_tenants(), of_settings(), of_secrets(), of_users(), of_audit_logs()].into_iter().flatten().collect()
}

fn of_tenants() -> Vec<Operation> {
    let path = "/tenants/{tenant_id}";
    let flag = json!({"type": "boolean", "default": false});
    vec![
        get(
            "/tenants",
            tenants::list,
            Doc::new("listTenants", "Lists tenants, the oldest first")
                .needs_of_own(Permission::ReadTenants)
                .query("deleted", &flag, "Those that were deleted instead, the one deleted last first")
                .answers_as(200, &array("Those that the caller may see", "ListedTenant")),
        ),
        post(
            "/tenants",
            tenants::create,
            Doc::new("createTenant", "Makes a tenant with its first signing key in the HSM")
                .description("With `await_key` without one: it signs nothing until a key that a ceremony made is adopted.")
                .needs(Permission::CreateTenants)
                .body(&new_tenant(), true)
                .answers_as(201, &json!({"description": "It", "content": {"application/json": {"schema": reference("CreatedTenant")}}}))
                .refuses(400, "unable to create tenant"),
        ),
        get(path, tenants::get, Doc::new("getTenant", "A tenant").needs(Permission::ReadTenants).answers("It", "Tenant")),
        put(
            path,
            tenants::rename,
            Doc::new("renameTenant", "Gives a tenant another name")
                .needs(Permission::ChangeTenant)
                .body(&object(&["display_name"]), true)
                .empty(204, "It has that name now")
                .refuses(400, "unable to update tenant"),
        ),
        delete(
            path,
            tenants::delete,
            Doc::new("deleteTenant", "Deletes a tenant")
                .description(
                    "It is out of sight at once. Its keys and its data are destroyed when the grace period is over; its audit trail is kept.",
                )
                .needs(Permission::DeleteTenants)
                .body(&object(&[]), false)
                .empty(204, "It is deleted")
                .answers_as(202, &waits())
                .refuses(403, "Forbidden")
                .refuses(409, "{why it cannot be}"),
        ),
        post(
            "/tenants/{tenant_id}/restore",
            tenants::restore,
            Doc::new("restoreTenant", "Brings a deleted tenant back as it was")
                .needs(Permission::DeleteTenants)
                .body(&object(&[]), false)
                .empty(204, "It is back")
                .refuses(409, "the tenant cannot be restored: its grace period is over, or a key of it was destroyed"),
        ),
        put(
            "/tenants/{tenant_id}/config",
            tenants::configure,
            Doc::new("configureTenant", "Replaces a tenant's configuration")
                .description("What is left out is the default again. Settings are a resource of their own, and stay.")
                .needs(Permission::ChangeTenant)
                .body(&json!({"type": "object"}), true)
                .empty(204, "It is configured so")
                .refuses(400, "unable to update tenant config"),
        ),
    ]
}

fn of_settings() -> Vec<Operation> {
    let refused = |doc: Doc| {
        doc.empty(204, "They are so now")
            .answers_as(202, &waits())
            .refuses(400, "unable to update tenant settings")
            .refuses(403, "Forbidden")
            .refuses(409, "{why it cannot be}")
    };
    vec![
        get(
            "/tenants/{tenant_id}/settings",
            settings::get,
            Doc::new("getSettings", "What a tenant has chosen that the contract does not know")
                .needs(Permission::ReadTenants)
                .answers("All settings", "TenantSettings"),
        ),
        put(
            "/tenants/{tenant_id}/settings",
            settings::replace,
            refused(
                Doc::new("replaceSettings", "Replaces a tenant's settings")
                    .description(
                        "What is left out is the default again. A change of `algorithm`, `rsa_bits` or `keys` needs change-key-policy besides, \
                         and under dual control a second administrator.",
                    )
                    .needs(Permission::ChangeTenant)
                    .body(&json!({"type": "object"}), true),
            ),
        ),
        put(
            "/tenants/{tenant_id}/settings/keys",
            settings::change_keys,
            refused(
                Doc::new("changeKeyPolicy", "Changes what a tenant's keys are and how long they live")
                    .description("Of the settings `algorithm`, `rsa_bits` and `keys` those that are given; the others stay.")
                    .needs(Permission::ChangeKeyPolicy)
                    .body(&json!({"type": "object"}), true),
            ),
        ),
    ]
}

fn of_secrets() -> Vec<Operation> {
    let made = json!({"description": "It", "content": {"application/json": {"schema": reference("Secret")}}});
    let uuid = json!({"type": "string", "format": "uuid"});
    let remove = |doc: Doc| {
        doc.path("secret_id", &uuid, "The key's id")
            .body(&object(&[]), false)
            .refuses(400, "unable to remove key")
            .refuses(404, "secret with ID '{secret_id}' not found")
    };
    let create = |doc: Doc| {
        doc.body(&object(&["name"]), true).answers_as(201, &made).refuses(400, "unable to create key").refuses(409, "unable to create key")
    };
    vec![
        get(
            "/tenants/{tenant_id}/secrets/api",
            secrets::list_api,
            Doc::new("listApiKeys", "Lists API keys, without their secrets")
                .needs(Permission::ReadApiKeys)
                .answers_as(200, &array("Those that open something, the oldest first", "Secret")),
        ),
        post(
            "/tenants/{tenant_id}/secrets/api",
            secrets::create_api,
            create(Doc::new("createApiKey", "Makes an API key, which is shown this once").needs(Permission::ChangeApiKeys)),
        ),
        delete(
            "/tenants/{tenant_id}/secrets/api/{secret_id}",
            secrets::delete_api,
            remove(Doc::new("deleteApiKey", "Revokes an API key").needs(Permission::ChangeApiKeys).empty(204, "It opens nothing any more")),
        ),
        get(
            "/tenants/{tenant_id}/secrets/jwk",
            secrets::list_jwk,
            Doc::new("listJwkSecrets", "Lists the signing keys that sign, or may yet")
                .needs(Permission::ReadKeys)
                .answers_as(200, &array("The oldest first", "Secret")),
        ),
        post(
            "/tenants/{tenant_id}/secrets/jwk",
            secrets::create_jwk,
            create(
                Doc::new("createJwkSecret", "Makes a signing key in the HSM")
                    .description("It is published, and signs as soon as every verifier can know it.")
                    .needs(Permission::OperateKeys)
                    .refuses(409, "the key was not changed"),
            ),
        ),
        delete(
            "/tenants/{tenant_id}/secrets/jwk/{secret_id}",
            secrets::delete_jwk,
            remove(
                Doc::new("deleteJwkSecret", "Takes a signing key out of use")
                    .description("One that signs goes on until its successor may, which is made where there is none.")
                    .needs(Permission::OperateKeys)
                    .empty(204, "It is, or will be, out of use")
                    .refuses(409, "the key was not changed"),
            ),
        ),
    ]
}

fn of_users() -> Vec<Operation> {
    let path = "/tenants/{tenant_id}/users/{user_row_id}";
    let direction = json!({"type": "string", "enum": ["desc", "asc"], "default": "desc"});
    let one = |id, summary| {
        Doc::new(id, summary)
            .path("user_row_id", &json!({"type": "string", "format": "uuid"}), "The user's `id`, which is not its `user_id`")
            .refuses(400, "invalid user_id")
            .refuses(404, "user not found")
    };
    vec![
        get(
            "/tenants/{tenant_id}/users",
            users::list,
            Doc::new("listUsers", "Lists a tenant's users by the time they were made")
                .needs(Permission::ReadUsers)
                .query("sort_direction", &direction, "The newest first, or the oldest")
                .pages_of("User")
                .refuses(400, "sort_direction must be desc or asc")
                .refuses(400, "unable to parse request"),
        ),
        get(
            path,
            users::get,
            one("getUser", "A user with credentials and transactions").needs(Permission::ReadUsers).answers("It", "UserDetails"),
        ),
        delete(
            path,
            users::delete,
            one("deleteUser", "Deletes a user with credentials and transactions")
                .needs(Permission::DeleteUsers)
                .body(&object(&[]), false)
                .empty(204, "It is gone"),
        ),
    ]
}

fn of_audit_logs() -> Vec<Operation> {
    let text = || json!({"type": "string"});
    let instant = || json!({"type": "string", "format": "date-time"});
    let filtered = |id, summary| {
        Doc::new(id, summary)
            .needs(Permission::ReadAudit)
            .query("start_time", &instant(), "After this instant")
            .query("end_time", &instant(), "Before this instant")
            .query("type", &json!({"type": "array", "items": text()}), "Of these types; one that there is not has no events")
            .query("actor_user_id", &text(), "Whose user id has this in it")
            .query("meta_source_ip", &text(), "Whose source address has this in it")
            .query("q", &text(), "Either of the two has this in it")
            .pages_of("AdminAuditEvent")
            .refuses(400, "unable to list audit logs")
    };
    vec![
        get(
            "/tenants/{tenant_id}/audit_logs",
            audit_logs::of_tenant,
            filtered("listTenantAuditLogs", "Lists what happened to a tenant, the newest first")
                .description("A deleted tenant's as long as any other's."),
        ),
        get(
            "/audit_logs",
            audit_logs::of_deployment,
            filtered("listDeploymentAuditLogs", "Lists what happened to the deployment, the newest first").query(
                "tenant",
                &text(),
                "The events of this tenant instead, or with `all` everybody's",
            ),
        ),
    ]
}

/// A body with these texts, all of them needed, and a reason.
fn object(names: &[&str]) -> Value {
    let mut properties = json!({"reason": {"type": "string"}});
    for name in names {
        properties[*name] = json!({"type": "string", "minLength": 1, "maxLength": 200});
    }
    json!({"type": "object", "properties": properties, "required": names})
}

fn new_tenant() -> Value {
    json!({
        "type": "object",
        "properties": {
            "display_name": {"type": "string", "minLength": 1, "maxLength": tenants::NAME_CHARS},
            "config": {"type": "object", "description": "As `getTenant` answers it; what may be left out has defaults"},
            "create_api_key": {"type": "boolean", "default": false},
            "settings": {"type": "object", "description": "As `getSettings` answers them"},
            "await_key": {"type": "boolean", "default": false},
            "reason": {"type": "string"},
        },
        "required": ["display_name", "config"],
    })
}

fn array(description: &str, item: &str) -> Value {
    let schema = json!({"type": "array", "items": reference(item)});
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

fn waits() -> Value {
    let content = json!({"application/json": {"schema": reference("Approval")}});
    json!({"description": "It waits for a second administrator: the request", "content": content})
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let uuid = || json!({"type": "string", "format": "uuid"});
    let text = || json!({"type": "string"});
    let instant = || json!({"type": "string", "format": "date-time"});
    let secret = json!({
        "type": "object",
        "properties": {
            "id": uuid(), "name": text(), "created_at": instant(),
            "secret": {"type": "string", "description": format!("An API key once, when it is made, and {} from then on; a signing key's `kid`", secrets::MASK)},
        },
        "required": ["id", "name", "secret", "created_at"],
    });
    let user = json!({
        "type": "object",
        "properties": {"id": uuid(), "user_id": user_id(), "name": text(), "icon": text(), "display_name": text()},
        "required": ["id", "user_id", "name", "icon", "display_name"],
    });
    let mut details = user.clone();
    details["properties"]["credentials"] = json!({"type": "array", "items": reference("Credential")});
    details["properties"]["transactions"] = json!({"type": "array", "items": reference("Transaction")});
    details["required"] = json!(["id", "user_id", "name", "icon", "display_name", "credentials", "transactions"]);
    let mut event = audit_event();
    event["properties"]["actor"] = json!({"type": "string", "description": "Who did it, where that is no user"});
    event["properties"]["key_id"] = uuid();
    event["properties"]["reason"] = text();
    vec![
        (
            "ListedTenant",
            json!({
                "type": "object",
                "properties": {"id": uuid(), "display_name": text(), "deleted_at": instant(), "purge_from": instant(), "purged_at": instant()},
                "required": ["id", "display_name"],
            }),
        ),
        ("CreatedTenant", json!({"type": "object", "properties": {"id": uuid(), "api_key": reference("Secret")}, "required": ["id"]})),
        (
            "Tenant",
            json!({
                "type": "object",
                "properties": {
                    "id": uuid(), "display_name": text(), "config": {"type": "object"},
                    "awaiting_key": {"const": true, "description": "It signs nothing until a key is adopted"},
                },
                "required": ["id", "display_name", "config"],
            }),
        ),
        ("TenantSettings", json!({"type": "object"})),
        ("Secret", secret),
        ("User", user),
        ("UserDetails", details),
        ("AdminAuditEvent", event),
    ]
}
