//! Administrators: made, listed, revoked, and recognized at every call of the admin API.

use openssl::x509::X509;

use super::{Audit, Context, Error, keys::By};
use crate::{
    domain::{
        Actor, AdminHash, AdminId, AdminKind, AdminRecord, AdminToken, AuditEvent, AuditEventType, Caller, RequestMeta, Role, TenantId,
        Timestamp,
    },
    storage,
};

/// An administrator to be.
#[derive(Debug, Clone)]
pub struct NewAdmin {
    /// A name for people, unique for ever.
    pub name: String,
    /// What it is there for.
    pub role: Role,
    /// The tenants of a tenant-admin; empty for the others.
    pub tenants: Vec<TenantId>,
    /// When it ceases to be good, if ever.
    pub expires_at: Option<Timestamp>,
    /// Its TLS client certificate in DER; a token is made where there is none.
    pub certificate: Option<Vec<u8>>,
}

/// The most tenants that one tenant-admin is bound to.
const MAX_TENANTS: usize = 1000;

/// How old what is written down of an administrator's last use may be.
const TOUCHED_WITHIN: std::time::Duration = std::time::Duration::from_mins(1);

/// The use cases of administrators.
#[derive(Clone, Debug)]
pub struct Admins {
    context: Context,
    audit: Audit,
}

impl Admins {
    pub(super) fn new(context: Context, audit: Audit) -> Self {
        Self { context, audit }
    }

    /// Who shows the token or certificate with this hash; `None` for nobody whom it opens anything to.
    pub async fn authenticate(&self, hash: &AdminHash) -> Result<Option<Caller>, Error> {
        let now = self.context.clock.now();
        let Some(admin) = self.context.store.find_admin(hash, now).await? else { return Ok(None) };
        // A clock that was put back makes no difference: what lies in the future is written anew.
        let fresh = admin.last_used_at.is_some_and(|used| used <= now && now.since(used) < TOUCHED_WITHIN);
        if !fresh && let Err(error) = self.context.store.touch_admin(admin.id, now).await {
            tracing::warn!(admin = %admin.id, %error, "the use of administrator {} was not written down: {error}", admin.id);
        }
        Ok(Some(Caller { actor: Actor::Admin { id: admin.id, name: admin.name }, role: admin.role, tenants: admin.tenants }))
    }

    /// Whether somebody of the role admin could show a token or a certificate now.
    pub async fn has_admin(&self) -> Result<bool, Error> {
        let now = self.context.clock.now();
        Ok(self.list().await?.iter().any(|admin| admin.role == Role::Admin && is_good(admin, now)))
    }

    /// Makes one. The token is never to be had again; there is none for a certificate.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what cannot be; [`Error::Conflict`] when the name or the certificate is taken.
    pub async fn create(&self, new: NewAdmin, by: &By) -> Result<(AdminRecord, Option<AdminToken>), Error> {
        self.check(&new).await?;
        let (kind, token, hash) = if let Some(der) = &new.certificate {
            (AdminKind::Certificate, None, AdminHash::of_certificate(der))
        } else {
            let token = AdminToken::random(&*self.context.rng);
            let hash = token.hash();
            (AdminKind::Token, Some(token), hash)
        };
        let NewAdmin { name, role, mut tenants, expires_at, .. } = new;
        tenants.sort_unstable();
        tenants.dedup();
        let record = AdminRecord {
            id: AdminId::random(&*self.context.rng),
            name,
            kind,
            role,
            tenants,
            created_at: self.context.clock.now(),
            created_by: by.actor.to_string(),
            expires_at,
            last_used_at: None,
            revoked_at: None,
        };
        let event = self.event(AuditEventType::AdminCreated, by, &format!("{kind} of {role} {} ({})", record.name, record.id));
        match self.context.store.add_admin(&record, &hash, &event).await {
            Err(storage::Error::Conflict) => {
                let what = if kind == AdminKind::Certificate { ", or one with that certificate" } else { "" };
                Err(Error::Conflict(format!("there is or was an administrator named {}{what}", record.name)))
            }
            other => Ok(other.map(|()| (record, token))?),
        }
    }

