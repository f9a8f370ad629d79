//! The command line as operators and their scripts use it.

mod administrators;
mod asking;
#[cfg(feature = "failpoints")]
mod cut_short;
mod keys;
mod measurement;
mod operator;
mod rotate_all;
mod way;

use std::{fs, process::Command};

use passkey_hsm::domain::KeyId;
use serde_json::{Value, json};

use crate::support::{
    authenticator::Format,
    jose,
    keys::Algorithm,
    server::{Server, ServerSpec, TenantSpec, text},
};

/// What a command answers in JSON; it has to succeed.
pub(crate) fn ask(server: &Server, args: &[&str]) -> Value {
    let output = server.cli(&[&["--json"], args].concat());
    assert!(output.status.success(), "{args:?}: {}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {}", text(&output)))
}

/// What a command says when it fails with this exit code; in JSON too.
pub(crate) fn refusal(server: &Server, code: i32, args: &[&str]) -> String {
    let output = server.cli(&[&["--json"], args].concat());
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output));
    let error: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {}", text(&output)));
    error["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_tenants_configuration_is_read_and_replaced() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let file = server.folder.path().join("config.json");
    let path = file.to_str().unwrap();
    let mut config = ask(&server, &["tenant", "config", "get", &tenant.id]);

    // Every option of the contract, and ours.
    config["webauthn"]["attachment"] = json!("platform");
    config["webauthn"]["attestation_preference"] = json!("enterprise");
    config["webauthn"]["resident_key_requirement"] = json!("discouraged");
    config["webauthn"]["user_verification"] = json!("discouraged");
    config["webauthn"]["relying_party"]["origins"] = json!(["https://localhost", "android:apk-key-hash:abc", "ios:bundle-id:org.example"]);
    config["settings"]["hints"] = json!(["security-key", "hybrid"]);
    config["settings"]["cred_props"] = json!(false);
    config["settings"]["algorithm"] = json!("RS256");
    fs::write(&file, config.to_string()).unwrap();
    ask(&server, &["tenant", "config", "set", &tenant.id, path]);
    assert_eq!(ask(&server, &["tenant", "config", "get", &tenant.id]), config);

    // The running server follows at once.
    let options = tenant.options("ann").await;
    let options = &options["publicKey"];
    assert_eq!(
        options["authenticatorSelection"],
        json!({"authenticatorAttachment": "platform", "requireResidentKey": false, "residentKey": "discouraged", "userVerification": "discouraged"})
    );
    assert_eq!((&options["attestation"], &options["timeout"]), (&json!("enterprise"), &json!(120_000)));
    assert_eq!((&options["hints"], options.get("extensions")), (&json!(["security-key", "hybrid"]), None));
    let mut draft = tenant.draft("ann", Format::None, Algorithm::Es256).await;
    draft.client_data["origin"] = json!("android:apk-key-hash:abc");
    // The algorithm is the next key's: this one signs as before.
    let token = tenant.finalize(draft.body().to_string()).await.token();
    assert_eq!(crate::decoded(token.split('.').next().unwrap())["alg"], "ES256");

    // What cannot be is refused whole, with what is wrong.
    for (member, value, expected) in [
        ("/webauthn/timeout", json!(-5), "timeout must be 1 to 86400000 milliseconds"),
        ("/webauthn/relying_party/origins", json!([]), "origins is a required field"),
        ("/webauthn/user_verification", json!("always"), "always is not one of required, preferred, discouraged"),
        ("/settings/rsa_bits", json!("many"), "invalid type"),
        ("/settings/rsa_bits", json!(2500), "an RSA key has 2048, 3072 or 4096 bits, not 2500"),
    ] {
        let mut bad = config.clone();
        *bad.pointer_mut(member).unwrap() = value;
        fs::write(&file, bad.to_string()).unwrap();
        let said = refusal(&server, 2, &["tenant", "config", "set", &tenant.id, path]);
        assert!(said.contains(expected), "{member}: {said}");
    }
    fs::write(&file, config.to_string().replace("allowed_origins", "allowed_origin")).unwrap();
    let said = refusal(&server, 2, &["tenant", "config", "set", &tenant.id, path]);
    assert!(said.contains("cors.allowed_origin; did you mean allowed_origins?"), "{said}");
    assert_eq!(ask(&server, &["tenant", "config", "get", &tenant.id]), config);
}

