//! What metadata changes for registrations: what they are called, what they are worth, which are refused, and whom a report concerns.

use serde_json::{Value, json};

use super::{Trusted, followed};
use crate::{
    attestation::{REFUSED, batch, demand, inspected, listed, pem, register, tenant_with},
    commands::ask,
    engines,
    support::{
        api::Tenant,
        authenticator::{Draft, Format},
        certificates::Maker,
        keys::Algorithm,
        metadata::{entry, report, u2f_entry},
        server::{Server, text},
    },
};

engines! { models_are_known_and_reports_refuse_them, metadata_that_is_overdue }

/// A model of authenticator, by a number.
fn aaguid(n: u8) -> ([u8; 16], String) {
    let mut bytes = [n; 16];
    (bytes[6], bytes[8]) = (0x40, 0x80);
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (bytes, format!("{}-{}-{}-{}-{}", hex[..4].concat(), hex[4..6].concat(), hex[6..8].concat(), hex[8..10].concat(), hex[10..].concat()))
}

/// A change that makes a draft one of this model, by this maker.
fn of_model(n: u8, maker: &Maker) -> impl Fn(&mut Draft) + use<> {
    let maker = maker.clone();
    move |draft| {
        (draft.aaguid, draft.leaf.aaguid) = (aaguid(n).0, Some(aaguid(n).0));
        draft.maker = maker.clone();
    }
}

/// A change that makes a draft claim this model without a proof.
fn claiming(n: u8) -> impl Fn(&mut Draft) {
    move |draft| draft.aaguid = aaguid(n).0
}

async fn accepted(tenant: &Tenant, format: Format, change: impl FnOnce(&mut Draft)) -> String {
    let (id, answer) = register(tenant, format, change).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    id
}

async fn refused(server: &Server, tenant: &Tenant, format: Format, change: impl FnOnce(&mut Draft), expected: &str) {
    let before = (server.count("credentials").await, server.count("ceremonies").await);
    let (_, answer) = register(tenant, format, change).await;
    let details = answer.problem(400, REFUSED);
    assert!(details.contains(expected), "{expected}: {details}");
    assert_eq!((server.count("credentials").await, server.count("ceremonies").await), before);
}

/// What each model's number is reported for.
const STATUSES: [&str; 5] =
    ["REVOKED", "USER_VERIFICATION_BYPASS", "USER_KEY_REMOTE_COMPROMISE", "USER_KEY_PHYSICAL_COMPROMISE", "ATTESTATION_KEY_COMPROMISE"];
/// The last of them, whose attestation key one batch has.
const COMPROMISED: u8 = 4;
/// One that is only in need of an update.
const OUTDATED: u8 = 5;

