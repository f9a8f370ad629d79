//! `inspect`: the vectors, and everything that a file may be instead of evidence.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::support::{
    authenticator::{Draft, Format},
    certificates::Maker,
    keys::Algorithm,
    server::{fed, text},
};

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
        (6, "recursion limit"),
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
