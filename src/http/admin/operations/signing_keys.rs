//! Signing keys: their life, their evidence, and the inventory.

use serde_json::{Value, json};

use crate::{
    domain::{KeyOrigin, KeyPlan, KeyState, Permission, RSA_BITS, SigningAlgorithm},
    http::{
        admin::{
            inventory,
            signing_keys::{self, MAX_ATTACHMENT, MAX_ATTACHMENT_NAME, MAX_NAME},
        },
        openapi::{Doc, Operation, get, post, reference},
    },
};

pub(super) fn operations() -> Vec<Operation> {
    let mut operations = reading();
    operations.extend(of_tenants());
    operations.extend(changes());
    operations.extend(ends());
    operations
}

/// The title of the answer where a rule stands against a change; its details begin with the rule's name.
const REFUSED: &str = "the key was not changed";

/// The title of the answer where dual control has one request for an act wait at a time.
const WAITS: &str = "{approval} waits for the same act already";

fn reading() -> Vec<Operation> {
    let listing = |id, summary| {
        Doc::new(id, summary)
            .query("state", &json!({"type": "string", "enum": KeyState::ALL}), "Those in this state")
            .query(
                "due",
                &json!({"type": "boolean", "default": false}),
                "Those that sign, and whose rotation is due by the database's clock",
            )
            .pages_of("SigningKey")
            .refuses(400, "unable to validate request")
    };
    vec![
        get(
            "/tenants/{tenant_id}/signing_keys",
            signing_keys::list_of_tenant,
            listing("listTenantSigningKeys", "Lists a tenant's keys, the oldest first").needs(Permission::ReadKeys),
        ),
        get(
            "/signing_keys",
            signing_keys::list,
            listing("listSigningKeys", "Lists keys tenant by tenant, the oldest first").needs_of_own(Permission::ReadKeys),
        ),
        get(
            "/signing_keys/{kid}",
            signing_keys::get,
            Doc::new("getSigningKey", "A key").needs(Permission::ReadKeys).answers("It", "SigningKey"),
        ),
        get(
            "/signing_keys/{kid}/evidence",
            signing_keys::evidence,
            Doc::new("getKeyEvidence", "What the token said of a key when it was made, signed by that key")
                .description("What `key evidence --verify` checks, with nothing but this.")
                .needs(Permission::ReadKeys)
                .answers("It, with attachments and the key's history", "KeyEvidence"),
        ),
        get(
            "/inventory",
            inventory::list,
            Doc::new("getInventory", "Lists keys with their attributes as read back from the token")
                .description("Tenant by tenant, the oldest first. Where the token cannot be asked, as it was when each key was made.")
                .needs_of_own(Permission::ReadKeys)
                .pages_of("InventoryEntry"),
        ),
    ]
}

fn of_tenants() -> Vec<Operation> {
    let algorithm = json!({"type": "string", "enum": SigningAlgorithm::ALL});
    let plan = json!({"type": "string", "enum": KeyPlan::ALL, "default": KeyPlan::None, "description": "What the scheduler does with it by itself"});
    let create = body(&json!({"algorithm": algorithm, "rsa_bits": {"type": "integer", "enum": RSA_BITS}, "plan": plan}), &[]);
    let adopt = body(
        &json!({
            "cka_id": {"type": "string", "description": "In hexadecimal", "maxLength": 2 * MAX_NAME},
            "label": {"type": "string", "minLength": 1, "maxLength": MAX_NAME},
            "algorithm": algorithm,
            "plan": plan,
        }),
        &["algorithm"],
    );
    let rotate = body(
        &json!({
            "emergency": {"type": "boolean", "description": "Now, or not at all; an act of dual control"},
            "accept_exposure": {"type": "boolean", "description": "With emergency: also where verifiers may not have the standby yet"},
            "if_active_before": {"type": "string", "format": "date-time", "description": "Only if the active key signs since before"},
        }),
        &[],
    );
    let made = json!({"description": "It", "content": {"application/json": {"schema": reference("SigningKey")}}});
    vec![
        post(
            "/tenants/{tenant_id}/signing_keys",
            signing_keys::create,
            change("createSigningKey", "Makes a key in the HSM")
                .description("It is pending, with its evidence.")
                .body(&create, false)
                .answers_as(201, &made),
        ),
        post(
            "/tenants/{tenant_id}/signing_keys/adopt",
            signing_keys::adopt,
            change("adoptSigningKey", "Takes over a key that a ceremony made on the token")
                // Whose ceremony it was only people know: whoever is bound to a tenant could take another's.
                .needs(Permission::OperateHsm)
                .description("`cka_id`, `label` or both: exactly one pair has to match.")
                .body(&adopt, true)
                .answers_as(201, &made),
        ),
        post(
            "/tenants/{tenant_id}/signing_keys/rotate",
            signing_keys::rotate,
            act("rotateSigningKey", "Puts a tenant's standby in the place of its active key; makes or plans one where none is ready")
                .needs(Permission::OperateKeys)
                .description("`accept_exposure` needs distrust-keys too.")
                .body(&rotate, false)
                .answers("What came of it", "Rotation"),
        ),
        post(
            "/tenants/{tenant_id}/signing_keys/rollback",
            signing_keys::roll_back,
            change("rollBackSigningKey", "Undoes a tenant's last rotation")
                .body(&body(&json!({}), &[]), false)
                .answers("What came of it", "Rotation"),
        ),
    ]
}