async fn models_are_known_and_reports_refuse_them(server: Server) {
    let trusted = Trusted::by(&server);
    let (maker, u2f_maker) = (Maker::with_intermediate(), Maker::new());
    // What the tenant demands beside makes no difference.
    let tenant = tenant_with(&server, &json!({}));
    let (one_batch, other_batch, u2f_batch) = (batch_of(&tenant, &maker), batch_of(&tenant, &maker), batch(&tenant, &u2f_maker));
    let compromised = certificate(&tenant, Format::PackedX5c, &one_batch).await;
    let u2f = certificate(&tenant, Format::FidoU2f, &u2f_batch).await;

    // First: all is well with all of them.
    let names: Vec<_> = (0..=OUTDATED).map(|n| format!("Example Token {n}")).collect();
    let entries = |reports: &dyn Fn(usize) -> Vec<Value>, u2f_status: &str| {
        let of_model = |n: u8| entry(&aaguid(n).1, &names[usize::from(n)], &maker.root, &reports(usize::from(n)));
        let mut entries: Vec<_> = (0..=OUTDATED).map(of_model).collect();
        entries.push(u2f_entry(&u2f, "Example U2F Token", &u2f_maker.root, &[report(u2f_status)]));
        entries
    };
    trusted.update(&server, &trusted.publisher.blob(1, &entries(&|_| vec![report("FIDO_CERTIFIED")], "FIDO_CERTIFIED")), &[]);
    followed(&server, 1).await;
    let root = pem(&server, "roots.pem", &[&maker.root, &u2f_maker.root]);
    let mut made = Vec::new();
    for n in 0..=OUTDATED {
        if n != COMPROMISED {
            made.push((accepted(&tenant, Format::PackedX5c, of_model(n, &maker)).await, names[usize::from(n)].clone(), "trusted"));
        }
        made.push((accepted(&tenant, Format::None, claiming(n)).await, names[usize::from(n)].clone(), "none"));
    }
    let by_one = accepted(&tenant, Format::PackedX5c, &one_batch).await;
    let by_other = accepted(&tenant, Format::PackedX5c, &other_batch).await;
    let by_u2f = accepted(&tenant, Format::FidoU2f, &u2f_batch).await;
    made.extend([&by_one, &by_other].map(|id| (id.clone(), names[usize::from(COMPROMISED)].clone(), "trusted")));
    made.push((by_u2f.clone(), "Example U2F Token".to_owned(), "trusted"));
    for (id, name, trust) in &made {
        let credential = listed(&server, &tenant, id);
        assert_eq!((&credential["name"], &credential["attestation"]["trust"]), (&json!(name), &json!(trust)), "{credential}");
        assert_eq!(credential["attestation"]["anchors"] == "mds", *trust == "trusted", "{credential}");
    }
    let finding = inspected(&server, &tenant, &by_one, &["--anchors", root.to_str().unwrap()]);
    assert_eq!((&finding["verdict"], &finding["trust"]), (&json!("accept"), &json!("trusted")), "{finding}");
    // Another maker's certificate with the model's number proves nothing; whoever demands it refuses it.
    let (id, _) = register(&tenant, Format::PackedX5c, of_model(0, &Maker::new())).await;
    let record = listed(&server, &tenant, &id)["attestation"].clone();
    assert_eq!(record["trust"], "untrusted");
    assert!(record["reason"].as_str().unwrap().contains("looked in mds (Example Token 0)"), "{record}");
    let strict = tenant_with(&server, &json!({"trust": "judge"}));
    refused(&server, &strict, Format::PackedX5c, of_model(0, &Maker::new()), "x5c does not lead to a trust anchor").await;
    assert_eq!(ask(&server, &["mds", "impact"]), json!([]));

    // Then each has its report.
    let reports = |n: usize| match STATUSES.get(n) {
        None => vec![report("UPDATE_AVAILABLE")],
        Some(status) if n == usize::from(COMPROMISED) => {
            let mut report = report(status);
            report["certificate"] = json!(openssl::base64::encode_block(&compromised.to_der().unwrap()));
            vec![report]
        }
        Some(status) => vec![report("FIDO_CERTIFIED"), report(status)],
    };
    trusted.update(&server, &trusted.publisher.blob(2, &entries(&reports, "REVOKED")), &[]);
    followed(&server, 2).await;
    for (n, status) in (0_u8..).zip(STATUSES) {
        let expected = format!("the FIDO metadata reports {status} of Example Token {n} since 2020-02-02");
        refused(&server, &tenant, Format::None, claiming(n), &expected).await;
        refused(&server, &tenant, Format::PackedSelf, claiming(n), &expected).await;
        if n == COMPROMISED {
            refused(&server, &tenant, Format::PackedX5c, &one_batch, &expected).await;
            accepted(&tenant, Format::PackedX5c, &other_batch).await;
        } else {
            refused(&server, &tenant, Format::PackedX5c, of_model(n, &maker), &expected).await;
        }
    }
    refused(&server, &tenant, Format::FidoU2f, &u2f_batch, "reports REVOKED of Example U2F Token since 2020-02-02").await;
    accepted(&tenant, Format::PackedX5c, of_model(OUTDATED, &maker)).await;
    accepted(&tenant, Format::FidoU2f, |_| ()).await;
    // Who does not have the metadata among his anchors is not protected by it.
    let without = tenant_with(&server, &json!({"anchors": []}));
    accepted(&without, Format::PackedX5c, of_model(0, &maker)).await;

    impact(&server, &tenant, [&by_one, &by_other, &by_u2f]);
}

/// Who is concerned: the credentials that were made before, of the reported models alone.
fn impact(server: &Server, tenant: &Tenant, [by_one, by_other, by_u2f]: [&String; 3]) {
    let impact = ask(server, &["mds", "impact"]);
    let impact = impact.as_array().unwrap();
    let of = |model: &str| impact.iter().filter(|affected| affected["model"] == model).collect::<Vec<_>>();
    for (n, status) in STATUSES.iter().enumerate().take(usize::from(COMPROMISED)) {
        let found = of(&format!("Example Token {n}"));
        let mut trust: Vec<_> = found.iter().filter(|a| a["tenant_id"] == tenant.id).map(|a| a["trust"].as_str().unwrap()).collect();
        trust.sort_unstable();
        // Model 0 has one with a false certificate too.
        assert_eq!(trust, if n == 0 { vec!["none", "trusted", "untrusted"] } else { vec!["none", "trusted"] }, "{found:?}");
        // .. and one at the tenant that does not look at metadata.
        assert_eq!(found.len(), if n == 0 { 4 } else { 2 }, "{found:?}");
        assert!(found.iter().all(|a| a["report"]["status"] == *status && a["user_id"] == "ann"), "{found:?}");
    }
    let mut compromised: Vec<_> = of("Example Token 4").iter().map(|a| (a["credential_id"] == **by_one, a["trust"].clone())).collect();
    compromised.sort_unstable_by_key(|(is_by_one, _)| *is_by_one);
    assert_eq!(compromised, [(false, json!("none")), (true, json!("trusted"))]);
    assert!(!impact.iter().any(|a| a["credential_id"] == **by_other));
    let [u2f] = of("Example U2F Token")[..] else { panic!("{impact:?}") };
    assert_eq!(
        (&u2f["credential_id"], &u2f["aaguid"], &u2f["tenant"]),
        (&json!(by_u2f), &Value::Null, &json!(tenant_name(server, tenant)))
    );
    assert!(of("Example Token 5").is_empty());
    let table = text(&server.cli(&["mds", "impact"]));
    assert!(table.starts_with("TENANT") && table.contains("REVOKED") && table.contains("2020-02-02"), "{table}");
}

