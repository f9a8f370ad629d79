//! Every statement format, registered on a running server, listed, and verified again offline from the evidence that was kept.

use serde_json::{Value, json};

use super::{inspected, listed, pem, register, tenant_with, until};
use crate::{
    commands::{ask, refusal},
    engines,
    support::{
        api::Tenant,
        authenticator::{Draft, Format},
        certificates::Maker,
        keys::Algorithm,
        server::Server,
    },
};

engines! { each_format_is_recorded_and_verified_again, safetynet_is_for_those_who_ask_for_it, evidence_of_one_credential }

/// A kind of statement, and what is found of it where no anchor is known: format, type and trust.
struct Kind {
    format: Format,
    algorithm: Algorithm,
    /// The statement that counts.
    found: (&'static str, &'static str, &'static str),
}

fn kinds() -> Vec<Kind> {
    use Algorithm::{EdDsa, Es256, Es384, Ps256, Rs256};
    let kind = |format, algorithm, found| Kind { format, algorithm, found };
    vec![
        kind(Format::None, Es256, ("none", "none", "none")),
        kind(Format::PackedSelf, EdDsa, ("packed", "self", "self")),
        kind(Format::PackedX5c, Es256, ("packed", "basic", "untrusted")),
        kind(Format::Tpm, Rs256, ("tpm", "attca", "untrusted")),
        kind(Format::Tpm, Ps256, ("tpm", "attca", "untrusted")),
        kind(Format::Tpm, Es384, ("tpm", "attca", "untrusted")),
        kind(Format::AndroidKey, Es256, ("android-key", "basic", "untrusted")),
        kind(Format::Apple, Es256, ("apple", "anonca", "untrusted")),
        kind(Format::FidoU2f, Es256, ("fido-u2f", "basic", "untrusted")),
        kind(Format::Compound, Es256, ("packed", "basic", "untrusted")),
    ]
}

async fn draft(tenant: &Tenant, kind: &Kind, maker: &Maker) -> Draft {
    let draft = tenant.draft("ann", kind.format, kind.algorithm).await;
    Draft { maker: maker.clone(), ..draft }
}

/// The list, the evidence and `inspect` say the same of a credential. Returns what the list has of its attestation.
fn agreeing(server: &Server, tenant: &Tenant, draft: &Draft, kind: &Kind, options: &[&str]) -> Value {
    let id = draft.id();
    let credential = listed(server, tenant, &id);
    assert_eq!((&credential["attestation_type"], &credential["name"]), (&json!(kind.format.name()), &json!(format!("cred-{id}"))));
    let record = credential["attestation"].clone();
    assert_eq!((record["format"].as_str(), record["type"].as_str()), (Some(kind.found.0), Some(kind.found.1)), "{credential}");
    let finding = inspected(server, tenant, &id, options);
    assert_eq!((&finding["verdict"], &finding["name"], &finding["fmt"]), (&json!("accept"), &json!(id), &credential["attestation_type"]));
    assert_eq!((&finding["attestation_type"], &finding["trust"]), (&record["type"], &record["trust"]), "{finding}");
    assert_eq!((&finding["alg"], &finding["aaguid"]), (&json!(kind.algorithm.cose_id()), &credential["aaguid"]), "{finding}");
    assert_eq!((&finding["sign_count"], &finding["flags"]["UP"]), (&json!(0), &json!(true)), "{finding}");
    assert_eq!(finding.get("trust_path"), record.get("path"), "{finding}");
    record
}

async fn each_format_is_recorded_and_verified_again(server: Server) {
    let tenant = tenant_with(&server, &json!({"anchors": ["mds", "ours"]}));
    let maker = Maker::with_intermediate();
    let mut before = Vec::new();
    for kind in kinds() {
        let draft = draft(&tenant, &kind, &maker).await;
        tenant.finalize(draft.body().to_string()).await.token();
        let record = agreeing(&server, &tenant, &draft, &kind, &[]);
        assert_eq!(record["trust"], kind.found.2);
        let reason = record["reason"].as_str().unwrap_or_default();
        assert_eq!(
            reason.contains("no trust anchor is for it; looked in mds (no metadata), ours (no anchors)"),
            is_certified(&kind),
            "{record}"
        );
        before.push((kind, draft));
    }

    // Whoever has the maker's intermediate can prove more than the server did at the time. A U2F statement's x5c does not have it.
    let file = pem(&server, "ours.pem", &[maker.intermediate().unwrap()]);
    let file = file.to_str().unwrap();
    for (kind, draft) in &before {
        let finding = inspected(&server, &tenant, &draft.id(), &["--anchors", file, "--check-chain"]);
        assert_eq!(finding["trust"], if is_certified(kind) { "trusted" } else { kind.found.2 }, "{finding}");
    }

    ask(&server, &["anchors", "import", "ours", file]);
    let strict = tenant_with(&server, &json!({"anchors": ["ours"], "trust": "require"}));
    until(&strict, 200, Format::PackedX5c, |draft| draft.maker = maker.clone()).await;
    for kind in kinds() {
        let draft = draft(&tenant, &kind, &maker).await;
        let token = tenant.finalize(draft.body().to_string()).await.token();
        // RFC 8176: that hardware keeps the key is said only where something proves it.
        let claims = crate::decoded(token.split('.').nth(1).unwrap());
        assert_eq!(claims["amr"], json!([if is_certified(&kind) { "hwk" } else { "pop" }, "user"]), "{claims}");
        let record = agreeing(&server, &tenant, &draft, &kind, &["--anchors", file]);
        if !is_certified(&kind) {
            assert_eq!((&record["trust"], record.get("path")), (&json!(kind.found.2), None));
            continue;
        }
        assert_eq!((&record["trust"], &record["anchors"], record.get("reason")), (&json!("trusted"), &json!("ours"), None), "{record}");
        let path = record["path"].as_array().unwrap();
        assert_eq!(path.len(), 2, "{record}");
        assert_eq!(path[0]["subject"] == "(no subject)", kind.format == Format::Tpm, "{record}");
        assert_eq!(path[1]["subject"], "C=AT, O=Example Authenticators, CN=Example Intermediate 1");
    }

    // All of it in one go: each credential's line is good, in the order of the list.
    let evidence = server.cli(&["credential", "evidence", &tenant.id]);
    let found = server.cli_fed(&evidence.stdout, &[], &["inspect", "-"]);
    assert!(found.status.success());
    let verdicts: Vec<Value> =
        found.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
    let list = ask(&server, &["credential", "list", &tenant.id]);
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|credential| &credential["id"]).collect();
    assert_eq!(verdicts.iter().map(|finding| &finding["name"]).collect::<Vec<_>>(), ids);
    assert_eq!((ids.len(), verdicts.iter().all(|finding| finding["verdict"] == "accept")), (20, true));

