//! `inspect`: the vectors, and everything that a file may be instead of evidence.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value, json};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::sha::sha256;

use crate::support::{
    assertion::AssertionDraft,
    authenticator::{Draft, Format},
    cbor::Cbor,
    certificates::Maker,
    keys::Algorithm,
    server::{fed, text},
};

const ORIGIN: &str = "http://localhost:8000";

/// Where a line says nothing of the time.
const NOW: &str = "2026-11-01T00:00:00Z";

/// Runs `inspect` with no configuration at all: it needs none.
fn inspect(input: &[u8], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_passkey-hsm"));
    fed(command.env_clear().current_dir("/").arg("inspect").args(args), input)
}

fn findings(output: &Output) -> Vec<Value> {
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}: {}", text(output)))).collect()
}

fn complaints(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect()
}

/// Each vector's verdict is the expected one, and what is said of it is in the form that scripts rely on.
fn judge(vectors: &str, least: usize) {
    let output = inspect(vectors.as_bytes(), &["--now", NOW, "-"]);
    assert_eq!((output.status.code(), complaints(&output)), (Some(0), vec![]));
    let (expected, found): (Vec<Value>, _) = (vectors.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), findings(&output));
    assert_eq!(found.len(), expected.len());
    let mut judged = BTreeMap::<&str, usize>::new();
    for (vector, finding) in expected.iter().zip(&found) {
        let name = &vector["name"];
        assert_eq!((&finding["name"], &finding["kind"]), (name, &vector["kind"]));
        form(finding);
        if vector["may_differ"] != true {
            assert_eq!(finding["verdict"], vector["expected"], "{name}: {}: {finding}", vector["reason"]);
            *judged.entry(finding["verdict"].as_str().unwrap()).or_default() += 1;
        }
    }
    assert!(judged["accept"] >= least && judged["reject"] >= least, "{judged:?}");
}

