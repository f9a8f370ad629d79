//! `mds update`: where a BLOB comes from, whose signature counts, and what is refused; `mds show`.

use std::{fs, io::Write as _, path::PathBuf};

use openssl::x509::X509Ref;
use serde_json::{Value, json};

use super::{Trusted, followed, said, written};
use crate::{
    commands::{ask, refusal},
    engines,
    support::{
        certificates::Maker,
        metadata::{Publisher, entry, report, u2f_entry},
        server::{Server, text},
        web::{self, Page},
    },
};

engines! { taken_from_a_file_standard_input_and_a_url }

const MODEL: &str = "11111111-2222-4333-8444-555555555555";

fn model() -> Value {
    entry(MODEL, "Example Token", &Maker::new().root, &[report("FIDO_CERTIFIED")])
}

async fn taken_from_a_file_standard_input_and_a_url(server: Server) {
    let trusted = Trusted::by(&server);
    assert_eq!(ask(&server, &["mds", "show"]), Value::Null);
    assert!(text(&server.cli(&["mds", "show"])).starts_with("No metadata is stored."));
    assert!(refusal(&server, 1, &["mds", "impact"]).starts_with("no metadata is stored"));

    let blob = |no| trusted.publisher.blob(no, &[model(), json!({"aaid": "1234#5678"}), json!({"description": "nobody"})]);
    let file = written(&server, "blob.jwt", &blob(1));
    let done = trusted.cli(&server, &["--json", "mds", "update", "--file", file.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    let imported: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&imported["no"], &imported["models"], &imported["next_update"]), (&json!(1), &json!(1), &json!("2099-01-01")));
    assert_eq!((&imported["overdue"], &imported["unreadable_anchors"]), (&json!(false), &json!(0)));
    assert!(imported["signer"].as_str().unwrap().ends_with("CN=mds.example.org"), "{imported}");
    let skipped = json!({"for UAF": 1, "no AAGUID and no attestation certificate key identifiers": 1});
    assert_eq!(imported["skipped"], skipped);
    assert_eq!(imported["revocation_unchecked"].as_array().unwrap().len(), 2);
    assert!(String::from_utf8_lossy(&done.stderr).contains("no --crl covers it"), "{}", text(&done));
    assert_eq!(trusted.update(&server, &[b"\n ", &blob(2)[..], b"\r\n"].concat(), &[])["no"], 2);

    let next = blob(3);
    let newest = blob(4);
    let url = web::serve(move |path| match path {
        "/blob" => Page::Of(next.clone()),
        "/configured?newest" => Page::Of(newest.clone()),
        "/cut" => Page::CutShort(next.clone()),
        "/claimed" => Page::Claimed((64 << 20) + 1),
        "/endless" => Page::Endless,
        "/busy" => Page::Status(503),
        _ => Page::Status(404),
    });
    for (path, expected) in [
        ("/nothing", "404"),
        ("/busy", "503"),
        ("/cut", "error"),
        ("/claimed", "is longer than 67108864 bytes"),
        ("/endless", "is longer than 67108864 bytes"),
    ] {
        let error = said(&trusted.cli(&server, &["--json", "mds", "update", "--url", &format!("{url}{path}")]), 1);
        assert!(error.contains(expected), "{path}: {error}");
        assert_eq!(ask(&server, &["mds", "show"])["no"], 2, "{path}");
    }
    let done = trusted.cli(&server, &["mds", "update", "--url", &format!("{url}/blob")]);
    assert!(done.status.success() && text(&done).contains("metadata no. 3 with 1 models"), "{}", text(&done));
    let configured = format!("{url}/configured?newest");
    let env = [
        ("PASSKEY_HSM_METADATA__ROOT", trusted.root.as_str()),
        ("PASSKEY_HSM_METADATA__SIGNER", "*"),
        ("PASSKEY_HSM_METADATA__URL", &configured),
    ];
    let done = server.cli_with(&env, &["--json", "mds", "update"]);
    assert!(done.status.success(), "{}", text(&done));
    let left = followed(&server, 4).await;
    assert!(left > 86_400 * 365, "{left}");

    let shown = ask(&server, &["mds", "show"]);
    assert_eq!((&shown["no"], &shown["models"], &shown["next_update"]), (&json!(4), &json!(1), &json!("2099-01-01")), "{shown}");
    assert_eq!((&shown["overdue"], &shown["forbidden"]), (&json!(false), &json!([])), "{shown}");
    let shown = text(&server.cli(&["mds", "show"]));
    assert!(shown.contains("No model has a status that forbids new credentials.") && shown.contains("2099-01-01"), "{shown}");
    let nobody = server.cli(&["mds", "impact"]);
    assert_eq!(String::from_utf8_lossy(&nobody.stdout), "No credential is of a model whose status forbids new credentials.\n");
    assert_eq!(ask(&server, &["mds", "impact"]), json!([]));
}

