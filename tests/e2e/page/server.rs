//! A server that hands out the page's files, and answers that the test chose, so that it can be wrong on purpose.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::sha::sha256;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Mutex};

use crate::support::mint::Mint;

/// The policy that page.html is written for.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";
const TENANT: &str = "4d3c2b1a-0000-4000-8000-00000000beef";
pub(super) const KID: &str = "0f1e2d3c-1111-4111-8111-11111111cafe";
/// Whose passkeys all are.
pub(super) const USER: &str = "5b8f2c1e-7a44-4f0e-9d57-0c3c7a1f6a21";

pub(super) type EditClaims = fn(&mut Value);
pub(super) type EditToken = fn(&str) -> String;

/// What the server answers next.
pub(super) struct Answers {
    pub mint: Mint,
    pub origin: String,
    pub initialize: Option<(u16, Value)>,
    pub finalize: Option<(u16, Value)>,
    pub jwks: Option<Value>,
    pub edit_claims: EditClaims,
    pub edit_token: EditToken,
    /// Asked of registrations. Only what is discoverable is offered in fields.
    pub resident_key: &'static str,
    /// What is stored, as the contract's list shows it.
    pub credentials: Vec<Value>,
    pub events: Vec<Value>,
    /// The last transaction that was begun.
    transaction: Value,
}

pub(super) type Shared = Arc<Mutex<Answers>>;

