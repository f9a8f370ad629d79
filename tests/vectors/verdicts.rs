//! Every published ceremony gets the verdict that it should.

use crate::corpus::{self, AUTHENTICATION, Vector};

/// Checks each vector, prints every wrong verdict and how many were checked, and fails if there is a wrong one or too few of any kind.
fn judge(name: &str, vectors: &[Vector], least_accepted: usize, least_refused: usize) {
    let (mut accepted, mut refused, mut open) = (0, 0, 0);
    let mut wrong = Vec::new();
    for vector in vectors {
        let verdict = vector.verdict();
        let right = match vector.expected.as_str() {
            "accept" => verdict.is_ok(),
            "reject" => verdict.is_err(),
            other => panic!("{}: expected {other}?", vector.name),
        };
        let line = format!("{}: expected {} ({}), got {:?}", vector.name, vector.expected, vector.reason, verdict.as_ref().err());
        if vector.may_differ {
            open += 1;
            eprintln!("open, {}: {line}", if right { "as expected" } else { "otherwise" });
        } else if !right {
            wrong.push(line);
        } else if verdict.is_ok() {
            accepted += 1;
        } else {
            refused += 1;
        }
    }
    eprintln!("{name}: {accepted} accepted, {refused} refused, {open} open");
    assert!(wrong.is_empty(), "{} wrong verdicts:\n{}", wrong.len(), wrong.join("\n"));
    assert!(accepted >= least_accepted && refused >= least_refused, "{name}: too few vectors");
}

#[test]
fn ours() {
    judge("ours.jsonl", &corpus::ours(), 52, 79);
}

#[test]
fn third_party() {
    if let Some(vectors) = corpus::third_party() {
        judge("third-party.jsonl", &vectors, 33, 9);
    }
}

#[test]
fn our_authentications() {
    judge("authentications of ours.jsonl", &corpus::ours_of(AUTHENTICATION), 41, 25);
}

#[test]
fn third_party_authentications() {
    if let Some(vectors) = corpus::third_party_of(AUTHENTICATION) {
        judge("authentications of third-party.jsonl", &vectors, 15, 6);
    }
}

/// Genuine statements come with their makers' roots: those lead to them, whether or not the vector is about that.
#[test]
fn genuine_chains_lead_to_their_anchors() {
    let vectors = corpus::ours().into_iter().chain(corpus::third_party().unwrap_or_default());
    let anchored = vectors.filter(|v| v.expected == "accept" && v.has_anchors());
    let mut checked = 0;
    for vector in anchored {
        if vector.may_differ && vector.verify(false).is_err() {
            continue;
        }
        let registration = vector.verify(true).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(registration.attestation.trust.as_str(), "trusted", "{}", vector.name);
        checked += 1;
    }
    assert!(checked >= 3, "{checked}");
}