/// What is refused leaves what there was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_newer_or_not_theirs_is_refused() {
    let server = Server::sqlite().await;
    let trusted = Trusted::by(&server);
    let publisher = &trusted.publisher;
    trusted.update(&server, &publisher.blob(7, &[model()]), &[]);
    let before = ask(&server, &["mds", "show"]);

    let good = publisher.blob(8, &[model()]);
    let text = String::from_utf8(good.clone()).unwrap();
    let parts: Vec<_> = text.split('.').collect();
    let spoilt = |n: usize| {
        let mut parts = parts.iter().map(|part| part.as_bytes().to_vec()).collect::<Vec<_>>();
        let middle = parts[n].len() / 2;
        parts[n][middle] = if parts[n][middle] == b'A' { b'B' } else { b'A' };
        parts.join(&b'.')
    };
    let (payload, chain) = (json!({"no": 8, "nextUpdate": "2099-01-01", "entries": []}), publisher.chain());
    let root: &X509Ref = &publisher.authorities.root;
    let other = Publisher::new();
    let [signer, intermediate] = chain[..] else { panic!() };
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
    for (blob, expected) in [
        (publisher.blob(7, &[model()]), "its number 7 is not above 7, which is stored"),
        (publisher.blob(6, &[]), "its number 6 is not above 7, which is stored"),
        (spoilt(1), "the metadata BLOB's signature does not verify"),
        (spoilt(2), "the metadata BLOB's signature does not verify"),
        (publisher.signed(&[signer], &payload), "does not lead to a trusted root"),
        (publisher.signed(&[signer, root], &payload), "x5c is not a chain: certificate 0 was not issued by the next one"),
        (publisher.signed(&[intermediate, signer], &payload), "x5c is not a chain"),
        (publisher.signed(&[], &payload), "must have x5c with 1 to"),
        (publisher.signed(&other.chain(), &payload), "does not lead to a trusted root"),
        (other.blob(8, &[]), "does not lead to a trusted root"),
        (unsigned.into_bytes(), "is signed with none"),
        (publisher.signed(&chain, &json!({"no": -1, "nextUpdate": "2099-01-01", "entries": []})), "payload is malformed"),
        (publisher.signed(&chain, &json!({"no": 8, "nextUpdate": "soon", "entries": []})), "nextUpdate is not a date"),
        (b"".to_vec(), "not a signed JWT"),
        (vec![0xff; 5000], "not a signed JWT"),
        (parts[..2].join(".").into_bytes(), "not a signed JWT"),
    ] {
        let error = trusted.refusal(&server, 1, &blob, &[]);
        assert!(error.contains(expected), "{expected}: {error}");
        assert_eq!(ask(&server, &["mds", "show"]), before, "{expected}");
    }

    // Of its own root, but for another host.
    let elsewhere = Publisher::for_host("mds.example.net");
    let root = written(&server, "elsewhere.pem", &elsewhere.authorities.root.to_pem().unwrap());
    let named = Trusted { root: root.to_str().unwrap().to_owned(), publisher: elsewhere };
    let error = named.refusal(&server, 1, &named.publisher.blob(8, &[]), &[]);
    assert!(error.contains("certificate is not for mds.example.org") && error.contains("CN=mds.example.net"), "{error}");

    // By whom FIDO's own BLOBs are signed, this one is not.
    let done = server.cli_fed(&good, &[], &["--json", "mds", "update", "--file", "-"]);
    assert_ne!(done.status.code(), Some(0));
    assert_eq!(ask(&server, &["mds", "show"]), before);

    // Wrong usage.
    let update = ["--json", "mds", "update"];
    let file = written(&server, "good.jwt", &good);
    let path = file.to_str().unwrap();
    let usage = |args: &[&str]| said(&trusted.cli(&server, &[&update, args].concat()), 2);
    assert!(usage(&["--file", "/nowhere.jwt"]).starts_with("/nowhere.jwt: "));
    assert!(usage(&["--file", path, "--crl", "/nowhere.crl"]).starts_with("/nowhere.crl: "));
    assert!(usage(&["--file", path, "--crl", path]).contains("not a CRL in PEM or DER"));
    assert!(usage(&["--file", path, "--url", "http://localhost/"]).contains("cannot be used with"));
    assert!(usage(&["--url", "nonsense"]).contains("nonsense"));
    let no_root = [("PASSKEY_HSM_METADATA__ROOT", "/nowhere.pem")];
    let error = said(&server.cli_with(&no_root, &[&update[..], &["--file", path]].concat()), 2);
    assert!(error.starts_with("/nowhere.pem: "), "{error}");
    assert_eq!(ask(&server, &["mds", "show"]), before);
    assert_eq!(trusted.update(&server, &good, &[])["no"], 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_certificates_sign_nothing() {
    let server = Server::sqlite().await;
    let trusted = Trusted::by(&server);
    let publisher = &trusted.publisher;
    let [signer, intermediate] = publisher.chain()[..] else { panic!() };
    let blob = publisher.blob(1, &[model()]);
    let crl = |name: &str, der: &[u8]| written(&server, name, der).to_str().unwrap().to_owned();
    let others = Maker::new();
    let (stranger, good, good_root) = (
        Publisher::new().crl_until(2049, &[]),
        crl("good.crl", &publisher.crl_until(2049, &[&others.root])),
        crl("root.crl", &publisher.root_crl_until(2049, &[])),
    );
    for (name, der, expected) in [
        ("leaf.crl", publisher.crl_until(2049, &[signer]), "a certificate of the metadata BLOB was revoked: C=AT"),
        ("ca.crl", publisher.root_crl_until(2049, &[intermediate]), "CN=Example Intermediate 1"),
        ("stale.crl", publisher.crl_until(2020, &[]), "is out of date: get a newer one"),
        ("stale-revoked.crl", publisher.crl_until(2020, &[signer]), "is out of date: get a newer one"),
        ("stranger.crl", stranger, "is not signed by that issuer"),
    ] {
        let error = trusted.refusal(&server, 1, &blob, &["--crl", &good_root, "--crl", &crl(name, &der)]);
        assert!(error.contains(expected), "{name}: {error}");
        assert_eq!(ask(&server, &["mds", "show"]), Value::Null, "{name}");
    }
    // One list says nothing of what the other issuer signed; both leave nothing open.
    let half = trusted.update(&server, &blob, &["--crl", &good]);
    assert!(matches!(half["revocation_unchecked"].as_array().unwrap().as_slice(), [one] if one.as_str().unwrap().contains("Intermediate")));
    let whole = trusted.update(&server, &publisher.blob(2, &[]), &["--crl", &good, "--crl", &good_root]);
    assert_eq!(whole["revocation_unchecked"], json!([]));
    let der = publisher.crl_until(2049, &[]);
    let pem = openssl::x509::X509Crl::from_der(&der).unwrap().to_pem().unwrap();
    trusted.update(&server, &publisher.blob(3, &[]), &["--crl", &crl("pem.crl", &pem)]);
}

/// What happened to which model, for people and for scripts; anchors that are none are counted and left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_is_shown() {
    let server = Server::sqlite().await;
    let trusted = Trusted::by(&server);
    let maker = Maker::new();
    let mut spoilt = model();
    spoilt["metadataStatement"]["attestationRootCertificates"] = json!(["AAAA"]);
    let revoked = entry("22222222-2222-4333-8444-555555555555", "Weak Token", &maker.root, &[report("FIDO_CERTIFIED"), report("REVOKED")]);
    let u2f = u2f_entry(&maker.root, "Old Token", &maker.root, &[report("USER_KEY_PHYSICAL_COMPROMISE")]);
    let done = trusted.fed(&server, &trusted.publisher.blob(1, &[spoilt, revoked, u2f]), &["mds", "update", "--file", "-"]);
    assert!(text(&done).contains("1 trust anchor(s) in it are no certificates"), "{}", text(&done));
    let shown = ask(&server, &["mds", "show"]);
    let report = |status: &str| json!({"status": status, "effective_date": "2020-02-02"});
    assert_eq!(
        shown["forbidden"],
        json!([
            {"model": "Weak Token", "aaguid": "22222222-2222-4333-8444-555555555555", "report": report("REVOKED")},
            {"model": "Old Token", "aaguid": null, "report": report("USER_KEY_PHYSICAL_COMPROMISE")},
        ])
    );
    let table = text(&server.cli(&["mds", "show"]));
    for word in ["MODEL", "Weak Token", "Old Token", "REVOKED", "2020-02-02"] {
        assert!(table.contains(word), "{word}: {table}");
    }
}

