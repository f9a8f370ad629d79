//! The forms of what is sent and answered (JSON Schema 2020-12, as OpenAPI 3.1 has it). Bounds and choices are those of the code.

use serde_json::{Map, Value, json};

use crate::{
    domain::{
        Attachment, AttestationFormat, AttestationPreference, AuditEventType, CredentialId, Hint, Page, RequestMeta, ResidentKey,
        TransactionId, TransactionState, UserId, UserVerification,
    },
    webauthn::OFFERED_ALGORITHMS,
};

/// A schema by its name.
pub(in crate::http) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The Components Object (OpenAPI 3.1.1 section 4.8.7).
pub(super) fn components() -> Value {
    json!({
        "securitySchemes": {
            "apiKey": {"type": "apiKey", "in": "header", "name": "apiKey", "description": "One of the tenant's API keys. For backends only."},
        },
        "parameters": {
            "tenant_id": {
                "name": "tenant_id", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"},
                "description": "The tenant; any form of a UUID",
            },
            "page": {
                "name": "page", "in": "query", "description": "Which page; below 1 is the first",
                "schema": {"type": "integer", "format": "int64", "default": 1},
            },
            "per_page": {
                "name": "per_page", "in": "query", "description": format!("Items of a page; more than {0} are {0}", Page::MAX_SIZE),
                "schema": {"type": "integer", "format": "int64", "default": Page::DEFAULT_SIZE},
            },
        },
        "schemas": {
            "Error": {
                "type": "object",
                "description": "A refusal. Answers of status 500 have no `details`.",
                "properties": {"title": {"type": "string"}, "details": {"type": "string"}, "status": {"type": "integer"}},
                "required": ["title", "status"],
            },
            "Token": {
                "type": "object",
                "properties": {"token": {"type": "string", "description": "A JWT, signed with one of the keys of the tenant's JWKS"}},
                "required": ["token"],
            },
            "Jwks": jwks(),
            "Credential": credential(),
            "AuditEvent": audit_event(),
            "RelatedOrigins": {
                "type": "object",
                "properties": {"origins": {"type": "array", "items": {"type": "string", "format": "uri"}}},
                "required": ["origins"],
            },
            "PasskeyEndpoints": {
                "type": "object",
                "properties": {"enroll": {"type": "string", "format": "uri"}, "manage": {"type": "string", "format": "uri"}},
            },
            "Signals": signals(),
            "CreationOptions": creation_options(),
            "RegistrationResponse": registration_response(),
            "RequestOptions": request_options(),
            "AuthenticationResponse": authentication_response(),
            "Transaction": transaction(),
        },
    })
}

/// The same of the admin API: `own`, and of the public API's what `document` and they refer to.
pub(super) fn admin_components(own: Vec<(&'static str, Value)>, document: &Value) -> Value {
    let mut shared = components();
    let mut schemas: Map<String, Value> = own.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    let text = format!("{document}{}", Value::Object(schemas.clone()));
    if let Some(public) = shared["schemas"].as_object() {
        let used = public.iter().filter(|(name, _)| text.contains(&format!("\"#/components/schemas/{name}\"")));
        schemas.extend(used.map(|(name, schema)| (name.clone(), schema.clone())));
    }
    let mut parameters = shared["parameters"].take();
    parameters["kid"] = json!({
        "name": "kid", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}, "description": "The signing key",
    });
    json!({
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "description": "An admin token, as `admin-token create` or `POST /admin_tokens` shows it once"},
            "certificate": {"type": "mutualTLS", "description": "A client certificate that was registered, where the listener asks for one"},
        },
        "parameters": parameters,
        "schemas": schemas,
    })
}

/// What may be the id of a user in a request.
pub(in crate::http) fn user_id() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": UserId::MAX_LEN, "description": "The application's name for the user: 1 to 64 bytes of UTF-8"})
}

/// What may be the id of a credential.
pub(in crate::http) fn credential_id() -> Value {
    json!({"type": "string", "minLength": 2, "maxLength": (4 * CredentialId::MAX_LEN).div_ceil(3), "contentEncoding": "base64url"})
}

fn base64url() -> Value {
    json!({"type": "string", "contentEncoding": "base64url"})
}

/// The texts of an enum.
fn texts<T: ToString>(all: &[T]) -> Value {
    let texts: Vec<_> = all.iter().map(ToString::to_string).collect();
    json!({"type": "string", "enum": texts})
}

