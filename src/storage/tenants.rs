//! Tenants, and how one comes to be: its row and its key's intent, then the key on the token, then both become active together.

use sqlx::types::Uuid;

use super::{
    Error, Store, api_keys, audit,
    conn::{Conn, Done, Pooled},
    key_policy,
    rows::{from_json, text, to_json},
    signing_keys,
};
use crate::domain::{ApiKeyHash, ApiKeyRecord, AuditEvent, SigningKey, Tenant, TenantConfig, TenantId, TenantSettings, Timestamp};

const TABLE: &str = "tenants";

struct TenantRow {
    id: Uuid,
    display_name: String,
    config: String,
    settings: String,
    created_at: i64,
}

impl Store {
    /// Writes a tenant in the making and the key it is going to have (`pending`), before anything is asked of the token.
    ///
    /// [`Error::Conflict`] when either id is taken.
    pub async fn begin_tenant(&self, tenant: &Tenant, key: &SigningKey) -> Result<(), Error> {
        self.write("begin_tenant", (tenant.clone(), key.clone()), |tx, (tenant, key)| {
            Box::pin(async move {
                insert(tx, tenant).await?;
                signing_keys::insert(tx, key).await?;
                Ok(Done::Keep(()))
            })
        })
        .await
    }

    /// Makes a tenant in the making, with its key, active: from here on it can be seen. `false` when it was not in the making, or its key
    /// not pending, any more; then nothing is written.
    pub async fn complete_tenant(
        &self,
        tenant: TenantId,
        key: &SigningKey,
        api_key: Option<(&ApiKeyRecord, &ApiKeyHash)>,
        events: &[AuditEvent],
    ) -> Result<bool, Error> {
        let api_key = api_key.map(|(record, hash)| (record.clone(), hash.clone()));
        self.write("complete_tenant", (tenant, key.clone(), api_key, events.to_vec()), |tx, (tenant, key, api_key, events)| {
            Box::pin(async move {
                if !activate(tx, *tenant).await? || key.tenant_id != *tenant || !signing_keys::settle_pending(tx, key).await? {
                    return Ok(Done::Undo(false));
                }
                if let Some((record, hash)) = api_key {
                    api_keys::insert(tx, record, hash).await?;
                }
                for event in events {
                    audit::insert(tx, event).await?;
                }
                Ok(Done::Keep(true))
            })
        })
        .await
    }

    /// Gives a tenant in the making up: its key, `destroyed` now, was never made or is gone from the token. The rows stay, out of sight,
    /// because an id is never used again. `false` when the key was not pending any more.
    pub async fn abandon_tenant(&self, key: &SigningKey) -> Result<bool, Error> {
        self.write("abandon_tenant", key.clone(), |tx, key| {
            Box::pin(async move { Ok(if signing_keys::settle_pending(tx, key).await? { Done::Keep(true) } else { Done::Undo(false) }) })
        })
        .await
    }

    /// Writes a tenant that waits for its key: it is there at once, and signs nothing until a key is adopted. [`Error::Conflict`] when its id
    /// is taken.
    pub async fn add_waiting_tenant(
        &self,
        tenant: &Tenant,
        api_key: Option<(&ApiKeyRecord, &ApiKeyHash)>,
        events: &[AuditEvent],
    ) -> Result<(), Error> {
        let api_key = api_key.map(|(record, hash)| (record.clone(), hash.clone()));
        self.write("waiting_tenant", (tenant.clone(), api_key, events.to_vec()), |tx, (tenant, api_key, events)| {
            Box::pin(async move {
                insert(tx, tenant).await?;
                activate(tx, tenant.id).await?;
                if let Some((record, hash)) = api_key {
                    api_keys::insert(tx, record, hash).await?;
                }
                for event in events {
                    audit::insert(tx, event).await?;
                }
                Ok(Done::Keep(()))
            })
        })
        .await
    }

    /// Whether no key of the tenant's ever signed.
    pub async fn awaits_key(&self, id: TenantId) -> Result<bool, Error> {
        struct Row {
            found: bool,
        }
        let row = query!(
            self.reader().await?,
            fetch_one,
            Row,
            r#"SELECT EXISTS (SELECT 1 FROM signing_keys WHERE tenant_id = $1 AND activated_at IS NOT NULL) AS "found!: bool""#,
            id.as_uuid()
        )?;
        Ok(!row.found)
    }

    /// A tenant, unless it is still in the making, or deleted.
    pub async fn tenant(&self, id: TenantId) -> Result<Option<Tenant>, Error> {
        let row = query!(
            self.reader().await?,
            fetch_optional,
            TenantRow,
            r#"SELECT id AS "id: Uuid", display_name, config, settings, created_at FROM tenants
            WHERE id = $1 AND state = 'active' AND deleted_at IS NULL"#,
            id.as_uuid()
        )?;
        row.map(Tenant::try_from).transpose()
    }