#[tokio::test]
async fn a_tenant_is_made_from_a_file_alone() {
    let server = Server::sqlite().await;
    let first = server.create_tenant(&TenantSpec::default());
    let file = server.folder.path().join("config.json");
    let path = file.to_str().unwrap();
    let mut config = ask(&server, &["tenant", "config", "get", &first.id]);
    config["display_name"] = json!("From a file");
    config["settings"]["algorithm"] = json!("ES384");
    fs::write(&file, config.to_string()).unwrap();
    let made = ask(&server, &["tenant", "create", "--tenant-config", path]);
    assert_eq!((&made["display_name"], &made["algorithm"]), (&json!("From a file"), &json!("ES384")));
    let named = ask(&server, &["tenant", "create", "--tenant-config", path, "--name", "Other", "--algorithm", "ES256", "--no-api-key"]);
    assert_eq!((&named["display_name"], &named["algorithm"], &named["api_key"]), (&json!("Other"), &json!("ES256"), &Value::Null));

    config.as_object_mut().unwrap().remove("display_name");
    fs::write(&file, config.to_string()).unwrap();
    assert!(refusal(&server, 2, &["tenant", "create", "--tenant-config", path]).contains("--name"));
    assert_eq!(ask(&server, &["tenant", "list"]).as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn tenants_are_listed_and_shown() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec { algorithm: "EdDSA", ..TenantSpec::default() });
    let shown = ask(&server, &["tenant", "show", &tenant.id]);
    assert_eq!(shown["signing_keys"][0]["kid"], tenant.kid);
    assert_eq!(shown["signing_keys"][0]["algorithm"], "EdDSA");
    assert_eq!(shown["signing_keys"][0]["state"], "active");
    assert_eq!(ask(&server, &["tenant", "list"])[0]["id"], tenant.id);
    for command in [&["tenant", "list"][..], &["tenant", "show", &tenant.id]] {
        let table = server.cli(command);
        assert!(table.status.success() && text(&table).contains(&tenant.id), "{}", text(&table));
    }
    let nobody = KeyId::random(&passkey_hsm::domain::SystemRng).to_string();
    for command in [&["tenant", "show", &nobody][..], &["tenant", "config", "get", &nobody], &["api-key", "list", &nobody]] {
        assert_eq!(refusal(&server, 1, command), format!("there is no tenant {nobody}"));
    }
    assert!(refusal(&server, 1, &["tenant", "create", "--resume", &tenant.id]).contains("there is no tenant"));
}

#[tokio::test]
async fn api_keys_open_until_they_are_revoked() {
    let server = Server::sqlite().await;
    let mut tenant = server.create_tenant(&TenantSpec::default());
    let made = ask(&server, &["api-key", "create", &tenant.id, "--name", "second"]);
    let first = std::mem::replace(&mut tenant.api_key, made["secret"].as_str().unwrap().to_owned());
    tenant.options("ann").await;
    assert!(refusal(&server, 1, &["api-key", "create", &tenant.id, "--name", "second"]).contains("already has an API key named second"));

    let id = made["id"].as_str().unwrap();
    ask(&server, &["api-key", "revoke", &tenant.id, id]);
    tenant.initialize(r#"{"user_id":"u","username":"u"}"#).await.problem(401, "The api key is invalid");
    assert!(refusal(&server, 1, &["api-key", "revoke", &tenant.id, id]).contains("could be revoked"));
    tenant.api_key = first;
    tenant.options("ann").await;

    let listed = ask(&server, &["api-key", "list", &tenant.id]);
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|key| (&key["name"], key["revoked_at"].is_null())).collect();
    assert_eq!(names, [(&json!("Initial API Key"), true), (&json!("second"), false)]);
    assert!(listed.as_array().unwrap().iter().all(|key| key.get("secret").is_none()));
}