fn changes() -> Vec<Operation> {
    let plain = || body(&json!({}), &[]);
    let exposure = || body(&json!({"accept_exposure": {"type": "boolean", "description": "Although verifiers may not have it yet"}}), &[]);
    let replace = body(&json!({"replace": {"type": "boolean", "description": "The standby signs in its place"}}), &[]);
    vec![
        post(
            "/signing_keys/{kid}/publish",
            signing_keys::publish,
            change("publishSigningKey", "Puts a key into the JWKS").body(&plain(), false).answers("It", "SigningKey"),
        ),
        post(
            "/signing_keys/{kid}/activate",
            signing_keys::activate,
            act("activateSigningKey", "Has a published key sign, in the place of the active one")
                .needs(Permission::OperateKeys)
                .description("`accept_exposure` needs distrust-keys too, and is an act of dual control.")
                .body(&exposure(), false)
                .answers("What came of it", "Rotation"),
        ),
        post(
            "/signing_keys/{kid}/suspend",
            signing_keys::suspend,
            change("suspendSigningKey", "Has a key sign no more for now").body(&replace, false).answers("It", "SigningKey"),
        ),
        post(
            "/signing_keys/{kid}/resume",
            signing_keys::resume,
            change("resumeSigningKey", "Has a suspended key sign again").body(&plain(), false).answers("It", "SigningKey"),
        ),
        post(
            "/signing_keys/{kid}/retire",
            signing_keys::retire,
            change("retireSigningKey", "Takes a key that does not sign out of use").body(&plain(), false).answers("It", "SigningKey"),
        ),
        post(
            "/signing_keys/{kid}/finish",
            signing_keys::finish,
            change("finishSigningKey", "Finishes a key whose making was cut short").body(&plain(), false).answers("It", "SigningKey"),
        ),
        post(
            "/signing_keys/{kid}/attachments",
            signing_keys::attach,
            change("attachToSigningKey", "Adds what a vendor's tool says of a key")
                .body(
                    &body(
                        &json!({
                            "name": {"type": "string", "minLength": 1, "maxLength": MAX_ATTACHMENT_NAME},
                            "content": {"type": "string", "contentEncoding": "base64", "maxLength": MAX_ATTACHMENT.div_ceil(3) * 4},
                        }),
                        &["name", "content"],
                    ),
                    true,
                )
                .answers_as(
                    201,
                    &json!({"description": "What was attached", "content": {"application/json": {"schema": reference("KeyAttachment")}}}),
                ),
        ),
    ]
}

fn ends() -> Vec<Operation> {
    let exposure =
        json!({"accept_exposure": {"type": "boolean", "description": "Have a standby take over that verifiers may not have yet"}});
    vec![
        post(
            "/signing_keys/{kid}/compromise",
            signing_keys::compromise,
            act("compromiseSigningKey", "Distrusts a key: out of the JWKS at once, its private half destroyed")
                .needs(Permission::DistrustKeys)
                .body(&body(&exposure, &[]), false)
                .answers("It, and the key that signs now, if any", "Compromise"),
        ),
        post(
            "/signing_keys/{kid}/destroy",
            signing_keys::destroy,
            act("destroySigningKey", "Destroys a key's private half on the token, for good; finishes what was cut short")
                .needs(Permission::DistrustKeys)
                .body(&body(&json!({}), &[]), false)
                .answers("It", "SigningKey"),
        ),
    ]
}

/// A change of a key.
fn change(id: &'static str, summary: &'static str) -> Doc {
    Doc::new(id, summary)
        .needs(Permission::OperateKeys)
        .refuses(400, "unable to validate request")
        .refuses(409, REFUSED)
        .refuses(409, "{what is in the way}")
}

/// A change that dual control may be about.
fn act(id: &'static str, summary: &'static str) -> Doc {
    waits(Doc::new(id, summary)).refuses(400, "unable to validate request").refuses(409, REFUSED)
}

/// What dual control adds to an act's answers.
pub(super) fn waits(doc: Doc) -> Doc {
    let waiting = json!({
        "description": "Dual control is on: it waits for a second administrator",
        "content": {"application/json": {"schema": reference("Approval")}},
    });
    doc.answers_as(202, &waiting).refuses(409, WAITS)
}

