//! Requests for a second administrator's approval.

use sqlx::types::Uuid;

use super::{
    Error, Store, audit,
    conn::{Conn, Done},
    rows::{OrCorrupt, corrupt, from_json, text, to_json},
};
use crate::domain::{Act, Actor, AdminId, Approval, ApprovalId, ApprovalState, AuditEvent, Page, TenantId, Timestamp};

const TABLE: &str = "approvals";

/// How many requests can wait at a time.
const MAX_PENDING: i64 = 1000;

/// What became of a request that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalAdded {
    /// It waits.
    Added,
    /// This one waits already, for the same act on the same thing. Nothing was written.
    Rival(ApprovalId),
    /// So many wait that there is no room. Nothing was written.
    Full,
}

struct ApprovalRow {
    id: Uuid,
    act: String,
    tenant_id: Option<Uuid>,
    reason: String,
    state: String,
    requested_by: Uuid,
    requested_by_name: String,
    requested_at: i64,
    expires_at: i64,
    decided_by: Option<Uuid>,
    decided_by_name: Option<String>,
    decided_at: Option<i64>,
    outcome: Option<String>,
}

macro_rules! select_approvals {
    ($conn:expr, $fetch:ident, $rest:literal $(, $arg:expr)*) => {
        query!(
            $conn, $fetch, ApprovalRow,
            r#"SELECT id AS "id: Uuid", act, tenant_id AS "tenant_id: Uuid", reason, state, requested_by AS "requested_by: Uuid",
                requested_by_name, requested_at, expires_at, decided_by AS "decided_by: Uuid", decided_by_name, decided_at, outcome
            FROM approvals "# + $rest $(, $arg)*
        )
    };
}

impl Store {
    /// Adds a request (`pending`) of an [`Actor::Admin`], unless one for the same act on the same thing waits at `approval.requested_at`.
    pub async fn add_approval(&self, approval: &Approval, event: &AuditEvent) -> Result<ApprovalAdded, Error> {
        self.write("approval", (approval.clone(), event.clone()), |tx, (approval, event)| {
            Box::pin(async move {
                // One at a time: two that look for rivals side by side would both find none.
                execute!(tx, "UPDATE key_revision SET revision = revision WHERE id = 1")?;
                let refusal = refusal(tx, approval).await?;
                if refusal != ApprovalAdded::Added {
                    return Ok(Done::Undo(refusal));
                }
                insert(tx, approval).await?;
                audit::insert(tx, event).await?;
                Ok(Done::Keep(ApprovalAdded::Added))
            })
        })
        .await
    }

    /// One of them.
    pub async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, Error> {
        let row = select_approvals!(self.reader().await?, fetch_optional, "WHERE id = $1", id.as_uuid())?;
        row.map(Approval::try_from).transpose()
    }

    /// Those in `state` at `now` ([`Approval::state_at`]), or all, the newest first, and how many there are.
    pub async fn approvals(&self, state: Option<ApprovalState>, now: Timestamp, page: Page) -> Result<(Vec<Approval>, u64), Error> {
        let (state, now) = (state.map_or("", ApprovalState::as_str), now.as_millis());
        let mut conn = self.reader().await?;
        let count = query!(
            conn,
            fetch_one,
            CountRow,
            r#"SELECT count(*) AS "count!: i64" FROM approvals
            WHERE $1 = '' OR CASE WHEN state IN ('pending', 'approved') AND expires_at <= $2 THEN 'expired' ELSE state END = $1"#,
            state,
            now
        )?;
        let total = u64::try_from(count.count).unwrap_or(0);
        let offset = match i64::try_from(page.offset()) {
            Ok(offset) if page.offset() < total => offset,
            _ => return Ok((Vec::new(), total)),
        };
        let rows = select_approvals!(
            conn,
            fetch_all,
            "WHERE $1 = '' OR CASE WHEN state IN ('pending', 'approved') AND expires_at <= $2 THEN 'expired' ELSE state END = $1
            ORDER BY requested_at DESC, id DESC LIMIT $3 OFFSET $4",
            state,
            now,
            i64::from(page.size()),
            offset
        )?;
        Ok((rows.into_iter().map(Approval::try_from).collect::<Result<_, _>>()?, total))
    }