#[tokio::test]
async fn doctor_names_what_is_wrong_and_what_to_do() {
    let server = Server::sqlite().await;
    let (kept, lost) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let doctor = |env: &[(&str, &str)]| {
        let output = server.cli_with(env, &["--json", "doctor"]);
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output)));
        let bad: Vec<_> = findings.into_iter().filter(|f| f["ok"] == false).collect();
        assert_eq!(output.status.code(), Some(i32::from(!bad.is_empty())), "{}", text(&output));
        bad
    };
    assert_eq!(doctor(&[]), Vec::<Value>::new());
    for (name, value, check) in [
        ("PASSKEY_HSM_HSM__MODULE", "/nowhere.so", "module"),
        ("PASSKEY_HSM_HSM__TOKEN_LABEL", "another", "token"),
        ("PASSKEY_HSM_HSM__PIN_FILE", "/nowhere", "pin"),
        ("PASSKEY_HSM_DATABASE__URL", "sqlite:/nowhere/at.all", "database"),
        ("PASSKEY_HSM_HTTP__PUBLIC_URL", "nonsense", "configuration"),
        ("PASSKEY_HSM_HTTP__PUBLIC_ADRESS", "127.0.0.1:0", "configuration"),
    ] {
        let bad = doctor(&[(name, value)]);
        assert!(bad.iter().any(|f| f["name"] == check && f["advice"].as_str().is_some_and(|a| !a.is_empty())), "{name}: {bad:?}");
    }

    // No PIN source is for a token with a keypad; this one has none.
    let without = server.folder.path().join("without-pin.toml");
    let config = fs::read_to_string(server.folder.path().join("passkey-hsm.toml")).unwrap();
    fs::write(&without, config.lines().filter(|line| !line.starts_with("pin_file")).collect::<Vec<_>>().join("\n")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_passkey-hsm")).arg("--config").arg(&without).args(["--json", "doctor"]).output().unwrap();
    assert!(text(&output).contains("the token has no keypad") && output.status.code() == Some(1), "{}", text(&output));

    // One tenant's key is gone from the token: doctor names it, its tenant is answered 503, the others go on.
    let id = cka_id(&lost.kid);
    for class in ["privkey", "pubkey"] {
        let gone = Command::new("pkcs11-tool")
            .args(["--module", crate::support::softhsm::module().to_str().unwrap(), "--login", "--pin", "env:PIN"])
            .args(["--token-label", "passkey-test", "--delete-object", "--type", class, "--id", &id])
            .env("PIN", &server.pin)
            .env("SOFTHSM2_CONF", server.folder.conf())
            .output()
            .unwrap();
        assert!(gone.status.success(), "{}", text(&gone));
    }
    let bad = doctor(&[]);
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert!(bad[0]["detail"].as_str().unwrap().contains(&lost.kid), "{bad:?}");
    let body = lost.draft("ann", Format::None, Algorithm::Es256).await.body().to_string();
    let details = lost.finalize(body).await.problem(503, "Service Unavailable");
    assert!(details.contains(&lost.kid), "{details}");
    let body = kept.draft("ann", Format::None, Algorithm::Es256).await.body().to_string();
    let token = kept.finalize(body).await.token();
    jose::jwcrypto(&token, &kept.jwks().await.json(), &kept.rp_id).unwrap();
    assert_eq!(server.count("signing_keys").await, 2, "nothing is made anew by itself");
}

/// A `kid` as pkcs11-tool writes `CKA_ID`.
fn cka_id(kid: &str) -> String {
    kid.replace('-', "")
}

#[tokio::test]
async fn wrong_usage_is_told_from_failure() {
    let server = Server::start(ServerSpec::default()).await;
    for args in [
        &["no-such-command"][..],
        &["tenant", "create"],
        &["tenant", "create", "--name", "x", "--rp-id", "localhost", "--origin", "http://localhost", "--algorithm", "HS256"],
        &["tenant", "create", "--name", "x", "--rp-id", "localhost", "--origin", "http://localhost", "--rsa-bits", "2500"],
        &["tenant", "show", "not-a-uuid"],
        &["api-key", "revoke"],
    ] {
        assert_eq!(server.cli(args).status.code(), Some(2), "{args:?}");
    }
    let said = refusal(&server, 2, &["tenant", "create", "--name", "x", "--rp-id", "localhost", "--origin", "localhost"]);
    assert!(said.contains("localhost is not an origin"), "{said}");
    for shell in ["bash", "zsh", "fish"] {
        let script = server.cli(&["completions", shell]);
        assert!(script.status.success() && text(&script).contains("passkey-hsm"));
    }
    let typo = server.cli_with(&[("PASSKEY_HSM_HSM__SIGNER", "1")], &["--json", "tenant", "list"]);
    assert_eq!(typo.status.code(), Some(2));
    assert!(text(&typo).contains("did you mean PASSKEY_HSM_HSM__SIGNERS?"), "the nearest right name: {}", text(&typo));
}

#[tokio::test]
async fn what_was_not_judged_is_not_called_good() {
    let server = Server::sqlite().await;
    assert_eq!(refusal(&server, 1, &["mds", "impact"]), "no metadata is stored: run `passkey-hsm mds update`");

    // Evidence with a chain, and no anchor to judge it by.
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/ours.jsonl");
    let vectors = fs::read_to_string(vectors).unwrap();
    let line = vectors.lines().find(|line| line.contains("\"derived-packed-unknown-extension\"")).unwrap();
    let file = server.folder.path().join("evidence.jsonl");
    let inspect = |evidence: &str, args: &[&str]| {
        fs::write(&file, evidence).unwrap();
        server.cli(&[&["inspect", file.to_str().unwrap()], args].concat())
    };
    let accepted = inspect(line, &[]);
    assert!(accepted.status.success() && text(&accepted).contains("\"untrusted\""), "{}", text(&accepted));
    let demanded = inspect(line, &["--check-chain"]);
    assert_eq!(demanded.status.code(), Some(1));
    assert!(text(&demanded).contains("line 1: --check-chain: there is no trust anchor"), "{}", text(&demanded));

    // A line that is too long is one line, and does not hide those after it.
    let long = inspect(&format!("{}\n{line}\n", "x".repeat(9 << 20)), &[]);
    assert_eq!(long.status.code(), Some(1));
    let said = text(&long);
    assert!(said.contains("line 1: longer than 4194304 bytes") && !said.contains("line 2"), "{said}");
    assert!(said.contains("\"verdict\":\"accept\""), "{said}");
}
