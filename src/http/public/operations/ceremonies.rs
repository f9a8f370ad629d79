//! The ceremonies: registration, login, second factors and transactions.

use serde_json::json;

use crate::{
    domain::TransactionId,
    http::{
        error::USER_VERIFICATION_MISSING,
        openapi::{Doc, Operation, get, post, reference, user_id},
        public::{login, mfa, registration, transactions},
    },
};

pub(super) fn operations() -> Vec<Operation> {
    let mut operations = passkeys();
    operations.extend(second_factors());
    operations.extend(confirmations());
    operations
}

fn passkeys() -> Vec<Operation> {
    vec![
        post(
            "/{tenant_id}/registration/initialize",
            registration::initialize,
            begins_registration("initializeRegistration", "Begins the registration of a passkey"),
        ),
        post(
            "/{tenant_id}/registration/finalize",
            registration::finalize,
            ends_registration("finalizeRegistration", "Ends the registration of a passkey")
                .description("For browsers: the challenge is the proof that a backend began it."),
        ),
        post(
            "/{tenant_id}/login/initialize",
            login::initialize,
            begins_login("initializeLogin", "Begins a login, of whoever has a passkey or of one user")
                .description("The API key is needed with `user_id` alone. Without, the body can be left out.")
                .sometimes_behind_key()
                .body(&json!({"type": ["object", "null"], "properties": {"user_id": {"anyOf": [user_id(), {"type": "null"}]}}}), false)
                .refuses(401, "api key is missing"),
        ),
        post("/{tenant_id}/login/finalize", login::finalize, ends_login("finalizeLogin", "Ends a login").description("For browsers.")),
    ]
}

fn second_factors() -> Vec<Operation> {
    vec![
        post(
            "/{tenant_id}/mfa/registration/initialize",
            mfa::initialize_registration,
            begins_registration("initializeMfaRegistration", "Begins the registration of a second factor"),
        ),
        post(
            "/{tenant_id}/mfa/registration/finalize",
            mfa::finalize_registration,
            ends_registration("finalizeMfaRegistration", "Ends the registration of a second factor").behind_key(),
        ),
        post(
            "/{tenant_id}/mfa/login/initialize",
            mfa::initialize_login,
            begins_login("initializeMfaLogin", "Asks for a user's second factor, or passkey")
                .behind_key()
                .body(&json!({"type": "object", "properties": {"user_id": user_id()}, "required": ["user_id"]}), true),
        ),
        post(
            "/{tenant_id}/mfa/login/finalize",
            mfa::finalize_login,
            ends_login("finalizeMfaLogin", "Ends a login with a second factor").behind_key(),
        ),
    ]
}

fn confirmations() -> Vec<Operation> {
    let request = json!({
        "type": "object",
        "properties": {
            "user_id": user_id(),
            "transaction_id": {"type": "string", "minLength": 1, "maxLength": TransactionId::MAX_CHARS},
            "transaction_data": {
                "type": ["object", "array", "string", "number", "boolean"],
                "description": "What is to be confirmed: any JSON but null, at most 128 KiB and 100 levels deep",
            },
        },
        "required": ["user_id", "transaction_id", "transaction_data"],
    });
    let (initialize, finalize) = ("/{tenant_id}/transaction/initialize", "/{tenant_id}/transaction/finalize");
    vec![
        post(
            initialize,
            transactions::initialize,
            Doc::new("initializeTransaction", "Asks a user to confirm something with a passkey")
                .description("A transaction that was refused, or whose time is over, can be begun again.")
                .behind_key()
                .body(&request, true)
                .answers("What `navigator.credentials.get` takes; the challenge ends with a hash of what is confirmed", "RequestOptions")
                .refuses(400, "unable to validate request")
                .refuses(400, "user has no suitable credentials for this operation")
                .refuses(404, "unable to find user")
                .refuses(409, "transaction already exists")
                .refuses(503, "Outcome Unknown"),
        ),
        post(
            finalize,
            transactions::finalize,
            Doc::new("finalizeTransaction", "Ends the confirmation of a transaction")
                .behind_key()
                .body(&reference("AuthenticationResponse"), true)
                .answers("A token with `trans`, the transaction's id", "Token")
                .refuses(400, "unable to finish transaction")
                .refuses(401, "failed to get session data")
                .refuses(401, "failed to get user handle")
                .refuses(401, "failed to validate assertion")
                .refuses(503, "Outcome Unknown"),
        ),
        get(
            "/{tenant_id}/transaction/{user_id}",
            transactions::list,
            Doc::new("listTransactions", "What a user was asked to confirm, the newest first")
                .description("At most the 1000 newest.")
                .behind_key()
                .path("user_id", &user_id(), "The application's name for the user")
                .answers_as(
                    200,
                    &json!({
                        "description": "None where there is no such user",
                        "content": {"application/json": {"schema": {"type": "array", "items": reference("Transaction")}}},
                    }),
                )
                .refuses(400, "invalid user id"),
        )
        // A user may be called so.
        .also_at(&["/{tenant_id}/transaction/initialize", "/{tenant_id}/transaction/finalize"]),
    ]
}

fn begins_registration(id: &'static str, summary: &'static str) -> Doc {
    let name = || json!({"type": "string", "minLength": 1, "maxLength": registration::NAME_CHARS});
    // Clients that have none send an empty one.
    let icon = json!({"anyOf": [{"type": "string", "format": "uri", "maxLength": registration::ICON_BYTES}, {"enum": ["", null]}]});
    let request = json!({
        "type": "object",
        "properties": {
            "user_id": user_id(),
            "username": name(),
            "display_name": {"type": ["string", "null"], "maxLength": registration::NAME_CHARS, "description": "The username when it is left out"},
            "icon": icon,
        },
        "required": ["user_id", "username"],
    });
    Doc::new(id, summary)
        .behind_key()
        .body(&request, true)
        .answers("What `navigator.credentials.create` takes", "CreationOptions")
        .refuses(400, "unable to validate request")
        .refuses(503, "Outcome Unknown")
}

fn ends_registration(id: &'static str, summary: &'static str) -> Doc {
    Doc::new(id, summary)
        .body(&reference("RegistrationResponse"), true)
        .answers("A token, whose `ceremony` says which this was", "Token")
        .refuses(400, "unable to parse credential creation response")
        .refuses(400, "received challenge does not match with any stored one")
        .refuses(400, "failed to validate attestation")
        .refuses(404, "user not found")
        .refuses(422, USER_VERIFICATION_MISSING)
        .refuses(503, "Outcome Unknown")
}

fn begins_login(id: &'static str, summary: &'static str) -> Doc {
    Doc::new(id, summary)
        .answers("What `navigator.credentials.get` takes", "RequestOptions")
        .refuses(400, "unable to validate request")
        .refuses(400, "failed to create webauthn assertion options for login: Found no credentials for user")
        .refuses(404, "user not found")
        .refuses(503, "Outcome Unknown")
}

fn ends_login(id: &'static str, summary: &'static str) -> Doc {
    Doc::new(id, summary)
        .body(&reference("AuthenticationResponse"), true)
        .answers("A token, whose `ceremony` says which this was", "Token")
        .refuses(400, "unable to finish login")
        .refuses(401, "failed to get session data")
        .refuses(401, "failed to get user handle")
        .refuses(401, "failed to validate assertion")
        .refuses(503, "Outcome Unknown")
}
