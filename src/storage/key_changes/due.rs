//! What is due.

use std::time::Duration;

use sqlx::types::Uuid;

use super::{
    super::{
        Error, Store,
        conn::Conn,
        signing_keys::{SigningKeyRow, select_signing_keys},
    },
    clock,
};
use crate::domain::{SigningKey, TenantId, Timestamp};

/// What is due by the database's clock. Each list has the oldest first, and no more than what was asked for.
#[derive(Debug, Default)]
pub struct DueKeys {
    /// `pending`, planned, and not on the token yet as far as the database knows: to be made, or to be finished.
    pub to_generate: Vec<SigningKey>,
    /// `pending`, planned, with their evidence: to be published.
    pub to_publish: Vec<SigningKey>,
    /// `published`, planned to sign, and usable by now.
    pub to_activate: Vec<SigningKey>,
    /// `active` for as long as the policy wants, and no successor is on its way (a key that is planned to activate).
    pub to_rotate: Vec<SigningKey>,
    /// `retiring`, or suspended and in the JWKS still, with R over.
    pub to_withdraw: Vec<SigningKey>,
    /// With a private half that has to go: the rollback window is over, or it is compromised, or its end was begun, or its tenant's grace
    /// period is over. The only list with keys of deleted tenants.
    pub to_destroy: Vec<SigningKey>,
    /// Tenants that want a standby, sign, and have no key that is pending or published.
    pub lacking_standby: Vec<TenantId>,
    /// How many keys were meant to be made in the last minute, whoever asked.
    pub intents_of_last_minute: u32,
}

/// How far back intents are counted.
const MINUTE: Duration = Duration::from_mins(1);

impl Store {
    /// What is due; at most `limit` of each kind. `begun_before`: how old an intent has to be to count as left behind. `token_serial`: a published
    /// key on another token is no standby; every one is where that is not known.
    pub async fn due_keys(&self, begun_before: Duration, limit: u32, token_serial: Option<&str>) -> Result<DueKeys, Error> {
        let mut reader = self.reader().await?;
        let conn = &mut reader.borrow();
        let now = clock::now(conn).await?;
        let limit = i64::from(limit);
        Ok(DueKeys {
            to_generate: to_generate(conn, clock::before(now, begun_before), limit).await?,
            to_publish: to_publish(conn, limit).await?,
            to_activate: to_activate(conn, now, limit).await?,
            to_rotate: to_rotate(conn, now, limit).await?,
            to_withdraw: to_withdraw(conn, now, limit).await?,
            to_destroy: to_destroy(conn, now, limit).await?,
            lacking_standby: lacking_standby(conn, limit, token_serial).await?,
            intents_of_last_minute: intents_after(conn, clock::before(now, MINUTE)).await?,
        })
    }
}

/// A first key is not among them: its tenant is in the making, and finished as a whole.
async fn to_generate(conn: &mut Conn<'_>, begun_until: i64, limit: i64) -> Result<Vec<SigningKey>, Error> {
    keys(select_signing_keys!(
        conn,
        fetch_all,
        "WHERE state = 'pending' AND plan <> 'none' AND public_key IS NULL AND destroying_at IS NULL AND created_at <= $1
            AND tenant_id IN (SELECT id FROM tenants WHERE state = 'active' AND deleted_at IS NULL)
        ORDER BY created_at, id LIMIT $2",
        begun_until,
        limit
    )?)
}

async fn to_publish(conn: &mut Conn<'_>, limit: i64) -> Result<Vec<SigningKey>, Error> {
    keys(select_signing_keys!(
        conn,
        fetch_all,
        "WHERE state = 'pending' AND plan <> 'none' AND public_key IS NOT NULL AND evidence_record IS NOT NULL AND destroying_at IS NULL
            AND tenant_id IN (SELECT id FROM tenants WHERE state = 'active' AND deleted_at IS NULL)
        ORDER BY created_at, id LIMIT $1",
        limit
    )?)
}

