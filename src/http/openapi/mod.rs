//! The description of both APIs (OpenAPI 3.1). An [`Operation`] is a handler together with what the document says of it; the router and the
//! document are both made of these, so that neither has one that the other does not.

mod schemas;

use axum::{
    Extension, Router,
    handler::Handler,
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use bytes::Bytes;
use hyper::{Method, header};
use serde_json::{Map, Value, json};
use url::Url;

pub(super) use self::schemas::{audit_event, credential_id, reference, user_id};
use super::AppState;
use crate::domain::Permission;

/// A method on a path: what answers it, and what is said of it.
pub(super) struct Operation {
    method: Method,
    path: &'static str,
    /// Paths that `path` describes too, and that are there for other methods besides.
    shadowed: &'static [&'static str],
    handler: MethodRouter<AppState>,
    doc: Doc,
}

/// What the document says of an operation.
pub(super) struct Doc {
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    key: Key,
    need: Option<(Permission, Scope)>,
    parameters: Vec<Value>,
    body: Option<Value>,
    success: Vec<(u16, Value)>,
    /// Status, and the title of the answer or, between braces, what it is made of.
    failures: Vec<(u16, &'static str)>,
}

/// Whether an API key is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Unasked,
    /// Only with some requests.
    Sometimes,
    Needed,
}

/// Of what a permission is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The deployment as a whole: not for those who are bound to tenants.
    Deployment,
    /// The tenant that the path names.
    Tenant,
    /// The tenant of the key that the path names.
    Key,
    /// Whatever the caller may see of it: the handler leaves the rest out.
    Own,
}

impl Scope {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Tenant => "tenant",
            Self::Key => "key",
            Self::Own => "own",
        }
    }
}

pub(super) fn get<H: Handler<T, AppState>, T: 'static>(path: &'static str, handler: H, doc: Doc) -> Operation {
    Operation { shadowed: &[], method: Method::GET, path, handler: on(MethodFilter::GET, handler), doc }
}

pub(super) fn post<H: Handler<T, AppState>, T: 'static>(path: &'static str, handler: H, doc: Doc) -> Operation {
    Operation { shadowed: &[], method: Method::POST, path, handler: on(MethodFilter::POST, handler), doc }
}

pub(super) fn put<H: Handler<T, AppState>, T: 'static>(path: &'static str, handler: H, doc: Doc) -> Operation {
    Operation { shadowed: &[], method: Method::PUT, path, handler: on(MethodFilter::PUT, handler), doc }
}

pub(super) fn patch<H: Handler<T, AppState>, T: 'static>(path: &'static str, handler: H, doc: Doc) -> Operation {
    Operation { shadowed: &[], method: Method::PATCH, path, handler: on(MethodFilter::PATCH, handler), doc }
}

pub(super) fn delete<H: Handler<T, AppState>, T: 'static>(path: &'static str, handler: H, doc: Doc) -> Operation {
    Operation { shadowed: &[], method: Method::DELETE, path, handler: on(MethodFilter::DELETE, handler), doc }
}