/// The FIDO Alliance's own BLOB no. 31, of 2023: its certificates have expired since. It is not ours to ship.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_genuine_blob_of_2023_is_refused_today() {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/mds/blob-no31.jwt"));
    let file = std::env::var_os("METADATA_BLOB").map_or_else(beside, PathBuf::from);
    // Straight to stderr: what a passing test prints is captured, and this is to be seen.
    let skipped = |why: &str| writeln!(std::io::stderr(), "SKIPPED the genuine metadata BLOB: {why}").unwrap();
    if let Err(error) = fs::metadata(&file) {
        return skipped(&format!("{}: {error}. Name the file in METADATA_BLOB.", file.display()));
    }
    let server = Server::sqlite().await;
    let done = server.cli(&["--json", "mds", "update", "--file", file.to_str().unwrap()]);
    if text(&done).contains("is not among the system's certificates") {
        return skipped("its root is not among the system's certificates.");
    }
    let error = said(&done, 1);
    assert!(error.contains("the metadata BLOB's certificate does not lead to a trusted root"), "{error}");
    assert!(error.contains("certificate has expired") && error.contains("CN=GlobalSign") && error.contains("valid from"), "{error}");
    assert_eq!(ask(&server, &["mds", "show"]), Value::Null);
    assert_eq!((server.count("metadata_blob").await, server.count("metadata_entries").await), (0, 0));
}
