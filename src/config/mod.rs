//! One TOML file and the environment, parsed into types that cannot be wrong.
//!
//! Every key lives in a section. `PASSKEY_HSM_<SECTION>__<KEY>` in the environment stands above the file. A key that nobody knows is an
//! error that names the nearest right one, so a misspelt limit is not silently the default. Relative paths are relative to the file's
//! directory, not to where the program was started. `docs/passkey-hsm.example.toml` describes every key; a test keeps it complete.
//!
//! This module serves `cli` alone, which turns [`Hsm`] into the signer's own types and hands parsed values down.

mod database_url;
mod error;
mod file;
mod governance;
mod keys;
mod metadata;
mod reader;
mod sections;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

pub use database_url::{DatabaseUrl, DatabaseUrlError};
pub use error::{ConfigError, Place, Problem};
pub use governance::{Admin, AdminAuthentication, Audit, Keys};
pub use keys::ADMIN_TOKEN as ADMIN_TOKEN_VARIABLE;
pub use metadata::Metadata;
pub use sections::{Database, Hashing, Hsm, Http, Log, LogFormat, SignerEnvironment};

use reader::Reader;

/// The file that is read when none is named, in the working directory.
pub const DEFAULT_FILE: &str = "passkey-hsm.toml";

/// The whole configuration, as `serve` needs it.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that was read, as an absolute path; none when everything came from the environment.
    pub file: Option<PathBuf>,
    /// Where tenants, credentials and audit events are stored.
    pub database: Database,
    /// The two listeners.
    pub http: Http,
    /// The PKCS#11 module, its token and the signer processes.
    pub hsm: Hsm,
    /// Who may command the server.
    pub admin: Admin,
    /// What becomes of signing keys by itself.
    pub keys: Keys,
    /// How long the audit trail is.
    pub audit: Audit,
    /// FIDO metadata.
    pub metadata: Metadata,
    /// What is logged, and how.
    pub log: Log,
}

impl Config {
    /// Reads `path`, or the file that `PASSKEY_HSM_CONFIG` names, or `./passkey-hsm.toml` where there is one.
    ///
    /// `env` is the whole environment; what is not called `PASSKEY_HSM_..` is left alone.
    ///
    /// # Errors
    /// Every problem found, each with its place. No text in it contains a secret.
    pub fn load(path: Option<&Path>, env: &mut dyn Iterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let mut reader = Reader::open(path, env)?;
        let database = Database::read(&mut reader);
        let http = Http::read(&mut reader);
        let hsm = Hsm::read(&mut reader);
        let (admin, keys, audit) = (Admin::read(&mut reader), Keys::read(&mut reader), Audit::read(&mut reader));
        let metadata = Metadata::read(&mut reader);
        let log = Log::read(&mut reader);
        let file = reader.file().map(Path::to_path_buf);
        match (database, http, hsm, metadata, reader.finish()) {
            (Some(database), Some(http), Some(hsm), Some(metadata), Ok(())) => {
                Ok(Self { file, database, http, hsm, admin, keys, audit, metadata, log })
            }
            (_, _, _, _, finished) => Err(finished.err().unwrap_or_default()),
        }
    }

    /// The whole environment of a signer process.
    ///
    /// The overrides of `[hsm]` and `[log]` taken from `env`, the variable that `pin_env` names, the directory that `pin_credential` is
    /// read from, and `hsm.env` last. Nothing else: the database's password and the rest of the server's environment stay here.
    pub fn signer_environment(&self, env: &mut dyn Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
        let wanted = |name: &str| {
            name.starts_with("PASSKEY_HSM_HSM__")
                || name.starts_with("PASSKEY_HSM_LOG")
                || name == keys::FAILPOINT
                || self.hsm.pin_env.as_deref() == Some(name)
                || (self.hsm.pin_credential.is_some() && name == "CREDENTIALS_DIRECTORY")
        };
        let mut vars: Vec<_> = env.filter(|(name, _)| name.to_str().is_some_and(wanted)).collect();
        vars.extend(self.hsm.env.iter().map(|(name, value)| (name.into(), value.into())));
        vars
    }
}

/// The part of the configuration that a signer process reads: it never learns how to reach the database.
#[derive(Debug, Clone)]
pub struct SignerConfig {
    /// The PKCS#11 module and its token.
    pub hsm: Hsm,
    /// What is logged, and how.
    pub log: Log,
}

impl SignerConfig {
    /// As [`Config::load`], for `[hsm]` and `[log]` alone. The other sections may be incomplete, but not misspelt.
    ///
    /// # Errors
    /// Every problem found, each with its place. No text in it contains a secret.
    pub fn load(path: Option<&Path>, env: &mut dyn Iterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let mut reader = Reader::open(path, env)?;
        let hsm = Hsm::read(&mut reader);
        let log = Log::read(&mut reader);
        match (hsm, reader.finish()) {
            (Some(hsm), Ok(())) => Ok(Self { hsm, log }),
            (_, finished) => Err(finished.err().unwrap_or_default()),
        }
    }
}
