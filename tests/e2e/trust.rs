//! Metadata, anchors and evidence as operators meet them, beside a server that runs.

use std::{fs, time::Duration};

use openssl::{bn::BigNum, sha::sha1};
use passkey_hsm::{
    domain::{Aaguid, AttestationType, MetadataBlob, MetadataEntry, MetadataHead, StatusReport, Timestamp},
    storage::MetadataUpdate,
};
use serde_json::{Value, json};

use crate::{
    engines,
    support::{
        authenticator::{AAGUID, Draft, Format},
        keys::Algorithm,
        server::{Server, TenantSpec, text},
    },
};

engines! { what_metadata_reports_is_listed_and_refused }

/// SHA-1 of the key that vouches for a credential.
fn key_identifier(draft: &Draft) -> String {
    let (x, y) = draft.attestation_key.point();
    let hex = BigNum::from_slice(&sha1(&[&[4], x.as_slice(), &y].concat())).unwrap().to_hex_str().unwrap();
    format!("{:0>40}", hex.to_ascii_lowercase())
}

fn entry(description: &str, status: &str, certificate: Option<String>) -> MetadataEntry {
    MetadataEntry {
        aaguid: None,
        key_identifiers: Vec::new(),
        description: description.to_owned(),
        attestation_types: vec![AttestationType::Basic],
        algorithms: Vec::new(),
        anchors: Vec::new(),
        status_reports: vec![StatusReport { status: status.to_owned(), certificate, ..StatusReport::default() }],
    }
}

async fn import(server: &Server, no: u64, entries: Vec<MetadataEntry>) {
    let day = Timestamp::from_millis(1_767_225_600_000);
    let blob = MetadataBlob { head: MetadataHead { no, next_update: day, imported_at: day }, entries };
    let store = server.store().await;
    assert_eq!(store.replace_metadata(&blob).await.unwrap(), MetadataUpdate::Stored);
    store.close().await;
}

/// Waits until the server says it.
async fn said(server: &Server, words: &str) {
    for _ in 0..200 {
        if server.log().contains(words) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the server never says {words:?}:\n{}", server.log());
}

async fn what_metadata_reports_is_listed_and_refused(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let model = tenant.draft("model", Format::PackedX5c, Algorithm::Es256).await;
    let u2f = tenant.draft("u2f", Format::FidoU2f, Algorithm::Es256).await;
    // As U2F's devices that speak CTAP2 do.
    let mut ctap2 = tenant.draft("ctap2", Format::PackedX5c, Algorithm::Es256).await;
    (ctap2.aaguid, ctap2.leaf.aaguid) = ([0; 16], None);
    let others =
        [tenant.draft("none", Format::None, Algorithm::Es256).await, tenant.draft("other", Format::FidoU2f, Algorithm::Es256).await];
    for draft in [&model, &u2f, &ctap2].into_iter().chain(&others) {
        tenant.finalize(draft.body().to_string()).await.token();
    }

    // A key of somebody else's was compromised, says one entry for these keys; another, that they were revoked.
    let key_identifiers = vec![key_identifier(&u2f), key_identifier(&ctap2)];
    let somebody = openssl::base64::encode_block(
        &Draft::new(&tenant.options("x").await, "", Format::None, Algorithm::Es256).maker.root.to_der().unwrap(),
    );
    let entries = vec![
        MetadataEntry { aaguid: Some(Aaguid::from_uuid(uuid::Uuid::from_bytes(AAGUID))), ..entry("A model", "REVOKED", None) },
        MetadataEntry { key_identifiers: key_identifiers.clone(), ..entry("No hit", "ATTESTATION_KEY_COMPROMISE", Some(somebody.clone())) },
        MetadataEntry { key_identifiers, ..entry("Old tokens", "REVOKED", None) },
    ];
    import(&server, 1, entries).await;
    let output = server.cli(&["--json", "mds", "impact"]);
    let affected: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output)));
    let found: Vec<_> = affected.iter().map(|one| (one["user_id"].as_str().unwrap(), one["model"].as_str().unwrap())).collect();
    assert_eq!(found, [("model", "A model"), ("u2f", "Old tokens"), ("ctap2", "Old tokens")]);

    // The server follows, and says when it cannot.
    said(&server, "were read anew").await;
    let refused = tenant.draft("later", Format::PackedX5c, Algorithm::Es256).await;
    let answer = tenant.finalize(refused.body().to_string()).await;
    assert!(answer.problem(400, "failed to validate attestation").contains("REVOKED"), "{}", answer.body);
    let kept = MetadataEntry {
        aaguid: Some(Aaguid::from_uuid(uuid::Uuid::from_bytes(AAGUID))),
        ..entry("A model", "ATTESTATION_KEY_COMPROMISE", Some(somebody))
    };
    import(&server, 2, vec![kept]).await;
    let output = server.cli(&["--json", "mds", "impact"]);
    assert_eq!(text(&output).trim(), "[]", "the key of this one's certificate is not the compromised one");
    server.execute("UPDATE metadata_entries SET entry = 'spoilt'").await;
    server.execute("UPDATE trust_revision SET revision = revision + 1").await;
    said(&server, "cannot be read, and go on as they were").await;
    assert!(server.log().contains("metadata_entries 0"), "{}", server.log());
    import(&server, 3, Vec::new()).await;
    let answered =
        async || tenant.finalize(tenant.draft("last", Format::PackedX5c, Algorithm::Es256).await.body().to_string()).await.status;
    for _ in 0..200 {
        if answered().await == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the server goes on with what was read before:\n{}", server.log());
}