/// The members of a finding, whatever it is.
fn form(finding: &Value) {
    for name in ["name", "kind", "verdict", "step", "reason", "fmt", "alg", "aaguid", "attestation_type", "trust", "flags", "sign_count"] {
        assert!(finding.get(name).is_some(), "no {name} in {finding}");
    }
    let is_registration = finding["kind"] == "registration";
    if finding["verdict"] == "accept" {
        assert!(finding["step"].is_null() && finding["reason"].is_null(), "{finding}");
        assert!(finding["alg"].is_i64() && finding["sign_count"].is_u64(), "{finding}");
        let flags: Vec<_> = finding["flags"].as_object().unwrap().iter().map(|(name, set)| (name.as_str(), set.is_boolean())).collect();
        assert_eq!(flags.len(), 6, "{finding}");
        assert!(flags.iter().all(|(name, is_bool)| *is_bool && ["UP", "UV", "BE", "BS", "AT", "ED"].contains(name)), "{finding}");
        for name in ["fmt", "aaguid", "attestation_type", "trust"] {
            assert_eq!(finding[name].is_string(), is_registration, "{name}: {finding}");
        }
    } else {
        assert_eq!(finding["verdict"], "reject");
        let steps = if is_registration { 3..=29 } else { 3..=27 };
        assert!(finding["step"].as_u64().is_some_and(|step| steps.contains(&step)), "{finding}");
        assert!(finding["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{finding}");
        assert!(finding["attestation_type"].is_null() && finding["trust"].is_null(), "{finding}");
    }
}

#[test]
fn our_vectors_get_their_verdicts() {
    judge(include_str!("../vectors/ours.jsonl"), 90);
}

/// They are not ours to ship: without them the test says so, and passes.
#[test]
fn other_projects_vectors_get_their_verdicts() {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors/third-party.jsonl"));
    let path = std::env::var_os("THIRD_PARTY_VECTORS").map_or_else(beside, PathBuf::from);
    match fs::read_to_string(&path) {
        Ok(vectors) => judge(&vectors, 10),
        Err(error) => {
            // Straight to stderr: what a passing test prints is captured, and this is to be seen.
            let why = format!("{}: {error}. Name their file in THIRD_PARTY_VECTORS.", path.display());
            writeln!(std::io::stderr(), "SKIPPED other projects' vectors: {why}").unwrap();
        }
    }
}

/// A line of evidence of a statement by this maker.
fn line(format: Format, maker: &Maker) -> Value {
    let challenge = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let options = json!({"publicKey": {"rp": {"id": "localhost"}, "challenge": challenge}});
    let draft = Draft { maker: maker.clone(), ..Draft::new(&options, "http://localhost:8000", format, Algorithm::Es256) };
    json!({
        "name": "one",
        "rp_id": "localhost",
        "origin": "http://localhost:8000",
        "challenge_b64url": challenge,
        "credential": draft.body(),
    })
}

fn one(value: &Value, args: &[&str]) -> Value {
    let output = inspect(value.to_string().as_bytes(), &[args, &["-"]].concat());
    assert_eq!((output.status.code(), complaints(&output)), (Some(0), vec![]));
    let [finding] = <[Value; 1]>::try_from(findings(&output)).unwrap();
    form(&finding);
    finding
}

#[test]
fn anchors_come_with_a_line_or_with_the_command() {
    let (maker, stranger) = (Maker::with_intermediate(), Maker::new());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: Vec<u8>| {
        let file = folder.path().join(name);
        fs::write(&file, pem).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (root, other) = (file("root.pem", maker.root.to_pem().unwrap()), file("other.pem", stranger.root.to_pem().unwrap()));
    let plain = line(Format::PackedX5c, &maker);
    let trust = |finding: &Value| finding["trust"].as_str().map(str::to_owned);

    let finding = one(&plain, &["--now", NOW]);
    assert_eq!((finding["verdict"].as_str(), trust(&finding)), (Some("accept"), Some("untrusted".to_owned())));
    assert!(finding["trust_reason"].as_str().unwrap().contains("no trust anchor is for it"), "{finding}");
    let finding = one(&plain, &["--now", NOW, "--anchors", &other, "--anchors", &root]);
    assert_eq!((trust(&finding), finding["trust_path"].as_array().unwrap().len()), (Some("trusted".to_owned()), 3), "{finding}");
    let finding = one(&plain, &["--now", NOW, "--anchors", &other]);
    assert_eq!((finding["verdict"].as_str(), trust(&finding)), (Some("accept"), Some("untrusted".to_owned())));
    let finding = one(&plain, &["--now", NOW, "--anchors", &other, "--check-chain"]);
    assert_eq!((finding["verdict"].as_str(), finding["step"].as_u64()), (Some("reject"), Some(24)), "{finding}");
    let finding = one(&plain, &["--now", NOW, "--anchors", &root, "--check-chain"]);
    assert_eq!((finding["verdict"].as_str(), trust(&finding)), (Some("accept"), Some("trusted".to_owned())));

    let mut own = plain.clone();
    own["trust_anchor_pem"] = json!([String::from_utf8(maker.root.to_pem().unwrap()).unwrap()]);
    own["check_chain"] = json!(true);
    assert_eq!(trust(&one(&own, &["--now", NOW])).as_deref(), Some("trusted"));
    assert_eq!(trust(&one(&own, &["--now", NOW, "--anchors", &other])).as_deref(), Some("trusted"));
    // After a line's own time, which goes before the command's, its certificates have ended.
    own["at_time"] = json!("2101-01-01T00:00:00Z");
    let finding = one(&own, &["--now", NOW]);
    assert_eq!((finding["verdict"].as_str(), finding["step"].as_u64()), (Some("reject"), Some(24)), "{finding}");
    assert!(finding["reason"].as_str().unwrap().contains("certificate has expired"), "{finding}");
    assert_eq!(one(&plain, &["--now", "2101-01-01T00:00:00Z", "--anchors", &root])["trust"], "untrusted");
    assert_eq!(one(&line(Format::None, &maker), &["--anchors", &root, "--check-chain"])["trust"], "none");

    // Wrong usage.
    let bad = file("bad.pem", b"junk".to_vec());
    for (args, code, expected) in [
        (&["--anchors", "/nowhere.pem", "-"][..], 2, "/nowhere.pem: "),
        (&["--anchors", &bad, "-"], 2, "bad.pem: a trust anchor is not an X.509 certificate"),
        (&["--check-chain", "-"], 1, "line 1: --check-chain: there is no trust anchor, neither in the line nor by --anchors"),
        (&["--now", "yesterday", "-"], 2, "is not a time such as"),
        (&["/nowhere.jsonl"], 2, "/nowhere.jsonl: "),
        (&["/"], 2, "Is a directory"),
        (&[], 2, "required"),
    ] {
        let output = inspect(plain.to_string().as_bytes(), args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains(expected), "{args:?}: {}", text(&output));
        assert!(output.stdout.is_empty(), "{args:?}: {}", text(&output));
    }
}

/// What cannot be read is named by its number, and the others are judged all the same.
#[test]
fn lines_that_are_no_evidence() {
    let good = line(Format::PackedSelf, &Maker::new()).to_string();
    let rejected = good.replace("\"rp_id\":\"localhost\"", "\"rp_id\":\"example.org\"");
    let no_time = good.replace("\"name\":\"one\"", "\"name\":\"one\",\"at_time\":\"late\"");
    let no_challenge = good.replace("\"challenge_b64url\":\"AAAA", "\"challenge_b64url\":\"????");
    let nested = format!(r#"{{"credential":{}"#, "[".repeat(100_000));
    let lines: [&[u8]; 12] = [
        good.as_bytes(),
        b"",
        b"{}",
        b"\xff\x00\x1b[2J\xfe",
        rejected.as_bytes(),
        nested.as_bytes(),
        no_time.as_bytes(),
        no_challenge.as_bytes(),
        b"  \t",
        b"null",
        br#"{"rp_id":"localhost","origin":"http://localhost:8000","challenge_b64url":"AA","credential":{"response":{"signature":"AA"}}}"#,
        good.as_bytes(),
    ];
    let output = inspect(&lines.join(&b'\n'), &["--now", NOW, "-"]);
    assert_eq!(output.status.code(), Some(1));
    let verdicts: Vec<_> = findings(&output).iter().map(|finding| finding["verdict"].clone()).collect();
    assert_eq!(verdicts, ["accept", "reject", "accept"]);
    let said = complaints(&output);
    for (said, (number, expected)) in said.iter().zip([
        (3, "missing field"),
        (4, "expected value"),
        (6, "EOF while parsing"),
        (7, "is not a time such as"),
        (8, "challenge_b64url: "),
        (10, "invalid type"),
        (11, "an authentication needs `stored`"),
    ]) {
        assert!(said.starts_with(&format!("passkey-hsm: line {number}: ")) && said.contains(expected), "{number}: {said}");
    }
    assert_eq!(said.len(), 7, "{said:?}");
    assert!(!output.stderr.contains(&0x1b), "{said:?}");

    // Evidence that is refused is no failure; nothing is no failure either.
    let output = inspect(format!("{rejected}\r\n{rejected}").as_bytes(), &["--now", NOW, "-"]);
    assert_eq!((output.status.code(), findings(&output).len()), (Some(0), 2));
    for empty in ["", "\n", " \n\r\n"] {
        let output = inspect(empty.as_bytes(), &["-"]);
        assert_eq!((output.status.code(), text(&output)), (Some(0), String::new()), "{empty:?}");
    }
}

/// A credential that is no credential is evidence all the same: of a client that sent one.
#[test]
fn credentials_that_cannot_be_parsed_are_refused() {
    for credential in [json!({}), json!("x"), Value::Null, json!({"response": {"attestationObject": "AA"}})] {
        let mut evidence = line(Format::None, &Maker::new());
        evidence["credential"] = credential.clone();
        let finding = one(&evidence, &[]);
        assert_eq!((finding["verdict"].as_str(), finding["step"].as_u64()), (Some("reject"), Some(3)), "{credential}: {finding}");
    }
}

/// A line has at most four million bytes or so; one that is longer is one line that cannot be read, whatever it ends with.
#[test]
fn lines_that_are_too_long() {
    const MAX: usize = 4 << 20;
    let good = line(Format::None, &Maker::new()).to_string();
    let padded = |length: usize| format!("{}{good}", " ".repeat(length - good.len()));
    let output = inspect(format!("{good}\n{}\n{good}", padded(MAX)).as_bytes(), &["-"]);
    assert_eq!((output.status.code(), findings(&output).len()), (Some(0), 3));
    for (length, code) in [(MAX, 0), (MAX + 1, 1)] {
        let output = inspect(padded(length).as_bytes(), &["-"]);
        assert_eq!((output.status.code(), findings(&output).len() + complaints(&output).len()), (Some(code), 1), "{length}");
    }
    for long in [padded(MAX + 1), padded(2 * MAX + good.len()), "x".repeat(3 * MAX), " ".repeat(MAX + 1)] {
        let output = inspect(format!("{good}\n{long}\n{good}\n?").as_bytes(), &["-"]);
        assert_eq!((output.status.code(), findings(&output).len()), (Some(1), 2), "{}", long.len());
        let said = complaints(&output);
        assert!(
            matches!(said.as_slice(), [one, two] if one.contains("line 2: longer than 4194304 bytes") && two.contains("line 4: ")),
            "{said:?}"
        );
    }
}

/// A reader that goes away is no reason to panic.
#[test]
fn a_closed_pipe_is_not_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evidence.jsonl");
    let good = line(Format::None, &Maker::new()).to_string();
    fs::write(&file, format!("{good}\n").repeat(500)).unwrap();
    let script = "\"$0\" inspect \"$1\" 2>err | true; echo ${PIPESTATUS[0]}; cat err";
    let done = Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_passkey-hsm")]).arg(&file).current_dir(folder.path()).output();
    assert_eq!(String::from_utf8_lossy(&done.unwrap().stdout), "0\n");
}

/// The credential is judged as it came, not as some reader understood it; an origin that is none is where no ceremony runs.
#[test]
fn a_line_is_not_read_into_shape() {
    let genuine: Value = serde_json::from_str(include_str!("../vectors/ours.jsonl").lines().next().unwrap()).unwrap();
    let found = |line: &str| {
        let output = inspect(line.as_bytes(), &["--now", NOW, "-"]);
        assert_eq!((output.status.code(), complaints(&output)), (Some(0), vec![]), "{line}");
        findings(&output).remove(0)
    };
    let text = genuine.to_string();
    assert_eq!(found(&text)["verdict"], "accept");
    let twice = text.replacen(r#""clientDataJSON":"#, r#""clientDataJSON":"AAAA","clientDataJSON":"#, 1);
    let finding = found(&twice);
    assert_eq!((&finding["verdict"], &finding["step"]), (&json!("reject"), &json!(3)), "{finding}");
    assert!(finding["reason"].as_str().unwrap().contains("there twice"), "{finding}");

    for (origins, verdict) in [(json!(["no origin", "https://example.org"]), "accept"), (json!("https://example.org/path"), "reject")] {
        let mut line = genuine.clone();
        line["origin"] = origins;
        let finding = found(&line.to_string());
        assert_eq!(finding["verdict"], verdict, "{finding}");
        assert!(verdict == "accept" || finding["step"] == 9, "{finding}");
    }
    let mut line = genuine;
    line["kind"] = json!("authentication");
    let output = inspect(line.to_string().as_bytes(), &["--now", NOW, "-"]);
    assert_eq!(output.status.code(), Some(1), "an authentication needs what was stored");
}

/// A challenge is held against a transaction where both its parts are there, and only then.
#[test]
fn a_transaction_has_an_id_and_data() {
    let options = |challenge: &[u8]| json!({"publicKey": {"rpId": "localhost", "challenge": URL_SAFE_NO_PAD.encode(challenge)}});
    let registered =
        Draft::new(&json!({"publicKey": {"rp": {"id": "localhost"}, "challenge": "AA"}}), ORIGIN, Format::None, Algorithm::Es256);
    let evidence = |challenge: &[u8]| {
        let draft = AssertionDraft::new(&options(challenge), &registered);
        let key = Cbor::Map(draft.key.cose()).encode();
        json!({
            "rp_id": "localhost",
            "origin": ORIGIN,
            "challenge_b64url": URL_SAFE_NO_PAD.encode(challenge),
            "credential": draft.body(),
            "stored": {"credential_id": draft.id(), "cose_public_key": URL_SAFE_NO_PAD.encode(key)},
        })
    };
    let with = |mut line: Value, members: Value| {
        line.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        line
    };
    let bound = evidence(&[[7; 32], sha256(br#"t1{"pay":50}"#)].concat());
    for (members, confirmed) in [
        (json!({}), Value::Null),
        (json!({"transaction_id": null, "data": null}), Value::Null),
        (json!({"transaction_id": "t1", "data": r#"{"pay":50}"#, "user_id": "ann", "token_id": 7}), json!("t1")),
    ] {
        let finding = one(&with(bound.clone(), members), &[]);
        assert_eq!((&finding["verdict"], &finding["transaction_id"]), (&json!("accept"), &confirmed), "{finding}");
    }
    for (line, id, data, reason) in [
        (&bound, "t2", r#"{"pay":50}"#, "another transaction was confirmed"),
        (&bound, "t1", r#"{"pay":51}"#, "another transaction was confirmed"),
        (&bound, "t1", r#"{"pay":50"#, "data: "),
        (&bound, "t1", r#"{ "pay": 50 }"#, "data: this is not the form that is hashed"),
        (&bound, "", r#"{"pay":50}"#, "transaction_id: "),
        (&evidence(&[7; 32]), "t1", r#"{"pay":50}"#, "the challenge is no transaction's: it has 32 bytes, not 64"),
    ] {
        let finding = one(&with(line.clone(), json!({"transaction_id": id, "data": data})), &[]);
        assert_eq!((&finding["verdict"], &finding["step"]), (&json!("reject"), &json!(11)), "{finding}");
        assert!(finding["reason"].as_str().unwrap().starts_with(reason), "{finding}");
    }
    let registration = line(Format::None, &Maker::new());
    for (line, complaint) in [
        (with(bound.clone(), json!({"transaction_id": "t1"})), "transaction_id without data"),
        (with(bound, json!({"data": "1"})), "data without transaction_id"),
        (with(registration, json!({"transaction_id": "t1", "data": "1"})), "a registration confirms no transaction"),
    ] {
        let output = inspect(line.to_string().as_bytes(), &["-"]);
        assert_eq!((output.status.code(), complaints(&output)), (Some(1), vec![format!("passkey-hsm: line 1: {complaint}")]));
    }
}

/// A counter that stands still is a reason to refuse, unless the line says otherwise; then it is told.
#[test]
fn clones_are_refused_unless_they_were_not() {
    let options = json!({"publicKey": {"rp": {"id": "localhost"}, "rpId": "localhost", "challenge": "AAAA"}});
    let draft =
        AssertionDraft { sign_count: 4, ..AssertionDraft::new(&options, &Draft::new(&options, ORIGIN, Format::None, Algorithm::Es256)) };
    let key = Cbor::Map(draft.key.cose()).encode();
    let stored = json!({"credential_id": draft.id(), "cose_public_key": URL_SAFE_NO_PAD.encode(key), "sign_count": 4});
    let line = |clones_refused: Value| {
        json!({
            "rp_id": "localhost",
            "origin": ORIGIN,
            "challenge_b64url": "AAAA",
            "credential": draft.body(),
            "stored": stored,
            "clones_refused": clones_refused,
        })
    };
    for clones_refused in [Value::Null, json!(true)] {
        let finding = one(&line(clones_refused), &[]);
        assert_eq!((&finding["verdict"], &finding["step"]), (&json!("reject"), &json!(22)), "{finding}");
    }
    let finding = one(&line(json!(false)), &[]);
    assert_eq!((&finding["verdict"], &finding["clone_suspected"]), (&json!("accept"), &json!(true)), "{finding}");
}
