//! The names that exist, and the nearest right one to a wrong one.

/// A section and its keys, in the order of the sample file.
pub(super) type Section = (&'static str, &'static [&'static str]);

/// Every section and key.
pub(super) const SECTIONS: &[Section] = &[
    ("database", &["url", "max_connections"]),
    (
        "http",
        &[
            "public_address",
            "admin_address",
            "public_url",
            "body_limit_bytes",
            "header_timeout_ms",
            "body_timeout_ms",
            "shutdown_timeout_ms",
            "max_connections",
            "trusted_proxies",
        ],
    ),
    (
        "hsm",
        &[
            "module",
            "token",
            "token_label",
            "token_serial",
            "pin_file",
            "pin_credential",
            "pin_env",
            "pin_operator",
            "signers",
            "sessions",
            "max_in_flight",
            "sign_timeout_ms",
            "hang_timeout_ms",
            "hashing",
            "env",
        ],
    ),
    (
        "admin",
        &[
            "socket",
            "authentication",
            "tls_certificate",
            "tls_key",
            "client_ca",
            "cors_origins",
            "dual_control",
            "approval_hours",
            "deletion_grace_hours",
        ],
    ),
    ("keys", &["scheduler", "generations_per_minute", "follow_ms"]),
    ("audit", &["retention_days"]),
    ("metadata", &["url", "root", "signer"]),
    ("log", &["format", "level"]),
];

/// What every variable of ours begins with.
pub(super) const PREFIX: &str = "PASSKEY_HSM_";
/// Names the configuration file.
pub(super) const CONFIG: &str = "PASSKEY_HSM_CONFIG";
/// Where the next test's process dies (builds with failpoints only).
pub(super) const FAILPOINT: &str = "PASSKEY_HSM_FAILPOINT";
/// A filter of tracing's kind; stands above `log.level`.
pub(super) const LOG: &str = "PASSKEY_HSM_LOG";
/// The variable with an admin token, for commands.
pub const ADMIN_TOKEN: &str = "PASSKEY_HSM_ADMIN_TOKEN";
/// The variables of ours that are no key. `PASSKEY_HSM_PIN` is the name that `pin_env` usually has.
pub(super) const OTHER_VARIABLES: &[&str] = &[CONFIG, FAILPOINT, LOG, ADMIN_TOKEN, "PASSKEY_HSM_PIN"];

/// The one table among the keys: its entries are `PASSKEY_HSM_HSM__ENV__<NAME>`.
pub(super) const ENV_TABLE: (&str, &str) = ("hsm", "env");

/// The section of that name and its keys.
pub(super) fn section(name: &str) -> Option<Section> {
    SECTIONS.iter().find(|(section, _)| *section == name).copied()
}

/// The variable that overrides a key: `PASSKEY_HSM_HTTP__PUBLIC_URL`.
pub(super) fn variable(section: &str, key: &str) -> String {
    format!("{PREFIX}{}__{}", section.to_uppercase(), key.to_uppercase())
}

/// The section and the key that `variable` overrides.
pub(super) fn of_variable(name: &str) -> Option<(&'static str, &'static str)> {
    all().find(|(section, key)| variable(section, key) == name)
}

/// Every pair of section and key.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    SECTIONS.iter().flat_map(|(section, keys)| keys.iter().map(move |key| (*section, *key)))
}

/// Where `key`, found in `[section]`, should probably stand: ` (did you mean ..?)` or what there is.
pub(super) fn suggest_key(section: Section, key: &str) -> String {
    let (name, keys) = section;
    if let Some(near) = nearest(key, keys.iter().copied()) {
        return format!("did you mean {name}.{near}?");
    }
    if let Some((other, key)) = all().find(|(other, candidate)| *other != name && *candidate == key) {
        return format!("did you mean {other}.{key}?");
    }
    format!("[{name}] has {}", keys.join(", "))
}

/// Which section `name`, found at the top, should probably be, or which section it should stand in.
pub(super) fn suggest_section(name: &str) -> String {
    if let Some((section, key)) = all().find(|(_, key)| *key == name) {
        return format!("did you mean {section}.{key}?");
    }
    let sections = || SECTIONS.iter().map(|(section, _)| *section);
    match nearest(name, sections()) {
        Some(near) => format!("did you mean [{near}]?"),
        None => format!("there is {}", sections().map(|s| format!("[{s}]")).collect::<Vec<_>>().join(", ")),
    }
}

/// Which variable `name` should probably be.
pub(super) fn suggest_variable(name: &str) -> String {
    let known = all().map(|(section, key)| variable(section, key)).chain(OTHER_VARIABLES.iter().map(|name| (*name).to_owned()));
    let known: Vec<String> = known.filter_map(|name| Some(name.strip_prefix(PREFIX)?.to_owned())).collect();
    match nearest(name.strip_prefix(PREFIX).unwrap_or(name), known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {PREFIX}{near}?"),
        None => format!("the form is {PREFIX}<SECTION>__<KEY>, for example {}", variable("database", "url")),
    }
}

/// The candidate with the fewest edits, when they are few for a name of that length.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(2);
    let scored = candidates.map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate));
    scored.filter(|(edits, _)| *edits <= limit).min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}