impl Operation {
    pub(super) const fn path(&self) -> &'static str {
        self.path
    }

    /// The same, at paths of its form that are another operation's, of another method.
    pub(super) fn also_at(self, shadowed: &'static [&'static str]) -> Self {
        Self { shadowed, ..self }
    }

    /// What it needs, if it asks who calls.
    pub(super) fn need(&self) -> Option<(Permission, Scope)> {
        let (permission, scope) = self.doc.need?;
        let scope = match scope {
            Scope::Deployment if self.is_a_tenants() => Scope::Tenant,
            Scope::Deployment if self.is_a_keys() => Scope::Key,
            scope => scope,
        };
        Some((permission, scope))
    }

    fn is_a_tenants(&self) -> bool {
        self.path.contains("/{tenant_id}")
    }

    fn is_a_keys(&self) -> bool {
        self.path.contains("/{kid}")
    }

    /// The Operation Object (OpenAPI 3.1.1 section 4.8.10).
    fn describe(&self) -> Value {
        let doc = &self.doc;
        let mut object = Map::new();
        object.insert("operationId".into(), doc.id.into());
        object.insert("summary".into(), doc.summary.into());
        if !doc.description.is_empty() {
            object.insert("description".into(), doc.description.into());
        }
        let subjects = [(self.is_a_tenants(), "tenant_id"), (self.is_a_keys(), "kid")].into_iter().filter(|(is_there, _)| *is_there);
        let subjects = subjects.map(|(_, name)| json!({"$ref": format!("#/components/parameters/{name}")}));
        object.insert("parameters".into(), subjects.chain(doc.parameters.iter().cloned()).collect());
        if let Some(body) = &doc.body {
            object.insert("requestBody".into(), body.clone());
        }
        object.insert("responses".into(), self.responses());
        if let Some((permission, scope)) = self.need() {
            object.insert("x-permission".into(), permission.as_str().into());
            object.insert("x-scope".into(), scope.as_str().into());
        }
        object.insert(
            "security".into(),
            match doc.key {
                Key::Unasked if doc.need.is_some() => json!([{"token": []}, {"certificate": []}]),
                Key::Unasked => json!([]),
                Key::Sometimes => json!([{}, {"apiKey": []}]),
                Key::Needed => json!([{"apiKey": []}]),
            },
        );
        object.into()
    }

    fn responses(&self) -> Value {
        let mut responses = Map::new();
        for (status, response) in &self.doc.success {
            responses.insert(status.to_string(), response.clone());
        }
        let mut failures = self.doc.failures.clone();
        failures.extend([(400, "unable to process request"), (500, "Internal Server Error")]);
        if self.is_a_tenants() {
            failures.extend([(400, "tenant_id must be a valid uuid4"), (404, "tenant not found"), (503, "Service Unavailable")]);
        }
        if self.doc.key != Key::Unasked {
            failures.push((401, "The api key is invalid"));
        }
        if let Some((_, scope)) = self.need() {
            failures.extend([(401, "Unauthorized"), (403, "Forbidden"), (503, "Service Unavailable")]);
            if scope == Scope::Key {
                failures.extend([(400, "kid must be a valid uuid4"), (404, "there is no signing key {kid}")]);
            }
            if self.method != Method::GET {
                failures.push((503, "Outcome Unknown"));
            }
        }
        if self.doc.body.is_some() {
            failures.extend([(408, "Request Timeout"), (413, "Request Entity Too Large")]);
        }
        failures.sort_unstable();
        failures.dedup();
        for group in failures.chunk_by(|a, b| a.0 == b.0) {
            let Some((status, _)) = group.first() else { continue };
            let titles: Vec<_> = group.iter().map(|(_, title)| *title).collect();
            responses.entry(status.to_string()).or_insert_with(|| problem(*status, &titles));
        }
        responses.into()
    }
}

/// A response that is a refusal with one of `titles`.
fn problem(status: u16, titles: &[&str]) -> Value {
    let mut says = json!({"properties": {"status": {"const": status}}});
    if !titles.iter().any(|title| title.contains('{')) {
        says["properties"]["title"] = json!({"enum": titles});
    }
    let quoted: Vec<_> = titles.iter().map(|title| format!("`{}`", title.trim_end())).collect();
    let mut response = json!({
        "description": quoted.join(", or "),
        "content": {"application/json": {"schema": {"allOf": [reference("Error"), says]}}},
    });
    if status == 503 {
        response["headers"] =
            json!({"Retry-After": {"description": "Seconds, where trying again makes sense", "schema": {"type": "integer"}}});
    }
    response
}

impl Doc {
    pub(super) fn new(id: &'static str, summary: &'static str) -> Self {
        let (parameters, success, failures) = (Vec::new(), Vec::new(), Vec::new());
        Self { id, summary, description: "", key: Key::Unasked, need: None, parameters, body: None, success, failures }
    }