/// A body of these members, and a reason.
pub(super) fn body(members: &Value, required: &[&str]) -> Value {
    let mut members = members.clone();
    members["reason"] = json!({"type": "string"});
    json!({"type": "object", "properties": members, "required": required})
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let text = || json!({"type": "string"});
    let mut entry = key_members();
    for (name, schema) in [
        ("tenant_name", json!({"type": ["string", "null"], "description": "Null for a tenant that is deleted"})),
        (
            "on_token",
            json!({"type": ["boolean", "null"], "description": "Whether the private half is there; null where the token could not be asked"}),
        ),
        ("manufacturer", json!({})),
        ("model", json!({})),
        ("firmware", json!({})),
        ("attributes", json!({"description": "By their names in PKCS#11; null where nothing is known"})),
        (
            "read_from",
            json!({"type": ["string", "null"], "description": "token: read back now; evidence: as it was when the key was made"}),
        ),
    ] {
        entry[name] = schema;
    }
    let attachment = json!({
        "type": "object",
        "properties": {"name": text(), "sha256": text(), "content": {"type": "string", "contentEncoding": "base64url"}},
        "required": ["name", "sha256"],
    });
    vec![
        ("SigningKey", json!({"type": "object", "properties": key_members(), "required": KEY_REQUIRED})),
        ("InventoryEntry", json!({"type": "object", "properties": entry, "required": KEY_REQUIRED})),
        (
            "Rotation",
            json!({
                "type": "object",
                "properties": {
                    "rotation": {"type": "string", "enum": ["done", "planned", "not_needed"]},
                    "key": reference("SigningKey"),
                    "previous": reference("SigningKey"),
                },
                "required": ["rotation", "key"],
            }),
        ),
        (
            "Compromise",
            json!({
                "type": "object",
                "properties": {"key": reference("SigningKey"), "active": {"type": ["object", "null"], "properties": key_members(), "required": KEY_REQUIRED}},
                "required": ["key", "active"],
            }),
        ),
        ("KeyAttachment", attachment),
        (
            "KeyEvidence",
            json!({
                "type": "object",
                "properties": {
                    "record": {"type": "string", "description": "The JSON text that was signed"},
                    "signature": {"type": "string", "contentEncoding": "base64url", "description": "In JOSE form, over a prefix and the record"},
                    "public_key": {"type": "string", "contentEncoding": "base64url", "description": "SubjectPublicKeyInfo"},
                    "attachments": {"type": "array", "items": reference("KeyAttachment")},
                    "history": {"type": "array", "items": {"type": "object", "properties": {
                        "time": {"type": "string", "format": "date-time"}, "type": text(), "actor": {"type": ["string", "null"]},
                        "reason": {"type": ["string", "null"]}, "error": {"type": ["string", "null"]},
                    }, "required": ["time", "type"]}},
                },
                "required": ["record", "signature", "public_key", "attachments", "history"],
            }),
        ),
    ]
}

const KEY_REQUIRED: [&str; 8] = ["kid", "tenant_id", "algorithm", "state", "plan", "origin", "in_jwks", "created_at"];

fn key_members() -> Value {
    let instant = |what: &str| json!({"type": "string", "format": "date-time", "description": what});
    json!({
        "kid": {"type": "string", "format": "uuid"},
        "tenant_id": {"type": "string", "format": "uuid"},
        "algorithm": {"type": "string", "enum": SigningAlgorithm::ALL},
        "rsa_bits": {"type": "integer"},
        "state": {"type": "string", "enum": KeyState::ALL},
        "plan": {"type": "string", "enum": KeyPlan::ALL},
        "origin": {"type": "string", "enum": KeyOrigin::ALL},
        "token_serial": {"type": "string"},
        "cka_id": {"type": "string", "description": "In hexadecimal"},
        "thumbprint": {"type": "string", "description": "RFC 7638, SHA-256"},
        "in_jwks": {"type": "boolean"},
        "created_at": instant("When it was meant to be made"),
        "published_at": instant("When it came into the JWKS"),
        "usable_from": instant("The earliest instant at which it may sign"),
        "activated_at": instant("When it began to sign"),
        "rotate_from": instant("When its successor is due"),
        "deactivated_at": instant("When it ceased to sign"),
        "withdraw_from": instant("The earliest instant at which it may leave the JWKS"),
        "withdrawn_at": instant("When it left the JWKS"),
        "keep_private_until": instant("Until when its rotation can be undone"),
        "destroying_at": instant("When the end of its private half was begun"),
        "private_destroyed_at": instant("When its private half was proved to be gone"),
        "predecessor": {"type": "string", "format": "uuid", "description": "The key that signed before it"},
    })
}
