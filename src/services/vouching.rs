//! A token vouches for what was stored: signed before the commit, released after it.
//!
//! So no token ever leaves for what was not stored, and no transaction is open while the HSM works.

use super::{Context, Error, JwtToken, Tokens, token::TokenFacts};
use crate::{
    domain::{AuditEvent, KeyId},
    failpoint,
    hsm::Permit,
    storage::{self, Store},
};

/// How often a token is made again because its key ceased to be the active one in between.
const KEY_CHANGES: usize = 3;

/// What is stored in one transaction, and vouched for with a token.
pub(super) trait Unit: Sync {
    /// Why it is not stored, where that is for good.
    type Refusal: Send;

    /// The event that is stored with it: there exactly when the rest is.
    fn event(&self) -> &AuditEvent;

    /// Stores all of it or nothing, provided that `key` may still sign.
    fn commit(&self, store: &Store, key: KeyId) -> impl Future<Output = Result<Commit<Self::Refusal>, storage::Error>> + Send;
}

/// What came of a commit.
#[derive(Debug)]
pub(super) enum Commit<R> {
    /// All of it is stored.
    Committed,
    /// The key is not the tenant's active key any more. Nothing is stored.
    KeyNotActive,
    /// Nothing is stored.
    Refused(R),
}

/// Signs with the tenant's active key and commits; both again, with the new key, when that one was retired in between. Whatever fails on our
/// side before the commit stores nothing. The inner error is the commit's.
pub(super) async fn vouch<U: Unit>(
    context: &Context,
    tokens: &Tokens,
    permit: Permit,
    facts: &TokenFacts<'_>,
    unit: &U,
) -> Result<Result<JwtToken, U::Refusal>, Error> {
    let mut permit = Some(permit);
    for _ in 0..KEY_CHANGES {
        let tenant = facts.tenant.id;
        let Some(key) = context.store.active_signing_key(tenant).await? else {
            // It may have been deleted meanwhile.
            let is_there = context.store.tenant(tenant).await?.is_some();
            return Err(if is_there { Error::NoActiveKey(tenant) } else { Error::TenantNotFound(tenant) });
        };
        let room = match permit.take() {
            Some(room) => room,
            None => context.signer.reserve()?,
        };
        let token = tokens.issue(room, &key, facts).await?;
        failpoint::hit("finalize.signed");
        let committed = unit.commit(&context.store, key.id).await;
        match settle(context, unit.event(), committed, || Commit::Committed).await? {
            Commit::Committed => {
                failpoint::hit("finalize.committed");
                return Ok(Ok(token));
            }
            Commit::Refused(refusal) => return Ok(Err(refusal)),
            Commit::KeyNotActive => {}
        }
    }
    Err(Error::Unavailable("the tenant's signing key", None))
}

/// What came of a unit of work; if the reply to its commit was lost, its audit event is there exactly when the rest is.
pub(super) async fn settle<T>(
    context: &Context,
    event: &AuditEvent,
    outcome: Result<T, storage::Error>,
    committed: impl FnOnce() -> T,
) -> Result<T, Error> {
    match outcome {
        Err(storage::Error::OutcomeUnknown(lost)) => match context.store.audit_event(event.tenant_id, event.id).await {
            Ok(Some(_)) => Ok(committed()),
            Ok(None) => Err(Error::Unavailable("the database", Some(lost.into()))),
            Err(_) => Err(Error::OutcomeUnknown),
        },
        other => Ok(other?),
    }
}
