//! Every answer of either listener is held against the documents that the program makes of itself: status, content type, form.
//!
//! The reader of schemas knows the keywords that the document uses and no others, and is stricter than JSON Schema: an object whose members
//! are named has no more than those.

use std::sync::LazyLock;

use serde_json::{Map, Value};

/// The document, as `GET /openapi.json` answers it.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| passkey_hsm::http::openapi(&"https://passkeys.example/".parse().unwrap()));

/// The admin API's, as `GET /openapi-admin.json` answers it.
pub static ADMIN_DOCUMENT: LazyLock<Value> = LazyLock::new(passkey_hsm::http::admin_openapi);

/// Which document an operation is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    Public,
    Admin,
}

impl Which {
    pub fn document(self) -> &'static Value {
        match self {
            Self::Public => &DOCUMENT,
            Self::Admin => &ADMIN_DOCUMENT,
        }
    }
}

/// An operation by its id, method and path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    pub id: String,
    pub method: String,
    pub path: String,
    pub which: Which,
}

impl Operation {
    /// What the document says of it.
    pub fn described(&self) -> &'static Value {
        &self.which.document()["paths"][&self.path][self.method.to_ascii_lowercase()]
    }
}

static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| read(Which::Public));
static ADMIN_OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| read(Which::Admin));

fn read(which: Which) -> Vec<Operation> {
    let paths = which.document()["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(method, it)| (path, method, it)));
    operations
        .map(|(path, method, it)| Operation {
            id: it["operationId"].as_str().unwrap().to_owned(),
            method: method.to_ascii_uppercase(),
            path: path.clone(),
            which,
        })
        .collect()
}

/// All of the admin API's operations.
pub fn admin_operations() -> Vec<Operation> {
    ADMIN_OPERATIONS.clone()
}

/// All of the public API's operations.
pub fn operations() -> Vec<Operation> {
    OPERATIONS.clone()
}

/// The operation that a request is of, if it is of one. No path is both APIs': what the admin API's begins with is no tenant's id.
pub fn operation(method: &str, path: &str) -> Option<Operation> {
    let candidates = OPERATIONS.iter().chain(&*ADMIN_OPERATIONS).filter(|o| o.method == method && matches(&o.path, path));
    candidates.min_by_key(|o| o.path.matches('{').count()).cloned()
}

fn matches(template: &str, path: &str) -> bool {
    let same = |(t, p): (&str, &str)| t == p || (t.starts_with('{') && !p.is_empty());
    template.split('/').count() == path.split('/').count() && template.split('/').zip(path.split('/')).all(same)
}

/// What the document does not say of an answer; empty when it is as described.
pub fn faults(operation: &Operation, status: u16, content_type: &str, body: &str) -> Vec<String> {
    let described = &operation.described()["responses"][status.to_string()];
    if described.is_null() {
        return vec![format!("status {status} is not described")];
    }
    let Some(content) = described["content"].as_object() else {
        return if body.is_empty() { Vec::new() } else { vec!["there is a body".to_owned()] };
    };
    let media_type = content_type.split(';').next().unwrap_or_default();
    let Some(media) = content.get(media_type) else { return vec![format!("content type {content_type:?} is not described")] };
    if media_type != "application/json" {
        return Vec::new();
    }
    match serde_json::from_str(body) {
        Ok(value) => invalid_in(operation.which.document(), &media["schema"], &value),
        Err(error) => vec![format!("the body is no JSON: {error}")],
    }
}

/// Where `value` is not what `schema` of the public document says.
pub fn invalid(schema: &Value, value: &Value) -> Vec<String> {
    invalid_in(&DOCUMENT, schema, value)
}

fn invalid_in(document: &'static Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(document, schema.as_object().unwrap(), value, "$", &mut faults);
    faults
}

fn check(document: &'static Value, schema: &Map<String, Value>, value: &Value, at: &str, faults: &mut Vec<String>) {
    for (keyword, says) in schema {
        let holds = match keyword.as_str() {
            "description" | "format" | "contentEncoding" | "contentMediaType" | "examples" | "default" => true,
            "$ref" => {
                check(document, referred(document, says).as_object().unwrap(), value, at, faults);
                true
            }
            "allOf" => {
                says.as_array().unwrap().iter().for_each(|part| check(document, part.as_object().unwrap(), value, at, faults));
                true
            }
            "type" => [says].into_iter().chain(says.as_array().into_iter().flatten()).any(|kind| is_a(kind, value)),
            "enum" => says.as_array().unwrap().contains(value),
            "const" => says == value,
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= says.as_u64().unwrap()),
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= says.as_u64().unwrap()),
            "minimum" => value.as_i64().is_none_or(|number| number >= says.as_i64().unwrap()),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= says.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= says.as_u64().unwrap()),
            "required" => {
                value.as_object().is_none_or(|o| says.as_array().unwrap().iter().all(|name| o.contains_key(name.as_str().unwrap())))
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, says.as_object().unwrap(), item, &format!("{at}[{n}]"), faults);
                }
                true
            }
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    match says.get(name) {
                        Some(says) => check(document, says.as_object().unwrap(), member, &format!("{at}.{name}"), faults),
                        // A schema without a type adds to another, which names all of the members.
                        None if schema.contains_key("type") => faults.push(format!("{at} has a member {name}")),
                        None => {}
                    }
                }
                true
            }
            other => panic!("the reader of schemas does not know {other}"),
        };
        if !holds {
            faults.push(format!("{at} is not of {keyword} {says}: {value}"));
        }
    }
}

fn referred(document: &'static Value, reference: &Value) -> &'static Value {
    let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
    document.pointer(pointer).unwrap_or_else(|| panic!("there is no {pointer}"))
}

fn is_a(kind: &Value, value: &Value) -> bool {
    match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("integer") => value.is_i64() || value.is_u64(),
        _ => false,
    }
}