    /// All of them, revoked ones included, the oldest first.
    pub async fn list(&self) -> Result<Vec<AdminRecord>, Error> {
        Ok(self.context.store.admins().await?)
    }

    /// Revokes one, at once and for good. `false` when there is none, or it was revoked before.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is the last one of the role admin that is good, unless somebody on the server's own host asks: nobody could
    /// make another from afar.
    pub async fn revoke(&self, id: AdminId, by: &By) -> Result<bool, Error> {
        let Some(admin) = self.context.store.admin(id).await?.filter(|admin| admin.revoked_at.is_none()) else { return Ok(false) };
        let keep_one = admin.role == Role::Admin && !matches!(by.actor, Actor::Local { .. });
        let event = self.event(AuditEventType::AdminRevoked, by, &format!("{} of {} {} ({id})", admin.kind, admin.role, admin.name));
        if self.context.store.revoke_admin(id, event.created_at, keep_one, &event).await? {
            return Ok(true);
        }
        let is_there = self.context.store.admin(id).await?.is_some_and(|admin| admin.revoked_at.is_none());
        if keep_one && is_there {
            let why = "nobody of the role admin would be left: make another first, or revoke this one with `passkey-hsm admin-token` on the server's host";
            return Err(Error::Conflict(why.to_owned()));
        }
        Ok(false)
    }

    /// Records that somebody was refused who showed nothing that opens anything: of which anyone can cause so many.
    pub async fn unrecognized(&self, why: &str, meta: &RequestMeta) {
        let event = self.audit.event(AuditEvent::DEPLOYMENT, AuditEventType::AdminRefused, meta, None).because(why);
        if let Some(event) = self.audit.admitted(event) {
            self.audit.kept(event).await;
        }
    }

    /// Records that an administrator was refused what it asked for.
    pub async fn denied(&self, caller: &Caller, why: &str, meta: &RequestMeta) {
        let event = self.audit.event(AuditEvent::DEPLOYMENT, AuditEventType::AdminRefused, meta, None).because(why);
        self.audit.kept(AuditEvent { actor: Some(caller.actor.to_string()), ..event }).await;
    }

    /// An event whose reason says whom it was about, then why somebody said so.
    fn event(&self, event_type: AuditEventType, by: &By, whom: &str) -> AuditEvent {
        let why = by.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let reason = format!("{whom}{why}").chars().take(AuditEvent::MAX_ERROR_CHARS).collect();
        let event = self.audit.event(AuditEvent::DEPLOYMENT, event_type, &by.meta, None);
        AuditEvent { actor: Some(by.actor.to_string()), reason: Some(reason), ..event }
    }

    async fn check(&self, new: &NewAdmin) -> Result<(), Error> {
        let invalid = |why: String| Err(Error::Invalid(why));
        let name = &new.name;
        if name.trim() != name || name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
            return invalid("a name has 1 to 200 characters, none of them a control character, and no space around it".to_owned());
        }
        match (new.role, new.tenants.len()) {
            (Role::TenantAdmin, 0) => return invalid("a tenant-admin is bound to at least one tenant: name them in `tenants`".to_owned()),
            (Role::TenantAdmin, n) if n > MAX_TENANTS => return invalid(format!("a tenant-admin has at most {MAX_TENANTS} tenants")),
            (Role::TenantAdmin, _) | (_, 0) => {}
            (role, _) => return invalid(format!("the role {role} is not bound to tenants")),
        }
        for tenant in &new.tenants {
            if self.context.store.tenant(*tenant).await?.is_none() {
                return invalid(format!("there is no tenant {tenant}"));
            }
        }
        if new.expires_at.is_some_and(|end| end <= self.context.clock.now()) {
            return invalid("expires_at is not in the future".to_owned());
        }
        if new.certificate.as_ref().is_some_and(|der| X509::from_der(der).is_err()) {
            return invalid("the certificate is no X.509 certificate".to_owned());
        }
        Ok(())
    }
}

fn is_good(admin: &AdminRecord, now: Timestamp) -> bool {
    admin.revoked_at.is_none() && admin.expires_at.is_none_or(|end| end > now)
}