async fn to_activate(conn: &mut Conn<'_>, now: Timestamp, limit: i64) -> Result<Vec<SigningKey>, Error> {
    keys(select_signing_keys!(
        conn,
        fetch_all,
        "WHERE state = 'published' AND plan = 'activate' AND usable_from <= $1 AND destroying_at IS NULL
            AND tenant_id IN (SELECT id FROM tenants WHERE state = 'active' AND deleted_at IS NULL)
        ORDER BY usable_from, id LIMIT $2",
        now.as_millis(),
        limit
    )?)
}

async fn to_rotate(conn: &mut Conn<'_>, now: Timestamp, limit: i64) -> Result<Vec<SigningKey>, Error> {
    keys(select_signing_keys!(
        conn,
        fetch_all,
        "WHERE state = 'active' AND rotate_from <= $1
            AND NOT EXISTS (SELECT 1 FROM signing_keys next WHERE next.tenant_id = signing_keys.tenant_id
                AND next.state IN ('pending', 'published') AND next.plan = 'activate' AND next.destroying_at IS NULL)
            AND tenant_id IN (SELECT id FROM tenants WHERE state = 'active' AND deleted_at IS NULL)
        ORDER BY rotate_from, id LIMIT $2",
        now.as_millis(),
        limit
    )?)
}

async fn to_withdraw(conn: &mut Conn<'_>, now: Timestamp, limit: i64) -> Result<Vec<SigningKey>, Error> {
    keys(select_signing_keys!(
        conn,
        fetch_all,
        "WHERE state IN ('retiring', 'suspended') AND withdrawn_at IS NULL AND withdraw_from <= $1
            AND tenant_id IN (SELECT id FROM tenants WHERE state = 'active' AND deleted_at IS NULL)
        ORDER BY withdraw_from, id LIMIT $2",
        now.as_millis(),
        limit
    )?)
}

async fn to_destroy(conn: &mut Conn<'_>, now: Timestamp, limit: i64) -> Result<Vec<SigningKey>, Error> {
    keys(select_signing_keys!(
        conn,
        fetch_all,
        "WHERE private_destroyed_at IS NULL AND state <> 'destroyed'
            AND ((destroying_at IS NOT NULL AND state <> 'active') OR state = 'compromised'
                OR (state IN ('retiring', 'retired') AND keep_private_until <= $1)
                OR tenant_id IN (SELECT id FROM tenants WHERE purge_from <= $1))
        ORDER BY created_at, id LIMIT $2",
        now.as_millis(),
        limit
    )?)
}

async fn lacking_standby(conn: &mut Conn<'_>, limit: i64, token_serial: Option<&str>) -> Result<Vec<TenantId>, Error> {
    struct Row {
        id: Uuid,
    }
    let rows = query!(
        conn,
        fetch_all,
        Row,
        r#"SELECT t.id AS "id: Uuid" FROM tenants t
        WHERE t.state = 'active' AND t.deleted_at IS NULL AND t.wants_standby
            AND EXISTS (SELECT 1 FROM signing_keys k WHERE k.tenant_id = t.id AND k.state = 'active')
            AND NOT EXISTS (SELECT 1 FROM signing_keys k WHERE k.tenant_id = t.id
                AND (k.state = 'pending' OR (k.state = 'published' AND k.destroying_at IS NULL
                    AND (CAST($2 AS TEXT) IS NULL OR k.token_serial = $2))))
        ORDER BY t.created_at, t.id LIMIT $1"#,
        limit,
        token_serial
    )?;
    Ok(rows.into_iter().map(|row| TenantId::from_uuid(row.id)).collect())
}

async fn intents_after(conn: &mut Conn<'_>, after: i64) -> Result<u32, Error> {
    struct Row {
        count: i64,
    }
    let row = query!(
        conn,
        fetch_one,
        Row,
        r#"SELECT count(*) AS "count!: i64" FROM signing_keys WHERE created_at > $1 AND origin = 'generated'"#,
        after
    )?;
    Ok(u32::try_from(row.count).unwrap_or(u32::MAX))
}

fn keys(rows: Vec<SigningKeyRow>) -> Result<Vec<SigningKey>, Error> {
    rows.into_iter().map(SigningKey::try_from).collect()
}