fn jwks() -> Value {
    let text = || json!({"type": "string"});
    json!({
        "type": "object",
        "properties": {"keys": {"type": "array", "items": {
            "type": "object",
            "description": "A JWK (RFC 7517). `n` and `e` of RSA keys; `crv`, `x` and, but for EdDSA, `y` of others.",
            "properties": {
                "alg": text(), "kid": {"type": "string", "format": "uuid"}, "kty": {"enum": ["EC", "RSA", "OKP"]}, "use": {"const": "sig"},
                "crv": text(), "x": base64url(), "y": base64url(), "n": base64url(), "e": base64url(),
            },
            "required": ["alg", "kid", "kty", "use"],
        }}},
        "required": ["keys"],
    })
}

fn credential() -> Value {
    let instant = || json!({"type": "string", "format": "date-time"});
    json!({
        "type": "object",
        "properties": {
            "id": credential_id(),
            "name": {"type": "string"},
            "public_key": {"type": "string", "contentEncoding": "base64url", "description": "COSE_Key in canonical CBOR"},
            "attestation_type": {"type": "string", "description": "The attestation statement's format", "examples": texts(AttestationFormat::ALL)["enum"]},
            "aaguid": {"type": "string", "format": "uuid"},
            "last_used_at": instant(),
            "created_at": instant(),
            "transports": {"type": "array", "items": {"type": "string"}},
            "backup_eligible": {"type": "boolean"},
            "backup_state": {"type": "boolean"},
            "is_mfa": {"type": "boolean", "description": "A second factor, no passkey"},
            "user_id": user_id(),
        },
        "required": ["id", "public_key", "attestation_type", "aaguid", "created_at", "transports", "backup_eligible", "backup_state", "is_mfa", "user_id"],
    })
}

/// An event as a tenant sees it.
pub(in crate::http) fn audit_event() -> Value {
    let bounded = || json!({"type": "string", "maxLength": RequestMeta::MAX_CHARS});
    let uuid = || json!({"type": "string", "format": "uuid"});
    let instant = || json!({"type": "string", "format": "date-time"});
    json!({
        "type": "object",
        "properties": {
            "id": uuid(),
            "type": texts(AuditEventType::ALL),
            "error": {"type": "string"},
            "meta_http_request_id": bounded(),
            "meta_source_ip": bounded(),
            "meta_user_agent": bounded(),
            "actor_user_id": user_id(),
            "created_at": instant(),
            "updated_at": instant(),
            "tenant_id": uuid(),
            "transaction_id": {"type": ["string", "null"]},
            "credential_id": credential_id(),
        },
        "required": [
            "id", "type", "meta_http_request_id", "meta_source_ip", "meta_user_agent", "created_at", "updated_at", "tenant_id", "transaction_id",
        ],
    })
}

/// The arguments of the Signal API's methods (WebAuthn L3 section 5.1.10), by the name of the method.
fn signals() -> Value {
    let text = || json!({"type": "string"});
    json!({
        "type": "object",
        "description": "Each member is what `PublicKeyCredential.signal...` of its name takes. The first two for a user, the third for a credential.",
        "properties": {
            "allAcceptedCredentials": {
                "type": "object",
                "properties": {"rpId": text(), "userId": base64url(), "allAcceptedCredentialIds": {"type": "array", "items": credential_id()}},
                "required": ["rpId", "userId", "allAcceptedCredentialIds"],
            },
            "currentUserDetails": {
                "type": "object",
                "properties": {"rpId": text(), "userId": base64url(), "name": text(), "displayName": text()},
                "required": ["rpId", "userId", "name", "displayName"],
            },
            "unknownCredential": {
                "type": ["object", "null"],
                "description": "Null when the tenant has the credential",
                "properties": {"rpId": text(), "credentialId": credential_id()},
                "required": ["rpId", "credentialId"],
            },
        },
    })
}

fn descriptors() -> Value {
    json!({"type": "array", "items": {
        "type": "object",
        "properties": {"type": {"const": "public-key"}, "id": credential_id(), "transports": {"type": "array", "items": {"type": "string"}}},
        "required": ["type", "id"],
    }})
}

