//! What a change of a tenant's settings leaves behind for its keys: what verifiers may still hold of the settings before.

use super::{Error, conn::Conn, key_changes::clock, rows::from_json};
use crate::domain::{TenantId, TenantSettings, Timestamp};

/// Before a tenant's settings are replaced, within the same unit of work.
///
/// A JWKS that was served a moment ago may be kept as long as the old settings say, and a token that was signed a moment ago is verified as
/// long: no key signs before the first is over, and none leaves the JWKS before the second is.
///
/// `false` when the key policy is not that of `weighed` any more, if that is given: whoever may not change it must not undo another's change.
pub(super) async fn settings_change(
    tx: &mut Conn<'_>,
    id: TenantId,
    new: &TenantSettings,
    weighed: Option<&TenantSettings>,
) -> Result<bool, Error> {
    struct Row {
        settings: String,
    }
    // The row is taken before it is read: of two changes at once, the second must know what the first leaves behind.
    execute!(tx, "UPDATE tenants SET wants_standby = $1 WHERE id = $2", new.keys.standby(), id.as_uuid())?;
    let row = query!(tx, fetch_optional, Row, "SELECT settings FROM tenants WHERE id = $1", id.as_uuid())?;
    let Some(row) = row else { return Ok(true) };
    let old: TenantSettings = from_json(&row.settings, "tenants", &id)?;
    let policy = |s: &TenantSettings| (s.algorithm, s.rsa_bits, s.keys);
    if weighed.is_some_and(|weighed| policy(weighed) != policy(&old)) {
        return Ok(false);
    }
    if old.keys == new.keys {
        return Ok(true);
    }
    let now = clock::now(tx).await?;
    let cached_until = now + old.keys.jwks_max_age();
    let valid_until = cached_until + old.keys.token_lifetime() + old.keys.clock_skew();
    execute!(
        tx,
        "UPDATE tenants SET
            jwks_cached_until = CASE WHEN jwks_cached_until > $1 THEN jwks_cached_until ELSE $1 END,
            tokens_valid_until = CASE WHEN tokens_valid_until > $2 THEN tokens_valid_until ELSE $2 END
        WHERE id = $3",
        Timestamp::as_millis(cached_until),
        Timestamp::as_millis(valid_until),
        id.as_uuid()
    )?;
    Ok(true)
}
