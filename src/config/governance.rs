//! Who may command the server, and how keys and tenants are governed.

use std::{path::PathBuf, time::Duration};

use url::Url;

use super::reader::Reader;

/// `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// The Unix socket by which commands on this host reach the server.
    pub socket: PathBuf,
    /// How administrators prove who they are on the admin listener.
    pub authentication: AdminAuthentication,
    /// A PEM file with the admin listener's certificate and those between it and a root. With it the listener speaks TLS alone.
    pub tls_certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// A PEM file with the roots that client certificates may lead to.
    pub client_ca: Option<PathBuf>,
    /// Origins of pages that may call the admin API: none by default.
    pub cors_origins: Vec<Url>,
    /// Whether acts that end something need a second administrator.
    pub dual_control: bool,
    /// How long a request for an approval can be decided.
    pub approval_limit: Duration,
    /// How long a deleted tenant can be restored.
    pub deletion_grace: Duration,
}

/// How administrators prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminAuthentication {
    /// By a bearer token.
    Token,
    /// By a TLS client certificate.
    Certificate,
    /// By whichever they show. Where both are shown the certificate must lead to one of the roots, and the token decides.
    Either,
    /// By a client certificate of the configured roots, and a bearer token.
    Both,
}

pub(super) const SWITCH: &[(&str, bool)] = &[("on", true), ("off", false)];
const HOUR: u64 = 3600;

impl Admin {
    pub(super) fn read(r: &mut Reader) -> Self {
        let words = [
            ("token", AdminAuthentication::Token),
            ("certificate", AdminAuthentication::Certificate),
            ("either", AdminAuthentication::Either),
            ("both", AdminAuthentication::Both),
        ];
        let authentication_key = ("admin", "authentication");
        let (certificate, key, roots) = (("admin", "tls_certificate"), ("admin", "tls_key"), ("admin", "client_ca"));
        let authentication = r.word(authentication_key, &words).unwrap_or(AdminAuthentication::Token);
        for (one, other) in [(certificate, key), (key, certificate), (roots, certificate)] {
            if let (Some(place), None) = (r.place(one), r.place(other)) {
                r.refuse(place, one, format_args!("needs admin.{} too", other.1));
            }
        }
        if let (Some(place), None) = (r.place(authentication_key).filter(|_| authentication != AdminAuthentication::Token), r.place(roots))
        {
            r.refuse(place, authentication_key, "needs admin.client_ca: the roots that client certificates may lead to");
        }
        let base = r.base().to_path_buf();
        Self {
            socket: r.path(("admin", "socket")).unwrap_or_else(|| base.join("passkey-hsm.sock")),
            authentication,
            tls_certificate: r.path(certificate),
            tls_key: r.path(key),
            client_ca: r.path(roots),
            cors_origins: r.list(("admin", "cors_origins")),
            dual_control: r.word(("admin", "dual_control"), SWITCH).unwrap_or(false),
            approval_limit: Duration::from_secs(HOUR * r.number(("admin", "approval_hours"), 1..=720, 24)),
            deletion_grace: Duration::from_secs(HOUR * r.number(("admin", "deletion_grace_hours"), 0..=8760, 168)),
        }
    }
}

/// `[keys]`
#[derive(Debug, Clone)]
pub struct Keys {
    /// Whether this server does what is due.
    pub scheduler: bool,
    /// How many keys are made by the scheduler in a minute at most.
    pub generations_per_minute: u32,
    /// How often a server looks for changes of keys at least.
    pub follow_interval: Duration,
}

impl Keys {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self {
            scheduler: r.word(("keys", "scheduler"), SWITCH).unwrap_or(true),
            generations_per_minute: r.number(("keys", "generations_per_minute"), 1..=100_000, 60),
            follow_interval: r.millis(("keys", "follow_ms"), 50..=5_000, 1_000),
        }
    }
}

/// `[audit]`
#[derive(Debug, Clone)]
pub struct Audit {
    /// How long events are kept; for ever where it is `None`.
    pub retention: Option<Duration>,
}

impl Audit {
    pub(super) fn read(r: &mut Reader) -> Self {
        let days: u64 = r.number(("audit", "retention_days"), 0..=36_500, 0);
        Self { retention: (days > 0).then(|| Duration::from_secs(days * 24 * HOUR)) }
    }
}