    /// pending -> approved, by another than who asked, while both are administrators still, and in time. `false`, and no event, when that does
    /// not hold at `now`.
    pub async fn approve(&self, id: ApprovalId, by: (AdminId, &str), now: Timestamp, event: &AuditEvent) -> Result<bool, Error> {
        let data = (id, by.0, by.1.to_owned(), now.as_millis(), event.clone());
        self.write("approve", data, |tx, (id, by, name, now, event)| {
            Box::pin(async move {
                let approved = execute!(
                    tx,
                    "UPDATE approvals SET state = 'approved', decided_by = $1, decided_by_name = $2, decided_at = $3
                    WHERE id = $4 AND state = 'pending' AND expires_at > $3 AND requested_by <> $1
                        AND EXISTS (SELECT 1 FROM admins a WHERE a.id = $1 AND a.revoked_at IS NULL
                            AND (a.expires_at IS NULL OR a.expires_at > $3))
                        AND EXISTS (SELECT 1 FROM admins a WHERE a.id = approvals.requested_by AND a.revoked_at IS NULL
                            AND (a.expires_at IS NULL OR a.expires_at > $3))",
                    by.as_uuid(),
                    text(name),
                    *now,
                    id.as_uuid()
                )?;
                settled(tx, approved, event).await
            })
        })
        .await
    }

