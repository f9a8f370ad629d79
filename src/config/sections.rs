//! The sections, each with its defaults and bounds.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use tracing::Level;
use url::Url;
use zeroize::Zeroizing;

use super::{DatabaseUrl, governance::SWITCH, reader::Reader};
use crate::domain::Cidr;

/// `[database]`
#[derive(Debug, Clone)]
pub struct Database {
    /// Where the data is. Its password is never shown.
    pub url: DatabaseUrl,
    /// Connections that one process opens at most.
    pub max_connections: u32,
}

impl Database {
    pub(super) fn read(r: &mut Reader) -> Option<Self> {
        let url_key = ("database", "url");
        let max_connections = r.number(("database", "max_connections"), 1..=10_000, 10);
        if r.place(url_key).is_none() {
            r.missing(url_key, "url = \"sqlite:/var/lib/passkey-hsm/passkey-hsm.db\"");
        }
        let base = r.base().to_path_buf();
        let url = r.text(url_key, "a database URL", |text| DatabaseUrl::parse(text, &base))?;
        Some(Self { url, max_connections })
    }
}

/// `[http]`
#[derive(Debug, Clone)]
pub struct Http {
    /// Where applications and browsers connect.
    pub public_address: SocketAddr,
    /// Where operators and monitoring connect.
    pub admin_address: SocketAddr,
    /// How the public listener is reached from outside: the issuer of tokens starts with it. Without a query or fragment.
    pub public_url: Url,
    /// A request body of more bytes is refused unread.
    pub body_limit_bytes: usize,
    /// A connection whose request line and headers take longer is closed; the time begins when the last request was answered.
    pub header_timeout: Duration,
    /// A body that takes longer is refused.
    pub body_timeout: Duration,
    /// How long a stop waits for what was accepted.
    pub shutdown_timeout: Duration,
    /// Connections that are open at once at most, on each listener.
    pub max_connections: usize,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
}

impl Http {
    pub(super) fn read(r: &mut Reader) -> Option<Self> {
        let address = "an address and port such as \"127.0.0.1:8000\"";
        let (public_key, admin_key, url_key) = (("http", "public_address"), ("http", "admin_address"), ("http", "public_url"));
        let admin_place = r.place(admin_key).or_else(|| r.place(public_key));
        let public_address = r.parsed(public_key, address).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8000)));
        let admin_address = r.parsed(admin_key, address).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8001)));
        if let (true, Some(place)) = (public_address == admin_address && public_address.port() != 0, admin_place) {
            r.refuse(place, admin_key, "must differ from http.public_address: operators' endpoints are not for the public");
        }
        if r.place(url_key).is_none() {
            r.missing(url_key, "public_url = \"https://passkeys.example.org\"");
        }
        let public_url = r.text(url_key, "a URL such as \"https://passkeys.example.org\"", public_url);
        Some(Self {
            public_address,
            admin_address,
            body_limit_bytes: r.number(("http", "body_limit_bytes"), 1024..=16 << 20, 128 << 10),
            header_timeout: r.millis(("http", "header_timeout_ms"), 100..=300_000, 10_000),
            body_timeout: r.millis(("http", "body_timeout_ms"), 100..=300_000, 10_000),
            shutdown_timeout: r.millis(("http", "shutdown_timeout_ms"), 0..=600_000, 20_000),
            max_connections: r.number(("http", "max_connections"), 1..=1_000_000, 512),
            trusted_proxies: r.list(("http", "trusted_proxies")),
            // Last, so that the rest has been judged too.
            public_url: public_url?,
        })
    }
}

fn public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("must be http or https; found {}", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("must be scheme, host, port and path alone".to_owned());
    }
    Ok(url)
}

/// `[hsm]`: exactly what was written; `cli` turns it into the signer's types.
#[derive(Debug, Clone)]
pub struct Hsm {
    /// The vendor's PKCS#11 module, loaded by the signer processes alone.
    pub module: PathBuf,
    /// The token as a PKCS#11 URI (RFC 7512), without a PIN. Not together with the two below.
    pub token: Option<String>,
    /// The token's label.
    pub token_label: Option<String>,
    /// The token's serial number.
    pub token_serial: Option<String>,
    /// A file that holds the PIN. At most one of the four is set; with none, the token has a keypad of its own.
    pub pin_file: Option<PathBuf>,
    /// A file in `$CREDENTIALS_DIRECTORY` (systemd's `LoadCredential=`) that holds the PIN.
    pub pin_credential: Option<String>,
    /// An environment variable that holds the PIN: for development.
    pub pin_env: Option<String>,
    /// Whether an operator enters the PIN at the running server.
    pub pin_operator: bool,
    /// Signer processes.
    pub signers: usize,
    /// Sessions, and threads, of each process.
    pub sessions: usize,
    /// Signatures asked for and not yet answered, over all processes; what is above is refused at once.
    pub max_in_flight: usize,
    /// A signature that takes longer is given up.
    pub sign_timeout: Duration,
    /// A signer process of which a signing call into the module takes longer is replaced.
    pub hang_timeout: Duration,
    /// Who hashes what is signed.
    pub hashing: Hashing,
    /// Variables for the signer processes alone.
    pub env: SignerEnvironment,
}

/// Who hashes what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashing {
    /// The signer process, then a mechanism over the digest: nearly every module has these.
    Raw,
    /// The module (`CKM_ECDSA_SHA256` and its like), where a rule forbids hashing outside.
    Combined,
}