    pub(super) fn description(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    /// Asks for a permission: of the tenant, or the tenant of the key, that the path names, or else of the deployment.
    pub(super) fn needs(self, permission: Permission) -> Self {
        Self { need: Some((permission, Scope::Deployment)), ..self }
    }

    /// Asks for a permission, of whatever tenants: the handler answers for those that the caller may see.
    pub(super) fn needs_of_own(self, permission: Permission) -> Self {
        Self { need: Some((permission, Scope::Own)), ..self }
    }

    pub(super) fn behind_key(self) -> Self {
        Self { key: Key::Needed, ..self }
    }

    pub(super) fn sometimes_behind_key(self) -> Self {
        Self { key: Key::Sometimes, ..self }
    }

    /// A parameter of the path.
    pub(super) fn path(mut self, name: &str, schema: &Value, description: &str) -> Self {
        self.parameters.push(json!({"name": name, "in": "path", "required": true, "schema": schema, "description": description}));
        self
    }

    /// A parameter of the query, which may be left out.
    pub(super) fn query(mut self, name: &str, schema: &Value, description: &str) -> Self {
        self.parameters.push(json!({"name": name, "in": "query", "schema": schema, "description": description}));
        self
    }

    /// A header of the request, which may be left out.
    pub(super) fn header(mut self, name: &str, description: &str) -> Self {
        self.parameters.push(json!({"name": name, "in": "header", "schema": {"type": "string"}, "description": description}));
        self
    }

    /// A listing in pages.
    pub(super) fn pages_of(mut self, item: &str) -> Self {
        for name in ["page", "per_page"] {
            self.parameters.push(json!({"$ref": format!("#/components/parameters/{name}")}));
        }
        let headers = json!({
            "X-Total-Count": {"description": "How many there are on all pages", "schema": {"type": "integer", "minimum": 0}},
            "Link": {"description": "URLs of other pages (RFC 8288): first, last, next, prev", "schema": {"type": "string"}},
        });
        let content = json!({"application/json": {"schema": {"type": "array", "items": reference(item)}}});
        self.success.push((200, json!({"description": "A page", "headers": headers, "content": content})));
        self
    }

    pub(super) fn body(self, schema: &Value, required: bool) -> Self {
        Self { body: Some(json!({"required": required, "content": {"application/json": {"schema": schema}}})), ..self }
    }

    pub(super) fn answers(self, description: &str, schema: &str) -> Self {
        self.answers_as(200, &json!({"description": description, "content": {"application/json": {"schema": reference(schema)}}}))
    }

    /// A response without a body.
    pub(super) fn empty(self, status: u16, description: &str) -> Self {
        self.answers_as(status, &json!({"description": description}))
    }

    /// A whole Response Object.
    pub(super) fn answers_as(mut self, status: u16, response: &Value) -> Self {
        self.success.push((status, response.clone()));
        self
    }

    pub(super) fn refuses(mut self, status: u16, title: &'static str) -> Self {
        self.failures.push((status, title));
        self
    }
}

/// Gives `router` what the operations say.
pub(super) fn mount(router: Router<AppState>, operations: Vec<Operation>) -> Router<AppState> {
    mount_guarded(router, operations, |handler, _| handler)
}

/// The same, each handler behind what `guard` makes of what it needs.
pub(super) fn mount_guarded(
    router: Router<AppState>,
    operations: Vec<Operation>,
    guard: impl Fn(MethodRouter<AppState>, &Operation) -> MethodRouter<AppState>,
) -> Router<AppState> {
    operations.into_iter().fold(router, |router, operation| {
        let handler = guard(operation.handler.clone(), &operation);
        [operation.path].iter().chain(operation.shadowed).fold(router, |router, path| router.route(path, handler.clone()))
    })
}

const ABOUT: &str = "Passkeys, second factors and confirmed transactions, for applications and their pages. Every JSON answer ends with a newline. \
    Names of parameters, and of members but those of a credential, are found whatever their case; duplicates are refused; an empty body is `{}`. OPTIONS on any path of \
    a tenant is answered with 204, for browsers that ask before they call; a path or method that is not described here with 404, or with \
    401 where the key is asked for first. `X-Request-Id` is echoed, or made.";

/// The public API's document (OpenAPI 3.1.1 section 4.8.1).
pub(super) fn document(operations: &[Operation], public_url: &Url) -> Value {
    describe(operations, ("passkey-hsm", ABOUT), public_url.as_str().trim_end_matches('/'), &schemas::components())
}

const ABOUT_ADMIN: &str = "For operators. Who calls is found out by a bearer token, a TLS client certificate, or the Unix user at the other \
    end of the socket; `x-permission` names what the caller's role must have, and `x-scope` of what: of the deployment, of the tenant or the \
    tenant of the key that the path names, or of the caller's own tenants, to which the answer is then bound. A body may say why in `reason`, \
    for the audit log; unknown members are refused where the API is not the contract's.";

/// The admin API's document; `own` are the schemas that no other document has.
pub(super) fn admin_document(operations: &[Operation], own: Vec<(&'static str, Value)>) -> Value {
    let mut document = describe(operations, ("passkey-hsm admin", ABOUT_ADMIN), "/", &Value::Null);
    document["components"] = schemas::admin_components(own, &document);
    document
}

fn describe(operations: &[Operation], (title, about): (&str, &str), server: &str, components: &Value) -> Value {
    let mut paths = Map::new();
    for operation in operations {
        let item = paths.entry(operation.path).or_insert_with(|| json!({}));
        item[operation.method.as_str().to_ascii_lowercase()] = operation.describe();
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": about,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "paths": paths,
        "components": components,
    })
}

/// The document's text, made once.
#[derive(Clone)]
pub(super) struct Document(Bytes);

impl Document {
    pub(super) fn new(document: &Value) -> Self {
        // As every JSON answer ends.
        Self(format!("{document}\n").into())
    }
}

/// `GET /openapi.json`
pub(super) async fn serve(Extension(Document(text)): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, super::json::CONTENT_TYPE), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}