    /// pending -> rejected, in time. By who asked it is taken back: nobody decided then. `false`, and no event, when it is not pending at `now`.
    pub async fn reject(
        &self,
        id: ApprovalId,
        by: (AdminId, &str),
        outcome: &str,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<bool, Error> {
        let data = (id, by.0, by.1.to_owned(), text(outcome), now.as_millis(), event.clone());
        self.write("reject", data, |tx, (id, by, name, outcome, now, event)| {
            Box::pin(async move {
                let rejected = execute!(
                    tx,
                    "UPDATE approvals SET state = 'rejected', decided_by = CASE WHEN requested_by = $1 THEN NULL ELSE $1 END,
                        decided_by_name = CASE WHEN requested_by = $1 THEN NULL ELSE $2 END, decided_at = $3, outcome = $4
                    WHERE id = $5 AND state = 'pending' AND expires_at > $3",
                    by.as_uuid(),
                    text(name),
                    *now,
                    outcome,
                    id.as_uuid()
                )?;
                settled(tx, rejected, event).await
            })
        })
        .await
    }

    /// approved -> done before the act, by who asked, once and in time: for an act that must not be tried twice. Its outcome follows.
    pub async fn claim_approval(&self, id: ApprovalId, requester: AdminId, now: Timestamp) -> Result<bool, Error> {
        self.write("claim_approval", (id, requester, now), |tx, (id, requester, now)| {
            Box::pin(async move {
                let claimed = execute!(
                    tx,
                    "UPDATE approvals SET state = 'done' WHERE id = $1 AND requested_by = $2 AND state = 'approved' AND expires_at > $3",
                    id.as_uuid(),
                    requester.as_uuid(),
                    now.as_millis()
                )?;
                Ok(if claimed == 1 { Done::Keep(true) } else { Done::Undo(false) })
            })
        })
        .await
    }

    /// approved, or claimed and without an outcome -> done or failed, with what came of it: once. `false`, and no event, when that was written
    /// before.
    pub async fn settle_approval(&self, id: ApprovalId, done: bool, outcome: &str, event: &AuditEvent) -> Result<bool, Error> {
        let state = if done { ApprovalState::Done } else { ApprovalState::Failed };
        self.write("settle_approval", (id, state, text(outcome), event.clone()), |tx, (id, state, outcome, event)| {
            Box::pin(async move {
                let written = execute!(
                    tx,
                    "UPDATE approvals SET state = $1, outcome = $2
                    WHERE id = $3 AND (state = 'approved' OR (state = 'done' AND outcome IS NULL))",
                    state.as_str(),
                    outcome,
                    id.as_uuid()
                )?;
                settled(tx, written, event).await
            })
        })
        .await
    }
}

struct CountRow {
    count: i64,
}

struct ActRow {
    id: Uuid,
    act: String,
}

/// Why a request cannot be added, if so.
async fn refusal(tx: &mut Conn<'_>, approval: &Approval) -> Result<ApprovalAdded, Error> {
    let waiting = query!(
        tx,
        fetch_all,
        ActRow,
        r#"SELECT id AS "id: Uuid", act FROM approvals WHERE state = 'pending' AND expires_at > $1 ORDER BY requested_at, id LIMIT $2"#,
        approval.requested_at.as_millis(),
        MAX_PENDING
    )?;
    let full = i64::try_from(waiting.len()).unwrap_or(i64::MAX) >= MAX_PENDING;
    for row in waiting {
        if from_json::<Act>(&row.act, TABLE, &row.id)?.rivals(&approval.act) {
            return Ok(ApprovalAdded::Rival(ApprovalId::from_uuid(row.id)));
        }
    }
    Ok(if full { ApprovalAdded::Full } else { ApprovalAdded::Added })
}

async fn insert(tx: &mut Conn<'_>, approval: &Approval) -> Result<(), Error> {
    let Actor::Admin { id: by, name } = &approval.requested_by else {
        return Err(corrupt(TABLE, &approval.id, "it is asked for by nobody with a name"));
    };
    execute!(
        tx,
        "INSERT INTO approvals (id, act, tenant_id, reason, state, requested_by, requested_by_name, requested_at, expires_at)
        VALUES ($1, $2, $3, $4, 'pending', $5, $6, $7, $8)",
        approval.id.as_uuid(),
        to_json(&approval.act, TABLE, &approval.id)?,
        approval.tenant_id.map(TenantId::as_uuid),
        text(&approval.reason),
        by.as_uuid(),
        text(name),
        approval.requested_at.as_millis(),
        approval.expires_at.as_millis()
    )?;
    Ok(())
}

/// Adds the event of a change that was made.
async fn settled(tx: &mut Conn<'_>, changed: u64, event: &AuditEvent) -> Result<Done<bool>, Error> {
    if changed == 0 {
        return Ok(Done::Undo(false));
    }
    audit::insert(tx, event).await?;
    Ok(Done::Keep(true))
}

impl TryFrom<ApprovalRow> for Approval {
    type Error = Error;

    fn try_from(row: ApprovalRow) -> Result<Self, Error> {
        let decided_by = match (row.decided_by, row.decided_by_name) {
            (Some(id), Some(name)) => Some(Actor::Admin { id: AdminId::from_uuid(id), name }),
            (None, None) => None,
            _ => return Err(corrupt(TABLE, &row.id, "half of who decided is missing")),
        };
        Ok(Self {
            id: ApprovalId::from_uuid(row.id),
            act: from_json(&row.act, TABLE, &row.id)?,
            tenant_id: row.tenant_id.map(TenantId::from_uuid),
            reason: row.reason,
            state: row.state.parse().or_corrupt(TABLE, &row.id)?,
            requested_by: Actor::Admin { id: AdminId::from_uuid(row.requested_by), name: row.requested_by_name },
            requested_at: Timestamp::from_millis(row.requested_at),
            expires_at: Timestamp::from_millis(row.expires_at),
            decided_by,
            decided_at: row.decided_at.map(Timestamp::from_millis),
            outcome: row.outcome,
        })
    }
}