/// WebAuthn L3 section 5.1.9.
fn creation_options() -> Value {
    let text = || json!({"type": "string"});
    let algorithms: Vec<_> = OFFERED_ALGORITHMS.iter().map(|algorithm| algorithm.id()).collect();
    wrapped(&json!({
        "type": "object",
        "properties": {
            "rp": {"type": "object", "properties": {"name": text(), "id": text()}, "required": ["name", "id"]},
            "user": {
                "type": "object",
                "properties": {"name": text(), "icon": text(), "displayName": text(), "id": base64url()},
                "required": ["name", "displayName", "id"],
            },
            "challenge": base64url(),
            "pubKeyCredParams": {"type": "array", "items": {
                "type": "object",
                "properties": {"type": {"const": "public-key"}, "alg": {"enum": algorithms}},
                "required": ["type", "alg"],
            }},
            "timeout": {"type": "integer", "minimum": 1, "description": "Milliseconds"},
            "excludeCredentials": descriptors(),
            "authenticatorSelection": {
                "type": "object",
                "properties": {
                    "authenticatorAttachment": texts(Attachment::ALL),
                    "requireResidentKey": {"type": "boolean"},
                    "residentKey": texts(ResidentKey::ALL),
                    "userVerification": texts(UserVerification::ALL),
                },
                "required": ["requireResidentKey", "residentKey", "userVerification"],
            },
            "hints": {"type": "array", "items": texts(Hint::ALL)},
            "attestation": texts(AttestationPreference::ALL),
            "extensions": {"type": "object", "properties": {"credProps": {"type": "boolean"}}},
        },
        "required": ["rp", "user", "challenge", "pubKeyCredParams", "timeout", "authenticatorSelection", "attestation"],
    }))
}

/// WebAuthn L3 section 5.1.10.
fn request_options() -> Value {
    wrapped(&json!({
        "type": "object",
        "properties": {
            "challenge": base64url(),
            "timeout": {"type": "integer", "minimum": 1, "description": "Milliseconds"},
            "rpId": {"type": "string"},
            "allowCredentials": descriptors(),
            "userVerification": texts(UserVerification::ALL),
            "hints": {"type": "array", "items": texts(Hint::ALL)},
        },
        "required": ["challenge", "timeout", "rpId", "userVerification"],
    }))
}

fn transaction() -> Value {
    let instant = || json!({"type": "string", "format": "date-time"});
    json!({
        "type": "object",
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "identifier": {"type": "string", "minLength": 1, "maxLength": TransactionId::MAX_CHARS, "description": "The application's name for it"},
            "data": {"type": "string", "contentMediaType": "application/json", "description": "What was to be confirmed, in the form that is hashed"},
            "created_at": instant(),
            "updated_at": instant(),
            "state": texts(TransactionState::ALL),
            "confirmed_at": instant(),
            "credential_id": credential_id(),
        },
        "required": ["id", "identifier", "data", "created_at", "updated_at", "state"],
    })
}

fn wrapped(options: &Value) -> Value {
    json!({"type": "object", "properties": {"publicKey": options}, "required": ["publicKey"]})
}

/// A `PublicKeyCredential` in JSON, with such a `response`.
fn public_key_credential(response: &Value) -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": credential_id(),
            "rawId": credential_id(),
            "type": {"const": "public-key"},
            "authenticatorAttachment": {"type": "string"},
            "clientExtensionResults": {"type": "object"},
            "response": response,
        },
        "required": ["id", "rawId", "type", "response"],
    })
}

/// WebAuthn L3 section 5.1, `RegistrationResponseJSON`.
fn registration_response() -> Value {
    public_key_credential(&json!({
        "type": "object",
        "properties": {
            "clientDataJSON": base64url(),
            "attestationObject": base64url(),
            "transports": {"type": "array", "maxItems": 16, "items": {"type": "string", "maxLength": 32}},
        },
        "required": ["clientDataJSON", "attestationObject"],
    }))
}

/// WebAuthn L3 section 5.1, `AuthenticationResponseJSON`.
fn authentication_response() -> Value {
    public_key_credential(&json!({
        "type": "object",
        "properties": {
            "clientDataJSON": base64url(),
            "authenticatorData": base64url(),
            "signature": base64url(),
            "userHandle": {"type": ["string", "null"], "contentEncoding": "base64url"},
        },
        "required": ["clientDataJSON", "authenticatorData", "signature"],
    }))
}
