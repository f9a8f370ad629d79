//! Each setting of settings.attestation: what it refuses, and what it then still accepts.

use serde_json::{Value, json};

use super::{REFUSED, demand, pem, tenant_with, until};
use crate::{
    commands::{ask, refusal},
    engines,
    support::{
        api::Tenant,
        authenticator::{Draft, Format, flag},
        certificates::Maker,
        keys::{Algorithm, KeyPair},
        server::{Server, TenantSpec},
        statements::device_serial,
    },
};

engines! { each_demand_refuses_and_accepts }

type Change = fn(&mut Draft, &Maker);

/// Nothing: what the draft is made with.
const ANYONES: Change = |_, _| ();
/// By the maker whose root is imported.
const OURS: Change = |draft, maker| draft.maker = maker.clone();
const OTHER_MODEL: [u8; 16] = [7; 16];

struct Case {
    demand: Value,
    /// What is refused, with what is said of it.
    refused: Vec<(Format, Change, &'static str)>,
    accepted: Vec<(Format, Change)>,
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    use Format::{AndroidKey, Apple, Compound, FidoU2f, None, PackedSelf, PackedX5c, Tpm};
    let model = "8e0f1a2b-3c4d-455e-966f-708192a3b4c5";
    let sha1: Change = |draft, _| {
        draft.attestation_key = KeyPair::generate_attestation(Algorithm::Rs256);
        draft.tpm_sha1 = true;
    };
    let in_software: Change = |draft, _| draft.android_level = 0;
    let other_model: Change = |draft, maker| {
        (draft.aaguid, draft.leaf.aaguid) = (OTHER_MODEL, Some(OTHER_MODEL));
        draft.maker = maker.clone();
    };
    let named_device: Change = |draft, _| draft.leaf.extensions.push(device_serial(b"0815"));
    let our_named_device: Change = |draft, maker| {
        draft.leaf.extensions.push(device_serial(b"0815"));
        draft.maker = maker.clone();
    };
    let claimed: Change = |draft, _| draft.aaguid = crate::support::authenticator::AAGUID;
    let our_u2f: Change = |draft, maker| {
        draft.aaguid = crate::support::authenticator::AAGUID;
        draft.maker = maker.clone();
    };
    vec![
        Case {
            demand: json!({}),
            refused: vec![],
            accepted: vec![
                (None, ANYONES),
                (None, claimed),
                (Tpm, sha1),
                (AndroidKey, in_software),
                (PackedX5c, named_device),
                (FidoU2f, our_u2f),
            ],
        },
        Case {
            demand: json!({"required": true}),
            refused: vec![(None, ANYONES, "statements of the format none are not accepted")],
            accepted: vec![(PackedSelf, ANYONES), (FidoU2f, ANYONES)],
        },
        Case {
            demand: json!({"formats": ["packed", "compound"]}),
            refused: vec![
                (Tpm, ANYONES, "statements of the format tpm are not accepted"),
                (FidoU2f, ANYONES, "statements of the format fido-u2f are not accepted"),
                (Compound, ANYONES, "part 1: statements of the format android-key are not accepted"),
            ],
            accepted: vec![
                (PackedX5c, ANYONES),
                (PackedSelf, ANYONES),
                (None, ANYONES),
                (Compound, |draft, _| draft.parts = vec![PackedX5c, PackedSelf]),
            ],
        },
        Case {
            demand: json!({"types": ["self", "anonca"]}),
            refused: vec![
                (PackedX5c, ANYONES, "attestation of the type basic is not accepted"),
                (Tpm, ANYONES, "attestation of the type attca is not accepted"),
                (Compound, ANYONES, "attestation of the type basic is not accepted"),
            ],
            accepted: vec![(PackedSelf, ANYONES), (Apple, ANYONES), (None, ANYONES)],
        },
        Case {
            demand: json!({"trust": "judge", "anchors": ["ours"]}),
            refused: vec![
                (PackedX5c, ANYONES, "x5c does not lead to a trust anchor: at C=AT, O=Example Authenticators"),
                (FidoU2f, ANYONES, "x5c does not lead to a trust anchor"),
                (Compound, ANYONES, "x5c does not lead to a trust anchor"),
            ],
            accepted: vec![
                (PackedX5c, OURS),
                (Tpm, OURS),
                (Apple, OURS),
                (FidoU2f, OURS),
                (Compound, OURS),
                (PackedSelf, ANYONES),
                (None, ANYONES),
            ],
        },
        // Nobody can judge: judge lets it pass, require does not.
        Case { demand: json!({"trust": "judge", "anchors": ["absent"]}), refused: vec![], accepted: vec![(PackedX5c, OURS)] },
        Case {
            demand: json!({"trust": "require", "anchors": ["absent"]}),
            refused: vec![(PackedX5c, OURS, "no trust anchor is for it; looked in absent (no anchors)")],
            accepted: vec![],
        },
        Case {
            demand: json!({"trust": "require", "anchors": ["mds"]}),
            refused: vec![(PackedX5c, OURS, "no trust anchor is for it; looked in mds (no metadata)")],
            accepted: vec![],
        },
        Case { demand: json!({"trust": "judge", "anchors": []}), refused: vec![], accepted: vec![(PackedX5c, OURS)] },
        Case {
            demand: json!({"trust": "require", "anchors": ["mds", "ours"]}),
            refused: vec![
                (None, ANYONES, "a statement that leads to a trust anchor is required, not none"),
                (PackedSelf, ANYONES, "a statement that leads to a trust anchor is required, not self"),
                (AndroidKey, ANYONES, "x5c does not lead to a trust anchor"),
            ],
            accepted: vec![(PackedX5c, OURS), (AndroidKey, OURS), (FidoU2f, OURS), (Compound, OURS)],
        },
        Case {
            demand: json!({"aaguids_allowed": [model], "anchors": ["ours"]}),
            refused: vec![
                (PackedX5c, other_model, "the model 07070707-0707-0707-0707-070707070707 are not among those that are accepted"),
                (PackedX5c, ANYONES, "x5c does not lead to a trust anchor"),
                (PackedSelf, ANYONES, "a statement that leads to a trust anchor is required, not self"),
                (None, claimed, "a statement that leads to a trust anchor is required, not none"),
                (FidoU2f, our_u2f, "statement does not prove the model 8e0f1a2b-3c4d-455e-966f-708192a3b4c5"),
            ],
            accepted: vec![(PackedX5c, OURS), (Tpm, OURS)],
        },
        Case {
            demand: json!({"aaguids_denied": [model]}),
            refused: vec![
                (PackedX5c, OURS, "authenticators of the model 8e0f1a2b-3c4d-455e-966f-708192a3b4c5 are not accepted"),
                (PackedSelf, ANYONES, "authenticators of the model 8e0f1a2b-3c4d-455e-966f-708192a3b4c5 are not accepted"),
                (None, claimed, "authenticators of the model 8e0f1a2b-3c4d-455e-966f-708192a3b4c5 are not accepted"),
            ],
            accepted: vec![(PackedX5c, other_model), (None, ANYONES)],
        },
        Case {
            demand: json!({"device_bound": true}),
            refused: vec![
                (None, |draft, _| draft.flags |= flag::BE, "the credential is not bound to one device (BE is set)"),
                (PackedX5c, |draft, _| draft.flags |= flag::BE | flag::BS, "the credential is not bound to one device (BE is set)"),
            ],
            accepted: vec![(None, ANYONES), (PackedX5c, ANYONES)],
        },
        Case {
            demand: json!({"enterprise": "refuse"}),
            refused: vec![(PackedX5c, named_device, "enterprise attestation is not accepted")],
            accepted: vec![(PackedX5c, ANYONES), (None, ANYONES)],
        },
        Case {
            demand: json!({"enterprise": "require", "anchors": ["ours"]}),
            refused: vec![
                (PackedX5c, OURS, "enterprise attestation is required"),
                (PackedX5c, named_device, "x5c does not lead to a trust anchor"),
                (None, ANYONES, "enterprise attestation is required"),
            ],
            accepted: vec![(PackedX5c, our_named_device)],
        },
        Case {
            demand: json!({"allow_rs1": false}),
            refused: vec![(Tpm, sha1, "alg uses SHA-1, which this relying party does not accept")],
            accepted: vec![(Tpm, ANYONES)],
        },
        Case {
            demand: json!({"android_key_hardware": true}),
            refused: vec![(AndroidKey, in_software, "the key is attested by software, and hardware is demanded")],
            accepted: vec![(AndroidKey, ANYONES)],
        },
    ]
}

async fn draft(tenant: &Tenant, format: Format, change: Change, maker: &Maker) -> Draft {
    let mut draft = tenant.draft("ann", format, Algorithm::Es256).await;
    change(&mut draft, maker);
    draft
}

async fn each_demand_refuses_and_accepts(server: Server) {
    let maker = Maker::with_intermediate();
    let file = pem(&server, "ours.pem", &[&maker.root, maker.intermediate().unwrap()]);
    ask(&server, &["anchors", "import", "ours", file.to_str().unwrap()]);
    let tenant = tenant_with(&server, &json!({"trust": "require", "anchors": ["ours"]}));
    until(&tenant, 200, Format::PackedX5c, |draft| draft.maker = maker.clone()).await;
    for case in cases() {
        demand(&server, &tenant, &case.demand);
        for (format, change, expected) in case.refused {
            let draft = draft(&tenant, format, change, &maker).await;
            refused(&server, &tenant, &draft, expected).await;
        }
        for (format, change) in case.accepted {
            let answer = tenant.finalize(draft(&tenant, format, change, &maker).await.body().to_string()).await;
            assert_eq!(answer.status, 200, "{}: {format:?}: {}", case.demand, answer.body);
        }
    }
}

/// Refused with 400 in the contract's form; nothing stored, the challenge used up, the reason in the audit log.
async fn refused(server: &Server, tenant: &Tenant, draft: &Draft, expected: &str) {
    let audited = format!("audit_events WHERE event_type = 'webauthn_registration_final_failed' AND error LIKE '%{expected}%'");
    let before = (server.count("credentials").await, server.count("credential_evidence").await, server.count(&audited).await);
    let body = draft.body().to_string();
    let details = tenant.finalize(body.clone()).await.problem(400, REFUSED);
    assert!(details.contains(expected), "{expected}: {details}");
    let after = (server.count("credentials").await, server.count("credential_evidence").await, server.count(&audited).await);
    assert_eq!(after, (before.0, before.1, before.2 + 1), "{expected}");
    assert_eq!(server.count("ceremonies").await, 0, "{expected}");
    tenant.finalize(body).await.problem(400, "received challenge does not match with any stored one");
}

/// A policy that cannot be is refused whole, and the one before stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_demanded_is_refused() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let config = ask(&server, &["tenant", "config", "get", &tenant.id]);
    let file = server.folder.path().join("bad.json");
    for (attestation, expected) in [
        (json!({"formats": ["packed", "Packed"]}), "Packed is not one of none, packed, tpm"),
        (json!({"types": ["attestation"]}), "attestation is not one of none, self, basic"),
        (json!({"trust": "always"}), "always is not one of record, judge, require"),
        (json!({"anchors": ["Ours"]}), "the name of a set of anchors has 1 to 64 of the characters"),
        (json!({"stale_metadata": "ignore"}), "ignore is not one of use, distrust"),
        (json!({"enterprise": true}), "invalid type: boolean `true`, expected a string"),
        (json!({"aaguids_denied": ["none"]}), "UUID parsing failed"),
        (json!({"allow_sha1": true}), "allow_sha1"),
        (json!({"trust": "require", "anchors": []}), "it demands trusted statements and has no anchors"),
        (json!({"required": true, "formats": []}), "it demands a statement and accepts no format of one"),
    ] {
        let mut bad = config.clone();
        bad["settings"]["attestation"] = attestation.clone();
        std::fs::write(&file, bad.to_string()).unwrap();
        let said = refusal(&server, 2, &["tenant", "config", "set", &tenant.id, file.to_str().unwrap()]);
        assert!(said.contains(expected), "{attestation}: {said}");
    }
    assert_eq!(ask(&server, &["tenant", "config", "get", &tenant.id]), config);
}
