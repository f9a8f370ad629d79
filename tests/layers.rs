//! Holds the architecture's one direction of dependency: each layer names only those before it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Each layer with the layers it may name. `failpoint` is a hook that costs nothing and knows nothing.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("failpoint", &[]),
    ("storage", &["domain", "failpoint"]),
    ("hsm", &["domain", "failpoint"]),
    ("webauthn", &["domain"]),
    ("services", &["domain", "failpoint", "storage", "hsm", "webauthn"]),
    ("http", &["domain", "services", "webauthn", "hsm"]),
    ("config", &["domain"]),
    ("telemetry", &["config"]),
    ("cli", &["domain", "storage", "hsm", "services", "http", "config", "telemetry"]),
];

/// What only one layer may use.
const RESERVED: &[(&str, &str, &[&str])] = &[
    ("PKCS#11", "cryptoki::", &["hsm/signer"]),
    ("SQL", "sqlx::", &["storage"]),
    ("status codes", "StatusCode::", &["http/error.rs"]),
    ("axum", "axum::", &["http"]),
    // The routes of both APIs are made of their descriptions, and are nowhere else; pages are no part of either.
    ("routes", ".route(", &["http/openapi/mod.rs", "http/admin/mod.rs", "http/dev"]),
    ("RSA with SHA-1", "verify_rs1", &["webauthn/signature.rs", "webauthn/attestation/tpm"]),
];

#[test]
fn nothing_points_back() {
    let mut wrong = Vec::new();
    for file in sources() {
        let layer = layer(&file);
        if layer == "lib" || layer == "main" {
            continue;
        }
        let (_, allowed) =
            MAY_NAME.iter().find(|(name, _)| *name == layer).unwrap_or_else(|| panic!("{layer} is no layer: give it a place"));
        let named = named_layers(&code(&file));
        wrong.extend(
            named.into_iter().filter(|n| *n != layer && !allowed.contains(&n.as_str())).map(|n| format!("{} names {n}", file.display())),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_craft_stays_in_its_place() {
    let mut wrong = Vec::new();
    for file in sources() {
        let relative = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let code = code(&file);
        for (what, mark, places) in RESERVED {
            if code.contains(mark) && !places.iter().any(|place| relative.starts_with(place)) {
                wrong.push(format!("{relative} uses {what}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_check_itself_sees_every_form() {
    let code =
        "use crate::{domain::{A, storage_like}, hsm::{self, B}};\nfn f() { crate::http::g(); super::x() }\nuse crate::webauthn as w;";
    let named: Vec<_> = named_layers(code).into_iter().collect();
    assert_eq!(named, ["domain", "hsm", "http", "webauthn"]);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 50, "the sources were not found");
    found
}

/// The first path segment under `src`, without `.rs`.
fn layer(file: &Path) -> String {
    let first = file.strip_prefix(root()).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The file without its comments.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line }).collect::<Vec<_>>().join("\n")
}

/// The first segments of all paths that begin with `crate::`, in either form: `crate::a::..` and `crate::{a::.., b::{..}}`.
fn named_layers(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut fresh = true;
            for (n, c) in list.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' => fresh = depth == 1,
                    c if c.is_whitespace() => {}
                    _ if fresh && depth == 1 => {
                        named.insert(identifier(&list[n..]));
                        fresh = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            named.insert(identifier(rest));
        }
    }
    named.retain(|n| MAY_NAME.iter().any(|(layer, _)| layer == n));
    named
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