impl Hsm {
    pub(super) fn read(r: &mut Reader) -> Option<Self> {
        at_most_one(r, &["token", "token_label"]);
        at_most_one(r, &["token", "token_serial"]);
        at_most_one(r, &["pin_file", "pin_credential", "pin_env"]);
        let pin_operator = r.place(("hsm", "pin_operator"));
        let operator = r.word(("hsm", "pin_operator"), SWITCH).unwrap_or(false);
        if let (true, Some(place)) = (operator, pin_operator) {
            for other in ["pin_file", "pin_credential", "pin_env"] {
                if let Some(other_place) = r.place(("hsm", other)) {
                    r.refuse(
                        place.clone(),
                        ("hsm", "pin_operator"),
                        format_args!("and hsm.{other} ({other_place}) are both set: keep one"),
                    );
                }
            }
        }
        for (keys, example) in [
            (&["module"][..], "module = \"/usr/lib/softhsm/libsofthsm2.so\""),
            (&["token", "token_label", "token_serial"], "token = \"pkcs11:token=LABEL;serial=NUMBER\", or token_label, or token_serial,"),
        ] {
            if keys.iter().all(|key| r.place(("hsm", key)).is_none()) {
                r.missing(("hsm", keys[0]), example);
            }
        }
        let module = r.path(("hsm", "module"));
        Some(Self {
            token: r.text(("hsm", "token"), "a PKCS#11 URI such as \"pkcs11:token=LABEL\"", token_uri),
            token_label: r.parsed(("hsm", "token_label"), "a label"),
            token_serial: r.parsed(("hsm", "token_serial"), "a serial number, as a string"),
            pin_file: r.path(("hsm", "pin_file")),
            pin_credential: r.text(("hsm", "pin_credential"), "the name of a credential", credential_name),
            pin_env: r.text(("hsm", "pin_env"), "the name of a variable", |name| check_variable(name, "").map(|()| name.to_owned())),
            pin_operator: operator,
            signers: r.number(("hsm", "signers"), 1..=16, 2),
            sessions: r.number(("hsm", "sessions"), 1..=64, 2),
            max_in_flight: r.number(("hsm", "max_in_flight"), 1..=65_536, 64),
            sign_timeout: r.millis(("hsm", "sign_timeout_ms"), 50..=120_000, 2_000),
            hang_timeout: r.millis(("hsm", "hang_timeout_ms"), 50..=120_000, 500),
            hashing: r.word(("hsm", "hashing"), &[("raw", Hashing::Raw), ("combined", Hashing::Combined)]).unwrap_or(Hashing::Raw),
            env: SignerEnvironment(r.env_table(check_signer_variable)),
            module: module?,
        })
    }
}

fn at_most_one(r: &mut Reader, names: &[&'static str]) {
    let mut set = names.iter().filter_map(|name| Some((*name, r.place(("hsm", name))?)));
    if let (Some((first, first_place)), Some((second, place))) = (set.next(), set.next()) {
        drop(set);
        r.refuse(place, ("hsm", second), format_args!("and hsm.{first} ({first_place}) are both set: keep one"));
    }
}

fn token_uri(text: &str) -> Result<String, &'static str> {
    if !text.starts_with("pkcs11:") {
        return Err("must be a PKCS#11 URI such as \"pkcs11:token=LABEL\"; a label alone belongs in token_label");
    }
    // Also pin-source: there is one way to name a PIN here, and this text is shown and logged.
    if text.contains("pin-value") || text.contains("pin-source") {
        return Err("must not carry a PIN or its source: use pin_file or pin_credential");
    }
    Ok(text.to_owned())
}

fn credential_name(text: &str) -> Result<String, &'static str> {
    if text.contains('/') || text == "." || text == ".." {
        return Err("must be a file's name in $CREDENTIALS_DIRECTORY, not a path: for a path use pin_file");
    }
    Ok(text.to_owned())
}

fn check_variable(name: &str, value: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err("not the name of a variable");
    }
    if value.contains('\0') { Err("a variable cannot hold a zero byte") } else { Ok(()) }
}

fn check_signer_variable(name: &str, value: &str) -> Result<(), &'static str> {
    if name.starts_with("PASSKEY_HSM_") {
        return Err("variables of this program are not passed this way");
    }
    check_variable(name, value)
}

/// Environment variables for the signer processes. Values are not shown: some modules take a secret this way.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SignerEnvironment(BTreeMap<String, Zeroizing<String>>);

impl SignerEnvironment {
    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The names alone.
impl fmt::Debug for SignerEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least severe level that is logged.
    pub level: Level,
    /// `PASSKEY_HSM_LOG`: a filter of tracing's kind (`info,passkey_hsm::hsm=debug`) that stands above `level`.
    pub filter: Option<String>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Log {
    pub(super) fn read(r: &mut Reader) -> Self {
        let levels =
            [("error", Level::ERROR), ("warn", Level::WARN), ("info", Level::INFO), ("debug", Level::DEBUG), ("trace", Level::TRACE)];
        Self {
            format: r.word(("log", "format"), &[("text", LogFormat::Text), ("json", LogFormat::Json)]).unwrap_or(LogFormat::Text),
            level: r.word(("log", "level"), &levels).unwrap_or(Level::INFO),
            filter: r.take_log_filter(),
        }
    }
}