fn tenant_name(server: &Server, tenant: &Tenant) -> String {
    ask(server, &["tenant", "show", &tenant.id])["display_name"].as_str().unwrap().to_owned()
}

/// A batch of the model whose attestation key comes to be known.
fn batch_of(tenant: &Tenant, maker: &Maker) -> impl Fn(&mut Draft) + use<> {
    let options = json!({"publicKey": {"rp": {"id": tenant.rp_id}, "challenge": ""}});
    let mut first = Draft::new(&options, &tenant.origin, Format::PackedX5c, Algorithm::Es256);
    of_model(COMPROMISED, maker)(&mut first);
    let certificate = maker.issue(&first.leaf, &first.attestation_key);
    let (maker, key) = (maker.clone(), first.attestation_key);
    move |draft| {
        of_model(COMPROMISED, &maker)(draft);
        draft.attestation_key = key.clone();
        draft.certificate = Some(certificate.clone());
    }
}

/// The certificate that a batch has.
async fn certificate(tenant: &Tenant, format: Format, batch: impl Fn(&mut Draft)) -> openssl::x509::X509 {
    let mut draft = tenant.draft("ann", format, Algorithm::Es256).await;
    batch(&mut draft);
    draft.certificate.unwrap()
}

async fn metadata_that_is_overdue(server: Server) {
    let trusted = Trusted::by(&server);
    let maker = Maker::new();
    let entries = [
        entry(&aaguid(0).1, "Example Token", &maker.root, &[report("FIDO_CERTIFIED")]),
        entry(&aaguid(1).1, "Weak Token", &maker.root, &[report("REVOKED")]),
    ];
    let blob = trusted.publisher.blob_due("2020-03-01", 1, &entries);
    let done = trusted.fed(&server, &blob, &["--json", "mds", "update", "--file", "-"]);
    assert!(text(&done).contains("its successor was due on 2020-03-01: fetch it"), "{}", text(&done));
    assert_eq!(serde_json::from_slice::<Value>(&done.stdout).unwrap()["overdue"], true);
    let left = followed(&server, 1).await;
    assert!(left < -86_400 * 365, "{left}");
    assert_eq!(ask(&server, &["mds", "show"])["overdue"], true);
    assert!(text(&server.cli(&["mds", "show"])).contains("2020-03-01 (overdue)"));
    let doctor = server.cli(&["--json", "doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    let findings: Vec<Value> = serde_json::from_slice(&doctor.stdout).unwrap();
    let finding = findings.iter().find(|finding| finding["name"] == "metadata").unwrap();
    assert_eq!(
        (&finding["ok"], &finding["detail"]),
        (&json!(false), &json!("no. 1 should have been followed by a newer one on 2020-03-01"))
    );
    assert!(finding["advice"].as_str().unwrap().contains("passkey-hsm mds update"), "{finding}");
    assert!(server.log().contains("should have been followed by a newer one on 2020-03-01"), "{}", server.log());

    let tenant = tenant_with(&server, &json!({"trust": "require"}));
    accepted(&tenant, Format::PackedX5c, of_model(0, &maker)).await;
    demand(&server, &tenant, &json!({"trust": "require", "stale_metadata": "distrust"}));
    refused(&server, &tenant, Format::PackedX5c, of_model(0, &maker), "looked in mds (stale: an update was due on 2020-03-01)").await;
    // What was reported does not become well by time.
    refused(&server, &tenant, Format::PackedX5c, of_model(1, &maker), "reports REVOKED of Weak Token").await;
    demand(&server, &tenant, &json!({"stale_metadata": "distrust"}));
    let id = accepted(&tenant, Format::PackedX5c, of_model(0, &maker)).await;
    assert_eq!(listed(&server, &tenant, &id)["attestation"]["trust"], "untrusted");
    refused(&server, &tenant, Format::None, claiming(1), "reports REVOKED of Weak Token").await;

    // A new one mends all of it.
    demand(&server, &tenant, &json!({"trust": "require", "stale_metadata": "distrust"}));
    trusted.update(&server, &trusted.publisher.blob(2, &entries), &[]);
    assert!(followed(&server, 2).await > 0);
    accepted(&tenant, Format::PackedX5c, of_model(0, &maker)).await;
    let doctor = server.cli(&["doctor"]);
    assert!(doctor.status.success() && text(&doctor).contains("no. 2 with 2 models, the next is due on 2099-01-01"), "{}", text(&doctor));
}
