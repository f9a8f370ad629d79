//! Every operation of the public API: its path, its handler, and what the document says of it.

mod ceremonies;

use serde_json::json;

use super::{audit_logs, credentials, jwks, signals, status, well_known};
use crate::http::openapi::{self, Doc, Operation, credential_id, delete, get, patch, reference, user_id};

/// What is below `/{tenant_id}`.
pub(super) fn of_tenants() -> Vec<Operation> {
    let mut operations = documents();
    operations.extend(ceremonies::operations());
    operations.extend(credentials());
    operations.extend(records());
    operations
}

/// What is no tenant's.
pub(super) fn of_the_root() -> Vec<Operation> {
    let page = json!({"text/html": {"schema": {"type": "string"}}});
    let down = json!({"text/html": {"schema": {"type": "string"}}, "application/json": {"schema": reference("Error")}});
    vec![
        get(
            "/",
            status::page,
            Doc::new("status", "A page that says whether the service is up")
                .answers_as(200, &json!({"description": "It is", "content": page}))
                .answers_as(500, &json!({"description": "The database is out of reach", "content": down})),
        ),
        get(
            "/openapi.json",
            openapi::serve,
            Doc::new("openapi", "This document")
                .answers_as(200, &json!({"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}})),
        ),
        get("/.well-known/webauthn", well_known::related_origins_of_host, related_origins("relatedOriginsOfHost").description(BY_HOST)),
        get(
            "/.well-known/passkey-endpoints",
            well_known::passkey_endpoints_of_host,
            passkey_endpoints("passkeyEndpointsOfHost").description(BY_HOST),
        ),
    ]
}

const BY_HOST: &str = "Of all tenants together whose RP ID is the `Host` of the request, whatever its port; 404 when there is none.";

fn related_origins(id: &'static str) -> Doc {
    let doc = Doc::new(id, "The origins that may use the RP ID (WebAuthn L3 section 5.11)");
    doc.answers("The origins of the web, as browsers write them", "RelatedOrigins")
        .refuses(404, "Not Found")
        .refuses(503, "Service Unavailable")
}

fn passkey_endpoints(id: &'static str) -> Doc {
    let doc = Doc::new(id, "Where people make and manage their passkeys (W3C Passkey Endpoints)");
    doc.answers("The application's pages; 404 when it has named none", "PasskeyEndpoints")
        .refuses(404, "Not Found")
        .refuses(503, "Service Unavailable")
}

fn documents() -> Vec<Operation> {
    vec![
        get(
            "/{tenant_id}/.well-known/jwks.json",
            jwks::get,
            Doc::new("getJwks", "The keys that verify the tenant's tokens")
                .header("If-None-Match", "An `ETag` of an answer before")
                .answers_as(
                    200,
                    &json!({
                        "description": "A JWK set (RFC 7517)",
                        "headers": {"Cache-Control": {"schema": {"type": "string"}}, "ETag": {"schema": {"type": "string"}}},
                        "content": {"application/json": {"schema": reference("Jwks")}},
                    }),
                )
                .empty(304, "They have not changed"),
        ),
        get("/{tenant_id}/.well-known/webauthn", well_known::related_origins, related_origins("relatedOrigins")),
        get("/{tenant_id}/.well-known/passkey-endpoints", well_known::passkey_endpoints, passkey_endpoints("passkeyEndpoints")),
    ]
}

/// The title of the answer where there is no such credential.
const NO_CREDENTIAL: &str = "credential with id '{id}' not found";

fn credentials() -> Vec<Operation> {
    let path = "/{tenant_id}/credentials/{id}";
    let doc =
        |id, summary| Doc::new(id, summary).behind_key().path("id", &credential_id(), "A credential's id").refuses(404, NO_CREDENTIAL);
    let rename = json!({
        "type": "object",
        "properties": {"name": {"type": "string", "minLength": 1, "maxLength": credentials::NAME_CHARS}},
        "required": ["name"],
    });
    vec![
        get(
            "/{tenant_id}/credentials",
            credentials::list,
            Doc::new("listCredentials", "Lists credentials, of all users or of one")
                .behind_key()
                // A filter: what is no user's id finds nothing.
                .query("user_id", &json!({"type": "string", "minLength": 1}), "Whose; everybody's when it is left out")
                .query("order", &json!({"type": "string", "enum": ["desc", "asc"], "default": "desc"}), "The newest first, or the oldest")
                .pages_of("Credential")
                .refuses(400, "unable to validate request"),
        ),
        get(path, credentials::get, doc("getCredential", "A credential").answers("It", "Credential")),
        patch(
            path,
            credentials::rename,
            doc("renameCredential", "Gives a credential another name")
                .body(&rename, true)
                .empty(204, "It has that name now")
                .refuses(400, "unable to validate request")
                .refuses(503, "Outcome Unknown"),
        ),
        delete(
            path,
            credentials::delete,
            doc("deleteCredential", "Removes a credential for good")
                .description("Its evidence goes with it; its audit events stay.")
                .empty(204, "It is gone")
                .refuses(503, "Outcome Unknown"),
        ),
    ]
}

fn records() -> Vec<Operation> {
    let text = || json!({"type": "string"});
    let instant = || json!({"type": "string", "format": "date-time"});
    vec![
        get(
            "/{tenant_id}/audit_logs",
            audit_logs::list,
            Doc::new("listAuditLogs", "Lists what happened, the newest first")
                .behind_key()
                .query("start_time", &instant(), "After this instant")
                .query("end_time", &instant(), "Before this instant")
                .query("type", &json!({"type": "array", "items": text()}), "Of these types; one that there is not has no events")
                .query("actor_user_id", &text(), "Whose user id has this in it")
                .query("meta_source_ip", &text(), "Whose source address has this in it")
                .query("q", &text(), "Either of the two has this in it")
                .pages_of("AuditEvent")
                .refuses(400, "unable to list audit logs"),
        ),
        get(
            "/{tenant_id}/signals",
            signals::get,
            Doc::new("getSignals", "What the Signal API's methods are to be called with")
                .description(
                    "An addition to the contract: of a user (`user_id`), or of a credential that somebody tried to sign in with (`credential_id`); one \
                     of the two is given. Second factors count as accepted. Only for a page on which that very user is signed in.",
                )
                .behind_key()
                .query("user_id", &user_id(), "A user: `allAcceptedCredentials` and `currentUserDetails` are answered")
                .query("credential_id", &credential_id(), "A credential: `unknownCredential` is answered, null when the tenant has it")
                .answers("The arguments, by method", "Signals")
                .refuses(400, "unable to validate request")
                .refuses(404, "user not found"),
        ),
    ]
}