    /// Every tenant that is neither in the making nor deleted, the oldest first.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        in_state(&mut self.reader().await?, "active").await
    }

    /// Tenants with this RP ID that are neither in the making nor deleted, the oldest first, at most `limit`. Without those that a server of a version
    /// before migration 4 wrote after it.
    pub async fn tenants_of_rp_id(&self, rp_id: &str, limit: u32) -> Result<Vec<Tenant>, Error> {
        let rows = query!(
            self.reader().await?,
            fetch_all,
            TenantRow,
            r#"SELECT id AS "id: Uuid", display_name, config, settings, created_at FROM tenants
            WHERE rp_id = $1 AND rp_id <> '' AND state = 'active' AND deleted_at IS NULL ORDER BY created_at, id LIMIT $2"#,
            text(rp_id),
            i64::from(limit)
        )?;
        rows.into_iter().map(Tenant::try_from).collect()
    }

    /// Tenants in the making with the key that each is going to have: what a crash between the two halves leaves.
    pub async fn incomplete_tenants(&self) -> Result<Vec<(Tenant, SigningKey)>, Error> {
        let mut conn = self.reader().await?;
        let mut keys = signing_keys::of_incomplete_tenants(&mut conn.borrow()).await?;
        let tenants = in_state(&mut conn, "creating").await?;
        let paired = tenants.into_iter().filter_map(|tenant| {
            let at = keys.iter().position(|key| key.tenant_id == tenant.id)?;
            Some((tenant, keys.swap_remove(at)))
        });
        Ok(paired.collect())
    }

    /// Replaces a tenant's name, configuration and settings, those that are given. What verifiers may still hold of the settings before is
    /// written down with them. `false`, and no event, when there is no such tenant.
    pub async fn update_tenant(
        &self,
        id: TenantId,
        display_name: Option<&str>,
        config: Option<&TenantConfig>,
        settings: Option<&TenantSettings>,
        events: &[AuditEvent],
    ) -> Result<bool, Error> {
        self.update_tenant_of(id, display_name, config, settings, None, events).await
    }

    /// The same where the settings are those that were weighed: `false` too when the key policy is another than in `weighed` by now.
    pub async fn update_tenant_of(
        &self,
        id: TenantId,
        display_name: Option<&str>,
        config: Option<&TenantConfig>,
        settings: Option<&TenantSettings>,
        weighed: Option<&TenantSettings>,
        events: &[AuditEvent],
    ) -> Result<bool, Error> {
        let rp_id = config.map(|config| text(&config.webauthn.relying_party.id));
        let config = config.map(|config| to_json(config, TABLE, &id)).transpose()?;
        let settings = settings.map(|new| to_json(new, TABLE, &id).map(|json| (new.clone(), json))).transpose()?;
        let display_name = display_name.map(text);
        let data = (id, display_name, config, rp_id, settings, weighed.cloned(), events.to_vec());
        self.write("tenant", data, |tx, (id, display_name, config, rp_id, settings, weighed, events)| {
            Box::pin(async move {
                if let Some((new, _)) = settings
                    && !key_policy::settings_change(tx, *id, new, weighed.as_ref()).await?
                {
                    return Ok(Done::Undo(false));
                }
                let updated = execute!(
                    tx,
                    "UPDATE tenants SET display_name = COALESCE($1, display_name), config = COALESCE($2, config),
                        rp_id = COALESCE($3, rp_id), settings = COALESCE($4, settings)
                    WHERE id = $5 AND state = 'active' AND deleted_at IS NULL",
                    display_name.as_deref(),
                    config.as_deref(),
                    rp_id.as_deref(),
                    settings.as_ref().map(|(_, json)| json.as_str()),
                    id.as_uuid()
                )?;
                if updated == 0 {
                    return Ok(Done::Undo(false));
                }
                for event in events {
                    audit::insert(tx, event).await?;
                }
                Ok(Done::Keep(true))
            })
        })
        .await
    }
}

async fn in_state(conn: &mut Pooled, state: &str) -> Result<Vec<Tenant>, Error> {
    let rows = query!(
        conn,
        fetch_all,
        TenantRow,
        r#"SELECT id AS "id: Uuid", display_name, config, settings, created_at FROM tenants
        WHERE state = $1 AND deleted_at IS NULL ORDER BY created_at, id"#,
        state
    )?;
    rows.into_iter().map(Tenant::try_from).collect()
}

async fn insert(tx: &mut Conn<'_>, tenant: &Tenant) -> Result<(), Error> {
    execute!(
        tx,
        "INSERT INTO tenants (id, display_name, state, config, rp_id, settings, created_at, wants_standby)
        VALUES ($1, $2, 'creating', $3, $4, $5, $6, $7)",
        tenant.id.as_uuid(),
        text(&tenant.display_name),
        to_json(&tenant.config, TABLE, &tenant.id)?,
        text(&tenant.config.webauthn.relying_party.id),
        to_json(&tenant.settings, TABLE, &tenant.id)?,
        tenant.created_at.as_millis(),
        tenant.settings.keys.standby()
    )?;
    Ok(())
}

async fn activate(tx: &mut Conn<'_>, id: TenantId) -> Result<bool, Error> {
    let updated = execute!(tx, "UPDATE tenants SET state = 'active' WHERE id = $1 AND state = 'creating'", id.as_uuid())?;
    Ok(updated == 1)
}

impl TryFrom<TenantRow> for Tenant {
    type Error = Error;

    fn try_from(row: TenantRow) -> Result<Self, Error> {
        Ok(Self {
            id: TenantId::from_uuid(row.id),
            display_name: row.display_name,
            config: from_json(&row.config, TABLE, &row.id)?,
            settings: from_json(&row.settings, TABLE, &row.id)?,
            created_at: Timestamp::from_millis(row.created_at),
        })
    }
}