/// Serves the page on a free port of localhost; returns its origin and the knobs.
pub(super) async fn serve() -> (String, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let shared = Arc::new(Mutex::new(Answers {
        mint: Mint::new("ES256", KID),
        origin: origin.clone(),
        initialize: None,
        finalize: None,
        jwks: None,
        edit_claims: |_| {},
        edit_token: str::to_owned,
        resident_key: "discouraged",
        credentials: Vec::new(),
        events: Vec::new(),
        transaction: Value::Null,
    }));
    let mut app = Router::new();
    for (path, kind, body) in FILES {
        app = app.route(path, get(async move || ([(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)], body)));
    }
    let app = app
        .route("/dev/info", get(info))
        .route("/dev/register/initialize", post(initialize))
        .route("/dev/backend/{*path}", any(backend))
        .route("/{tenant}/{ceremony}/{end}", post(browser))
        .route("/{tenant}/.well-known/jwks.json", get(jwks))
        .with_state(shared.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (origin, shared)
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: [(&str, &str, &str); 8] = [
    ("/", "text/html; charset=utf-8", include_str!("../../../src/http/dev/page.html")),
    ("/dev/page.css", "text/css; charset=utf-8", include_str!("../../../src/http/dev/page.css")),
    ("/dev/page.js", SCRIPT, include_str!("../../../src/http/dev/page.js")),
    ("/dev/lists.js", SCRIPT, include_str!("../../../src/http/dev/lists.js")),
    ("/dev/server.js", SCRIPT, include_str!("../../../src/http/dev/server.js")),
    ("/dev/token.js", SCRIPT, include_str!("../../../src/http/dev/token.js")),
    ("/dev/view.js", SCRIPT, include_str!("../../../src/http/dev/view.js")),
    ("/dev/webauthn.js", SCRIPT, include_str!("../../../src/http/dev/webauthn.js")),
];

async fn info(State(answers): State<Shared>) -> Json<Value> {
    let a = answers.lock().await;
    Json(json!({"tenant_id": TENANT, "rp_id": "localhost", "origins": [a.origin], "algorithm": a.mint.algorithm}))
}

async fn jwks(State(answers): State<Shared>) -> Json<Value> {
    let a = answers.lock().await;
    Json(a.jwks.clone().unwrap_or_else(|| json!({"keys": [a.mint.jwk()]})))
}

fn answer((status, body): (u16, Value)) -> Response {
    (StatusCode::from_u16(status).unwrap(), [("X-Request-Id", "req-1234")], Json(body)).into_response()
}

fn problem(status: u16, title: &str, details: &str) -> Response {
    answer((status, json!({"title": title, "details": details, "status": status})))
}

async fn initialize(State(answers): State<Shared>, Json(body): Json<Value>) -> Response {
    let a = answers.lock().await;
    answer(a.initialize.clone().unwrap_or_else(|| (200, a.creation_options(&body))))
}

/// What the browser asks for without a key.
async fn browser(
    State(answers): State<Shared>,
    Path((_, ceremony, end)): Path<(String, String, String)>,
    Json(body): Json<Value>,
) -> Response {
    let mut a = answers.lock().await;
    if end == "initialize" { a.request_options(false) } else { a.finalize(&ceremony, &body) }
}

/// What the page's backend asks for.
async fn backend(State(answers): State<Shared>, method: Method, Path(path): Path<String>, body: String) -> Response {
    let mut a = answers.lock().await;
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    match (method.as_str(), segments.as_slice()) {
        ("GET", ["audit_logs"]) => answer((200, json!(a.events))),
        ("GET", ["credentials"]) => answer((200, json!(a.credentials))),
        ("PATCH" | "DELETE", ["credentials", id]) => a.change(id, body.get("name")),
        ("POST", ["mfa", "registration", "initialize"]) => answer((200, a.creation_options(&body))),
        ("POST", ["mfa", ceremony, "finalize"]) => a.finalize(&format!("mfa_{ceremony}"), &body),
        ("POST", ["transaction", "finalize"]) => a.finalize("transaction", &body),
        ("POST", [.., "initialize"]) => {
            a.transaction = body;
            a.request_options(true)
        }
        _ => problem(404, "Not Found", ""),
    }
}

impl Answers {
    fn creation_options(&self, body: &Value) -> Value {
        json!({"publicKey": {
            "rp": {"name": "Demo", "id": "localhost"},
            "user": {"name": body["username"], "displayName": body["username"], "id": "dTE"},
            "challenge": URL_SAFE_NO_PAD.encode([7; 32]),
            "pubKeyCredParams": [{"type": "public-key", "alg": -7}, {"type": "public-key", "alg": -257}],
            "timeout": 60000,
            "authenticatorSelection": {"requireResidentKey": false, "residentKey": self.resident_key, "userVerification": "preferred"},
            "attestation": body.get("attestation").cloned().unwrap_or_else(|| json!("none")),
        }})
    }

    fn request_options(&self, named: bool) -> Response {
        let mut options = json!({
            "challenge": URL_SAFE_NO_PAD.encode([9; 32]), "timeout": 60000, "rpId": "localhost", "userVerification": "preferred",
        });
        if named {
            options["allowCredentials"] = self.credentials.iter().map(|c| json!({"type": "public-key", "id": c["id"]})).collect();
        }
        answer((200, json!({ "publicKey": options })))
    }

    fn finalize(&mut self, ceremony: &str, credential: &Value) -> Response {
        if let Some(problem) = &self.finalize {
            return answer(problem.clone());
        }
        let registers = ceremony.ends_with("registration");
        let needed = if registers { ["attestationObject", "clientDataJSON"] } else { ["authenticatorData", "signature"] };
        if needed.iter().any(|member| !credential["response"][member].is_string()) {
            return problem(400, "Parse error", &credential["response"].to_string());
        }
        if registers {
            self.credentials.push(json!({
                "id": credential["id"], "name": format!("Key {}", self.credentials.len() + 1), "is_mfa": ceremony.starts_with("mfa"),
                "created_at": "2026-01-02T03:04:05Z", "attestation_type": "none", "transports": ["internal"],
                "backup_eligible": false, "backup_state": false, "user_id": USER,
            }));
        }
        self.events.insert(
            0,
            json!({
                "type": format!("webauthn_{ceremony}_final_succeeded"), "created_at": "2026-01-02T03:04:05Z", "actor_user_id": USER,
                "transaction_id": null, "credential_id": credential["id"], "meta_source_ip": "127.0.0.1",
            }),
        );
        let now = jsonwebtoken::get_current_timestamp();
        let mut claims = json!({
            "sub": USER, "aud": ["localhost"], "cred": credential["id"], "iat": now, "exp": now + 300,
            "iss": format!("{}/{TENANT}", self.origin), "jti": "c0a8e6f2-3b0d-4f65-a1a4-6a3b8e0c7d11", "ceremony": ceremony,
            "amr": ["pop", "user"], "auth_time": now, "uv": true, "be": false, "bs": false,
        });
        if ceremony == "transaction" {
            self.transaction.sort_all_objects();
            let text =
                self.transaction["transaction_data"].to_string().replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
            claims["trans"] = self.transaction["transaction_id"].clone();
            claims["trans_hash"] = json!(URL_SAFE_NO_PAD.encode(sha256(text.as_bytes())));
        }
        (self.edit_claims)(&mut claims);
        answer((200, json!({"token": (self.edit_token)(&self.mint.token(&claims))})))
    }

    /// Renames or, without a name, deletes a credential.
    fn change(&mut self, id: &str, name: Option<&Value>) -> Response {
        let Some(at) = self.credentials.iter().position(|c| c["id"] == *id) else {
            return problem(404, &format!("credential with id '{id}' not found"), "");
        };
        match name {
            Some(name) if *name == "" => return problem(400, "unable to validate request", "name is a required field"),
            Some(name) => self.credentials[at]["name"] = name.clone(),
            None => drop(self.credentials.remove(at)),
        }
        StatusCode::NO_CONTENT.into_response()
    }
}