    // For people.
    let table = server.cli(&["credential", "list", &tenant.id]);
    let table = String::from_utf8(table.stdout).unwrap();
    for word in ["android-key", "attca", "anonca", "self", "trusted", "untrusted"] {
        assert!(table.contains(word), "{word}: {table}");
    }
}

fn is_certified(kind: &Kind) -> bool {
    kind.found.2 == "untrusted"
}

async fn safetynet_is_for_those_who_ask_for_it(server: Server) {
    let usual = tenant_with(&server, &json!({}));
    let (_, answer) = register(&usual, Format::AndroidSafetynet, |_| ()).await;
    let details = answer.problem(400, super::REFUSED);
    assert_eq!(details, "step 21: Error validating the attestation: statements of the format android-safetynet are not accepted");
    let lax = tenant_with(&server, &json!({"formats": ["android-safetynet"]}));
    let (id, answer) = register(&lax, Format::AndroidSafetynet, |_| ()).await;
    answer.token();
    let credential = listed(&server, &lax, &id);
    assert_eq!(credential["attestation_type"], "android-safetynet");
    assert_eq!((&credential["attestation"]["type"], &credential["attestation"]["trust"]), (&json!("basic"), &json!("untrusted")));
    let finding = inspected(&server, &lax, &id, &[]);
    assert_eq!((&finding["verdict"], &finding["trust"]), (&json!("accept"), &json!("untrusted")));
}

/// One in sixty-four ids begins as an option does.
async fn evidence_of_one_credential(server: Server) {
    let tenant = tenant_with(&server, &json!({}));
    let (id, answer) = register(&tenant, Format::PackedX5c, |draft| draft.credential_id[0] = 0xf8).await;
    answer.token();
    assert!(id.starts_with('-'), "{id}");
    assert_eq!(inspected(&server, &tenant, &id, &[])["name"], id);
    let said = refusal(&server, 1, &["credential", "evidence", &tenant.id, "--credential", "AAAA"]);
    assert_eq!(said, format!("tenant {} has no evidence of credential AAAA", tenant.id));
    // Of another tenant it is none either.
    let other = tenant_with(&server, &json!({}));
    let said = refusal(&server, 1, &["credential", "evidence", &other.id, "--credential", &id]);
    assert_eq!(said, format!("tenant {} has no evidence of credential {id}", other.id));
    assert_eq!(server.cli(&["credential", "evidence", &other.id]).stdout, b"");
}