#[tokio::test]
async fn terminals_obey_no_user_and_policies_name_sets_that_are_there() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let draft = tenant.draft("\u{1b}[31mann\n\u{9b}", Format::None, Algorithm::Es256).await;
    tenant.finalize(draft.body().to_string()).await.token();
    for json in [&[][..], &["--json"]] {
        let output = server.cli(&[json, &["credential", "list", &tenant.id]].concat());
        let shown = text(&output);
        assert!(shown.contains(r"\u001b[31mann") && !shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    }

    let file = server.folder.path().join("config.json");
    let output = server.cli(&["tenant", "config", "get", &tenant.id]);
    let mut config: Value = serde_json::from_slice(&output.stdout).unwrap();
    config["settings"]["attestation"]["anchors"] = json!(["mds", "ours"]);
    fs::write(&file, config.to_string()).unwrap();
    let set = || text(&server.cli(&["tenant", "config", "set", &tenant.id, file.to_str().unwrap()]));
    let said = set();
    assert!(said.contains("Replaced") && said.contains("there is no set of anchors ours yet") && !said.contains("anchors mds"), "{said}");
    let pem = server.folder.path().join("ours.pem");
    let root = String::from_utf8(draft.maker.root.to_pem().unwrap()).unwrap();
    fs::write(&pem, [&root, root.replacen("-----", "----", 1).as_str(), &root].concat()).unwrap();
    let imported = server.cli(&["--json", "anchors", "import", "ours", pem.to_str().unwrap()]);
    assert!(imported.status.success() && text(&imported).contains("1 BEGIN line(s) are not those of certificates"), "{}", text(&imported));
    let imported: Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!(imported["certificates"].as_array().unwrap().len(), 1, "{imported}");
    assert!(!set().contains("no set"));
    // A list is no policy, and not all defaults either.
    config["settings"]["attestation"] = json!([]);
    fs::write(&file, config.to_string()).unwrap();
    assert!(set().contains("attestation must be a table"));
}

#[test]
fn the_rest_of_a_line_too_long_is_no_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evidence.jsonl");
    let line = json!({"name": "one", "rp_id": "x", "origin": [], "challenge_b64url": "", "credential": {}}).to_string();
    let long = format!("{}{line}", " ".repeat(4 << 20));
    fs::write(&file, [line.as_str(), &long, &line].join("\n")).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_passkey-hsm")).env_clear().arg("inspect").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout).matches(r#""name":"one""#).count(), 2, "{}", text(&output));
    assert!(text(&output).contains("line 2: longer than 4194304 bytes"), "{}", text(&output));
}

#[test]
fn anchors_for_all_evidence_judge_each_line() {
    let folder = tempfile::tempdir().unwrap();
    let (file, ours, theirs) = (folder.path().join("evidence.jsonl"), folder.path().join("ours.pem"), folder.path().join("theirs.pem"));
    let options = json!({"publicKey": {"rp": {"id": "example.org"}, "challenge": "AAAAAAAAAAAAAAAAAAAAAA"}});
    let draft = Draft::new(&options, "https://example.org", Format::PackedX5c, Algorithm::Es256);
    let line = json!({
        "rp_id": "example.org", "origin": "https://example.org", "challenge_b64url": "AAAAAAAAAAAAAAAAAAAAAA", "credential": draft.body(),
        "at_time": "2026-01-01T00:00:00Z",
    });
    fs::write(&file, format!("{line}\n{line}\n")).unwrap();
    fs::write(&ours, draft.maker.root.to_pem().unwrap()).unwrap();
    let other = Draft::new(&options, "https://example.org", Format::PackedX5c, Algorithm::Es256);
    fs::write(&theirs, other.maker.root.to_pem().unwrap()).unwrap();
    let inspect = |anchors: &std::path::Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_passkey-hsm"));
        command.env_clear().arg("inspect").arg("--check-chain").arg("--anchors").arg(anchors).arg(&file).output().unwrap()
    };
    for (anchors, expected) in [(&ours, r#""verdict":"accept""#), (&theirs, r#""step":24"#)] {
        let output = inspect(anchors);
        assert_eq!(text(&output).matches(expected).count(), 2, "{}", text(&output));
    }
    assert_eq!(inspect(&file).status.code(), Some(2), "no certificate is in it");
}
