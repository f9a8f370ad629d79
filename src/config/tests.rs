use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::*;

const MINIMAL: &str = r#"
[database]
url = "sqlite:p.db"
[http]
public_url = "https://passkeys.example.org"
[hsm]
module = "lib/module.so"
token_label = "passkey-hsm"
"#;

fn env(vars: &[(&str, &str)]) -> std::vec::IntoIter<(OsString, OsString)> {
    vars.iter().map(|(k, v)| (k.into(), v.into())).collect::<Vec<_>>().into_iter()
}

/// Loads `text` as a file of its own directory, with `vars` as the environment.
fn load(text: &str, vars: &[(&str, &str)]) -> (tempfile::TempDir, Result<Config, ConfigError>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passkey-hsm.toml");
    fs::write(&path, text).unwrap();
    let config = Config::load(Some(&path), &mut env(vars));
    (dir, config)
}

fn accepted(text: &str, vars: &[(&str, &str)]) -> Config {
    load(text, vars).1.unwrap_or_else(|error| panic!("{error}"))
}

/// What is said, without the directory.
fn refused(text: &str, vars: &[(&str, &str)]) -> String {
    let (dir, config) = load(text, vars);
    let error = config.expect_err(text).to_string();
    error.replace(&format!("{}/", dir.path().display()), "")
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text with every commented key made a key: `#key = value` (a comment for people has a space after the `#`).
fn uncommented(text: &str) -> String {
    let key = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase());
    text.lines().map(|line| line.strip_prefix('#').filter(|rest| key(rest)).unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn keys_of(text: &str) -> BTreeSet<(String, String)> {
    let table: toml::Table = text.parse().unwrap();
    let section = |(name, keys): (&String, &toml::Value)| {
        let keys = keys.as_table().unwrap().keys();
        keys.map(|key| (name.clone(), key.clone())).collect::<Vec<_>>()
    };
    table.iter().flat_map(section).collect()
}

#[test]
fn the_sample_has_every_key_that_is_known_and_shows_the_defaults() {
    let sample = fs::read_to_string(repository("docs/passkey-hsm.example.toml")).unwrap();
    let known: BTreeSet<_> = keys::all().map(|(section, key)| (section.to_owned(), key.to_owned())).collect();
    assert_eq!(keys_of(&uncommented(&sample)), known);

    let as_it_stands = accepted(&sample, &[]);
    // All keys at once but the examples that exclude each other: every value is of the right kind, and the defaults are as stated.
    let examples = ["token_label", "token_serial", "pin_file", "pin_credential", "pin_env", "env"];
    let all = uncommented(&sample);
    let defaults: Vec<_> = all.lines().filter(|line| !examples.iter().any(|key| line.starts_with(&format!("{key} =")))).collect();
    let written_out = accepted(&defaults.join("\n"), &[]);
    let shown = |config: &Config| format!("{:?} {:?} {:?} {:?}", config.database, config.http, config.hsm, config.log);
    assert_eq!(shown(&written_out), shown(&as_it_stands));
    for example in ["token_label", "token_serial", "pin_file", "pin_credential", "pin_env", "env"] {
        let line = all.lines().find(|line| line.starts_with(&format!("{example} ="))).unwrap();
        let text = MINIMAL.replace("token_label = \"passkey-hsm\"", line);
        let text = if example.starts_with("token") { text } else { format!("{text}token_label = \"passkey-hsm\"\n") };
        accepted(&text, &[]);
    }
}

#[test]
fn every_device_sample_is_accepted_with_and_without_its_commented_keys() {
    let rest = "[database]\nurl = \"sqlite:p.db\"\n[http]\npublic_url = \"https://passkeys.example.org\"\n";
    let mut devices = BTreeSet::new();
    for entry in fs::read_dir(repository("hsm-config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let device = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let config = accepted(&format!("{text}\n{rest}"), &[]);
        assert!(config.hsm.pin_env.is_none(), "{device}: a PIN from the environment is for development");
        for (section, key) in keys_of(&uncommented(&text)) {
            assert!(section == "hsm" && keys::all().any(|known| known == ("hsm", key.as_str())), "{device}: {section}.{key}");
        }
        devices.insert(device);
    }
    let expected = ["aws-cloudhsm", "entrust-nshield", "kryoptic", "softhsm2", "thales-luna", "tpm2", "utimaco", "yubihsm2"];
    assert_eq!(devices, expected.map(str::to_owned).into());
}

#[test]
fn asks_for_exactly_the_known_keys() {
    // A section that forgot a known key would leave it unread: each key, set to what it cannot be, must be complained about.
    for (section, key) in keys::all() {
        let text = MINIMAL.lines().filter(|line| !line.starts_with(&format!("{key} ="))).collect::<Vec<_>>().join("\n");
        let text = match text.split_once(&format!("[{section}]")) {
            Some((before, after)) => format!("{before}[{section}]\n{key} = 1.5{after}"),
            None => format!("{text}\n[{section}]\n{key} = 1.5\n"),
        };
        let error = refused(&text, &[]);
        assert!(error.contains(&format!("{section}.{key} must ")) && error.contains("found a number with a fraction"), "{error}");
    }
}

#[test]
fn every_key_can_be_overridden_by_a_variable() {
    for (section, key) in keys::all().filter(|key| *key != keys::ENV_TABLE) {
        let wrong = if matches!(key, "trusted_proxies" | "cors_origins") { "/" } else { "" };
        let name = keys::variable(section, key);
        let error = refused(MINIMAL, &[(&name, wrong)]);
        assert!(error.contains(&format!("environment variable {name}: {section}.{key}")), "{error}");
    }
}

#[test]
fn relative_paths_start_at_the_files_directory() {
    let (dir, config) = load(&format!("{MINIMAL}pin_file = \"secret/pin\""), &[]);
    let config = config.unwrap();
    assert_eq!(config.file.unwrap(), dir.path().join("passkey-hsm.toml"));
    assert_eq!(config.hsm.module, dir.path().join("lib/module.so"));
    assert_eq!(config.hsm.pin_file.unwrap(), dir.path().join("secret/pin"));
    assert_eq!(config.database.url.expose(), format!("sqlite:{}/p.db", dir.path().display()));
}

#[test]
fn unknown_names_are_refused_with_the_nearest_right_one() {
    for (line, expected) in [
        ("pin_fil = \"x\"", "passkey-hsm.toml:9:1: unknown key hsm.pin_fil: did you mean hsm.pin_file?"),
        ("max_conections = 3", "did you mean http.max_connections?"),
        ("public_url = \"x\"", "unknown key hsm.public_url: did you mean http.public_url?"),
        ("slot = 3", "unknown key hsm.slot: [hsm] has module, token, token_label"),
        ("[htpp]", "passkey-hsm.toml:9:2: unknown key or section htpp: did you mean [http]?"),
        (
            "[storage]\nurl = \"x\"",
            "unknown key or section storage: there is [database], [http], [hsm], [admin], [keys], [audit], [metadata], [log]",
        ),
        ("[http.limits]\nbody = 3", "unknown key http.limits: "),
    ] {
        let text =
            if line.starts_with("max_") { MINIMAL.replace("[http]", &format!("[http]\n{line}")) } else { format!("{MINIMAL}{line}\n") };
        let error = refused(&text, &[]);
        assert!(error.contains(expected), "{line}: {error}");
    }
    let error = refused(&format!("module = \"x\"\n{MINIMAL}"), &[]);
    assert!(error.contains("unknown key or section module: did you mean hsm.module?"), "{error}");
}

#[test]
fn unknown_variables_of_ours_are_refused() {
    for (name, expected) in [
        ("PASSKEY_HSM_DATABASE_URL", "did you mean PASSKEY_HSM_DATABASE__URL?"),
        ("PASSKEY_HSM_HSM__PINFILE", "did you mean PASSKEY_HSM_HSM__PIN_FILE?"),
        ("PASSKEY_HSM_CONFG", "did you mean PASSKEY_HSM_CONFIG?"),
        ("PASSKEY_HSM_SOMETHING", "the form is PASSKEY_HSM_<SECTION>__<KEY>"),
        ("PASSKEY_HSM_database__url", "is not known"),
        ("PASSKEY_HSM_HSM__ENV", "hsm.env must be a table"),
    ] {
        let error = refused(MINIMAL, &[(name, "x")]);
        assert!(error.contains(expected), "{name}: {error}");
        assert!(error.starts_with(&format!("environment variable {name}: ")), "{error}");
    }
    let others =
        [("PASSKEY_HSM_LOG", ""), ("PASSKEY_HSM_PIN", "1"), ("PASSKEY_HSM_FAILPOINT", "x"), ("PATH", "/bin"), ("PASSKEY_HSMX", "1")];
    accepted(MINIMAL, &others);
    accepted(&format!("{MINIMAL}pin_env = \"PASSKEY_HSM_MY_PIN\""), &[("PASSKEY_HSM_MY_PIN", "1")]);
}

#[test]
fn the_environment_stands_above_the_file() {
    let text = format!("{MINIMAL}env = {{ A = \"file\", B = \"file\" }}\n[log]\nlevel = \"warn\"");
    let config = accepted(
        &text,
        &[
            ("PASSKEY_HSM_DATABASE__URL", "postgres://anna:s3cret@db/p"),
            ("PASSKEY_HSM_DATABASE__MAX_CONNECTIONS", "7"),
            ("PASSKEY_HSM_HTTP__PUBLIC_ADDRESS", "[::1]:9000"),
            ("PASSKEY_HSM_HTTP__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
            ("PASSKEY_HSM_HSM__ENV__B", "variable"),
            ("PASSKEY_HSM_HSM__SIGN_TIMEOUT_MS", "3000"),
            ("PASSKEY_HSM_HSM__HASHING", "combined"),
            ("PASSKEY_HSM_LOG__FORMAT", "json"),
            ("PASSKEY_HSM_LOG", "info,passkey_hsm::hsm=debug"),
        ],
    );
    assert_eq!(config.database.url.expose(), "postgres://anna:s3cret@db/p");
    assert_eq!(config.database.max_connections, 7);
    assert_eq!(config.http.public_address.to_string(), "[::1]:9000");
    assert_eq!(config.http.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
    assert_eq!(config.hsm.env.iter().collect::<Vec<_>>(), [("A", "file"), ("B", "variable")]);
    assert_eq!(config.hsm.sign_timeout, Duration::from_secs(3));
    assert_eq!(config.hsm.hashing, Hashing::Combined);
    assert_eq!((config.log.format, config.log.level), (LogFormat::Json, tracing::Level::WARN));
    assert_eq!(config.log.filter.as_deref(), Some("info,passkey_hsm::hsm=debug"));
    assert!(!format!("{config:?}").contains("s3cret") && !format!("{config:?}").contains("variable"), "{config:?}");
}

#[test]
fn wrong_values_name_the_key_the_place_and_what_is_expected() {
    for (from, to, expected) in [
        ("\"sqlite:p.db\"", "7", "passkey-hsm.toml:3:1: database.url must be a database URL; found an integer"),
        ("\"sqlite:p.db\"", "\"mysql://a:s3cret@db/p\"", "database.url must be sqlite:PATH or postgres://"),
        ("\"sqlite:p.db\"", "\"sqlite:p.db\"\nmax_connections = \"x\"", "must be a whole number from 1 to 10000; found a string"),
        ("\"sqlite:p.db\"", "\"sqlite:p.db\"\nmax_connections = 0", "must be a whole number from 1 to 10000; found 0"),
        ("\"sqlite:p.db\"", "\"sqlite:p.db\"\nmax_connections = -1", "found -1"),
        ("\"https://passkeys.example.org\"", "\"passkeys.example.org\"", "http.public_url is not a URL"),
        ("\"https://passkeys.example.org\"", "\"https://u:s3cret@passkeys.example.org\"", "must be scheme, host, port and path alone"),
        ("\"https://passkeys.example.org\"", "\"https://p.example\"\npublic_address = \"8000\"", "must be an address and port such as"),
        (
            "\"https://passkeys.example.org\"",
            "\"https://p.example\"\nadmin_address = \"127.0.0.1:8000\"",
            "must differ from http.public_address",
        ),
        ("\"https://passkeys.example.org\"", "\"https://p.example\"\ntrusted_proxies = [\"10.1.0.0/8\"]", "write 10.0.0.0/8"),
        ("\"https://passkeys.example.org\"", "\"https://p.example\"\ntrusted_proxies = [1]", "must be an array of strings"),
        ("\"lib/module.so\"", "\"\"", "hsm.module is empty: write a path"),
        ("\"passkey-hsm\"", "\"a\"\ntoken = \"pkcs11:token=a\"", "hsm.token_label and hsm.token (passkey-hsm.toml:9:1) are both set"),
        ("token_label = \"passkey-hsm\"", "token = \"passkey-hsm\"", "a label alone belongs in token_label"),
        ("token_label = \"passkey-hsm\"", "token = \"pkcs11:token=a?pin-value=s3cret\"", "must not carry a PIN"),
        ("\"passkey-hsm\"", "\"a\"\npin_file = \"p\"\npin_env = \"P\"", "hsm.pin_env and hsm.pin_file (passkey-hsm.toml:9:1) are both set"),
        (
            "\"passkey-hsm\"",
            "\"a\"\npin_operator = \"on\"\npin_file = \"p\"",
            "hsm.pin_operator and hsm.pin_file (passkey-hsm.toml:10:1) are both set",
        ),
        ("\"passkey-hsm\"", "\"a\"\npin_operator = \"yes\"", "hsm.pin_operator must be \"on\" or \"off\"; found \"yes\""),
        ("\"passkey-hsm\"", "\"a\"\npin_credential = \"../pin\"", "not a path"),
        ("\"passkey-hsm\"", "\"a\"\nhashing = \"Raw\"", "hsm.hashing must be \"raw\" or \"combined\"; found \"Raw\""),
        ("\"passkey-hsm\"", "\"a\"\nenv = { A = 3 }", "must hold strings; A is an integer"),
        ("\"passkey-hsm\"", "\"a\"\nenv = { PASSKEY_HSM_HSM__TOKEN = \"b\" }", "are not passed this way"),
        ("\"passkey-hsm\"", "\"s3cret", "passkey-hsm.toml:8:"),
        ("[hsm]", "[database]", "duplicate key"),
    ] {
        let error = refused(&MINIMAL.replacen(from, to, 1), &[]);
        assert!(error.contains(expected), "{to}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn tells_everything_that_is_wrong_at_once() {
    let error = refused("[database]\n[http]\n[hsm]\nslots = 1\n[log]\nlevel = 3", &[("PASSKEY_HSM_X", "1")]);
    for expected in [
        "database.url is missing",
        "http.public_url is missing",
        "hsm.module is missing",
        "hsm.token is missing",
        "hsm.slots",
        "log.level",
        "PASSKEY_HSM_X",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn finds_the_file_by_argument_then_by_variable() {
    let (dir, _) = load(MINIMAL, &[]);
    let path = dir.path().join("passkey-hsm.toml");
    let variable = [("PASSKEY_HSM_CONFIG", path.to_str().unwrap())];
    assert_eq!(Config::load(None, &mut env(&variable)).unwrap().file.as_ref(), Some(&path));
    let missing = dir.path().join("other.toml");
    let error = Config::load(Some(&missing), &mut env(&variable)).unwrap_err().to_string();
    assert!(error.contains("other.toml: cannot be read: "), "{error}");
}

#[test]
fn the_signer_learns_its_own_part_only() {
    let (dir, _) = load(MINIMAL, &[]);
    let path = dir.path().join("signer.toml");
    fs::write(&path, "[database]\n[hsm]\nmodule = \"m.so\"\ntoken = \"pkcs11:token=a\"\npin_env = \"P\"\nenv = { SOFTHSM2_CONF = \"/c\" }")
        .unwrap();
    assert_eq!(SignerConfig::load(Some(&path), &mut env(&[])).unwrap().hsm.token.as_deref(), Some("pkcs11:token=a"));
    fs::write(&path, "[datbase]\n[hsm]\nmodule = \"m.so\"\ntoken = \"pkcs11:token=a\"").unwrap();
    assert!(SignerConfig::load(Some(&path), &mut env(&[])).unwrap_err().to_string().contains("did you mean [database]?"));

    let config = accepted(&format!("{MINIMAL}pin_env = \"P\"\nenv = {{ SOFTHSM2_CONF = \"/c\" }}"), &[]);
    let vars = [
        ("PASSKEY_HSM_DATABASE__URL", "postgres://a:b@c/d"),
        ("PASSKEY_HSM_HSM__SESSIONS", "3"),
        ("PASSKEY_HSM_LOG", "debug"),
        ("P", "1234"),
        ("CREDENTIALS_DIRECTORY", "/run/credentials"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ];
    let names: Vec<_> = config.signer_environment(&mut env(&vars)).into_iter().map(|(name, _)| name.into_string().unwrap()).collect();
    assert_eq!(names, ["PASSKEY_HSM_HSM__SESSIONS", "PASSKEY_HSM_LOG", "P", "SOFTHSM2_CONF"]);
}
