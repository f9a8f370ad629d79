//! From a parsed configuration to running parts.

use std::{
    env,
    ffi::OsString,
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::runtime;

use super::{Failure, terminal::ask_pin};
use crate::{
    config::{self, Config},
    domain::{Actor, ReplicaId, RequestMeta, SystemClock, SystemRng, Timestamp, rsa_bits},
    hsm::{Activation, Hashing, PinSource, Signer, SignerCommand, SignerOptions, TokenAddress, TokenConfig},
    services::{By, Context, Governance, RootSecret, Services, Trust},
    storage::Store,
    telemetry,
};

/// A configuration, read and found to be sound, with logging under way.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) config: Config,
}

impl Setup {
    /// Reads `file` (or the default one, or none) and the environment, and begins to log.
    pub(super) fn load(file: Option<&Path>) -> Result<Self, Failure> {
        let config = Config::load(file, &mut env::vars_os()).map_err(|e| Failure::usage(e.to_string()))?;
        telemetry::init_logs(&config.log).map_err(|e| Failure::usage(e.to_string()))?;
        Ok(Self { config })
    }

    /// The same for commands whose own requests are nothing to tell of: only what goes wrong is logged, unless the environment asks for more.
    pub(super) fn quiet(file: Option<&Path>) -> Result<Self, Failure> {
        let config = Config::load(file, &mut env::vars_os()).map_err(|e| Failure::usage(e.to_string()))?;
        let log = config::Log { level: config.log.level.min(tracing::Level::WARN), ..config.log.clone() };
        telemetry::init_logs(&log).map_err(|e| Failure::usage(e.to_string()))?;
        Ok(Self { config })
    }

    /// Connects to the database.
    pub(super) async fn open_store(&self) -> Result<Store, Failure> {
        let database = &self.config.database;
        Store::open(database.url.expose(), database.max_connections).await.map_err(|e| {
            let why = Failure::from_error(&e);
            Failure::new(format!("the database {} cannot be opened: {why}", database.url.redacted()))
        })
    }

    /// The use cases, with a signer that has no processes: for commands that need no HSM.
    pub(super) async fn services_without_signer(&self) -> Result<Services, Failure> {
        self.build(0).await
    }

    /// The use cases, with one signer process of their own: for commands.
    pub(super) async fn services(&self) -> Result<Services, Failure> {
        self.build(1).await
    }

    /// The use cases, with as many signer processes as configured, and the trust store: for servers.
    pub(super) async fn server_services(&self) -> Result<Services, Failure> {
        let services = self.build(self.config.hsm.signers).await?;
        services.context.trust.refresh(&services.context.store).await?;
        Ok(services)
    }

    async fn build(&self, processes: usize) -> Result<Services, Failure> {
        let store = self.open_store().await?;
        let pending = store.pending_migrations().await?;
        if !pending.is_empty() {
            return Err(Failure::new(format!("the database lacks {} migration(s): run `passkey-hsm migrate`", pending.len())));
        }
        Ok(Services::new(Context {
            store,
            signer: Signer::start(self.signer_options(processes)),
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
            public_url: Arc::new(self.config.http.public_url.clone()),
            trust: Trust::default(),
            root_secret: RootSecret::default(),
            replica: ReplicaId::random(&SystemRng),
            governance: Arc::new(governance(&self.config)),
        }))
    }

    /// Waits until a signer process is up; if none comes up, says what the last one said. Where the PIN is the operator's, it is asked for.
    pub(super) async fn signer_ready(&self, services: &Services) -> Result<(), Failure> {
        let signer = &services.context.signer;
        if signer.status().activation == Activation::Waiting {
            return Ok(signer.activate(Some(ask_pin(&token_name(&self.config.hsm))?)).await?);
        }
        let Err(error) = signer.wait_ready(self.signer_options(1).start_limit).await else { return Ok(()) };
        let last = signer.status().processes.into_iter().find_map(|process| process.last_error);
        let why = last.filter(|last| !error.to_string().contains(last.as_str())).map(|last| format!(": {last}")).unwrap_or_default();
        Err(Failure::new(format!("{error}{why}; `passkey-hsm doctor` says more")))
    }

    fn signer_options(&self, processes: usize) -> SignerOptions {
        let hsm = &self.config.hsm;
        SignerOptions {
            processes,
            max_in_flight: hsm.max_in_flight,
            sign_deadline: hsm.sign_timeout,
            hang_limit: hsm.hang_timeout,
            keeper: hsm.pin_operator.then(Self::keeper_command),
            ..SignerOptions::new(self.signer_command(&[]))
        }
    }

    /// This very program as the keeper of the operator's PIN, with nothing from its environment.
    fn keeper_command() -> SignerCommand {
        SignerCommand { program: own_program(), args: vec!["pin-keeper".into()], env: Vec::new() }
    }

    /// This very program as a signer process, with the environment that a signer needs and no more.
    pub(super) fn signer_command(&self, more: &[&str]) -> SignerCommand {
        let file = self.config.file.iter().flat_map(|file| ["--config".into(), file.into()]);
        let args = file.chain(["signer".into()]).chain(more.iter().map(OsString::from)).collect();
        SignerCommand { program: own_program(), args, env: self.config.signer_environment(&mut env::vars_os()) }
    }
}

/// The running binary even when an upgrade has replaced its file: both ends of the protocol are always of one build.
fn own_program() -> PathBuf {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { own } else { env::current_exe().unwrap_or_else(|_| "passkey-hsm".into()) }
}

/// A name for people: not empty, one line, and no longer than a line.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().count() > 200 || text.chars().any(char::is_control) {
        return Err("a name has 1 to 200 characters, and no control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// An instant of RFC 3339.
pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|e| format!("{text:?} is not a time such as 2026-01-31T12:00:00Z: {e}"))?;
    let millis = i64::try_from(instant.unix_timestamp_nanos().div_euclid(1_000_000)).ok();
    millis.map(Timestamp::from_millis).ok_or_else(|| format!("{text:?} is out of range"))
}

/// A size that RSA keys are made in.
pub(super) fn parse_rsa_bits(text: &str) -> Result<u32, String> {
    let bits = text.parse::<u32>().map_err(|e| e.to_string())?;
    rsa_bits(bits).map_err(|e| e.to_string())
}

/// The configured token, for a person.
pub(super) fn token_name(hsm: &config::Hsm) -> String {
    let named = [&hsm.token, &hsm.token_label, &hsm.token_serial].into_iter().flatten().next();
    named.map_or_else(|| "the token".to_owned(), |name| format!("token {name}"))
}

/// What this host is called, as servers write it down.
pub(super) fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// Whoever runs this command, for the audit log.
pub(super) fn by() -> By {
    By { actor: Actor::Local { uid: uid() }, reason: None, meta: RequestMeta::default() }
}

/// The user id of whoever runs this command.
pub(super) fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Runs a command's future on a runtime of its own.
pub(super) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(command)
}

/// `[admin]`, `[keys]` and `[audit]` as the services take them.
fn governance(config: &Config) -> Governance {
    Governance {
        dual_control: config.admin.dual_control,
        approval_limit: config.admin.approval_limit,
        deletion_grace: config.admin.deletion_grace,
        audit_retention: config.audit.retention,
        scheduler: config.keys.scheduler,
        generations_per_minute: config.keys.generations_per_minute,
        follow_interval: config.keys.follow_interval,
    }
}

/// The `[hsm]` section as the HSM engine takes it.
pub(super) fn token_config(hsm: &config::Hsm, manage_keys: bool) -> Result<TokenConfig, Failure> {
    let token = match &hsm.token {
        Some(uri) => uri.parse::<TokenAddress>(),
        None => TokenAddress::new(hsm.token_label.clone(), hsm.token_serial.clone()),
    };
    let pin = match (&hsm.pin_file, &hsm.pin_credential, &hsm.pin_env) {
        (Some(file), ..) => PinSource::File(file.clone()),
        (_, Some(name), _) => PinSource::Credential(name.clone()),
        (.., Some(name)) => PinSource::Env(name.clone()),
        _ if hsm.pin_operator => PinSource::Operator,
        _ => PinSource::Keypad,
    };
    Ok(TokenConfig {
        module: hsm.module.clone(),
        token: token.map_err(|e| Failure::usage(format!("[hsm] token: {e}")))?,
        pin,
        sessions: hsm.sessions,
        hashing: match hsm.hashing {
            config::Hashing::Raw => Hashing::Raw,
            config::Hashing::Combined => Hashing::Combined,
        },
        manage_keys,
    })
}
