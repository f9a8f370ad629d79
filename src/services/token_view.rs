//! The HSM as operators see it: its state, every key with what the token says of it now, and what nobody owns.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Context, Error};
use crate::{
    domain::{KeyId, KeyState, Page, SigningKey, TenantId},
    hsm::{self, Bench, HEALTH_KEY, Inventory, InventoryKey, ROOT_KEY, Status, TokenInfo},
    storage::KeyFilter,
};

/// Where what is told of a key's attributes is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Read back from the token, now.
    Token,
    /// From its evidence: what the token said when the key was made.
    Evidence,
}

/// A key, and what is known of it on its token.
#[derive(Debug)]
pub struct InventoryEntry {
    /// The key.
    pub key: SigningKey,
    /// Its tenant's name; `None` for a tenant that is deleted.
    pub tenant_name: Option<String>,
    /// The token's private half: there, or not; `None` where the token was not asked or could not be.
    pub on_token: Option<bool>,
    /// The token's name, serial number, model and firmware, as JSON.
    pub token: Value,
    /// The attributes of the private half, as JSON.
    pub attributes: Value,
    /// Where token and attributes are from; `None` where nothing is known.
    pub source: Option<Source>,
}

/// The HSM's state.
#[derive(Debug)]
pub struct HsmState {
    /// What is known without asking it.
    pub status: Status,
    /// How many pairs are on the token, this service's own two included; `None` where it could not be asked.
    pub pairs: Option<usize>,
    /// How many keys the database expects to have a private half.
    pub expected: usize,
}

/// What the token and the database do not agree on.
#[derive(Debug)]
pub struct Differences {
    /// The token.
    pub token: TokenInfo,
    /// On the token, and no row's.
    pub orphans: Vec<InventoryKey>,
    /// A row's, and not on the token.
    pub missing: Vec<SigningKey>,
}

/// The use cases of whoever looks after the HSM.
#[derive(Clone, Debug)]
pub struct TokenView {
    context: Context,
}

impl TokenView {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    /// A page of the keys of these tenants, or of all, tenant by tenant, the oldest first, and how many there are: those in `state`, and those
    /// whose rotation is due by the database's clock, where that is asked for.
    pub async fn keys(
        &self,
        tenants: Option<&[TenantId]>,
        state: Option<KeyState>,
        due: bool,
        page: Page,
    ) -> Result<(Vec<SigningKey>, u64), Error> {
        let due = if due { Some(self.context.store.database_now().await?) } else { None };
        let filter = KeyFilter { state, due };
        let Some(tenants) = tenants else { return Ok(self.context.store.signing_keys_page(filter, page).await?) };
        let mut found = Vec::new();
        for tenant in tenants {
            found.extend(self.context.store.signing_keys_of(*tenant).await?.into_iter().filter(|key| filter.admits(key)));
        }
        let total = found.len() as u64;
        let offset = usize::try_from(page.offset()).unwrap_or(usize::MAX);
        Ok((found.into_iter().skip(offset).take(page.size() as usize).collect(), total))
    }

    /// The same with what the token says of each now, or said of it when it was made where it cannot be asked.
    pub async fn inventory(&self, tenants: Option<&[TenantId]>, page: Page) -> Result<(Vec<InventoryEntry>, u64), Error> {
        let (keys, total) = self.keys(tenants, None, false, page).await?;
        let ids: Vec<_> = keys.iter().filter(|key| key.is_expected()).filter_map(|key| key.cka_id.as_deref()).collect();
        let described = match self.context.signer.describe(&ids).await {
            Ok(described) => described,
            Err(error) => {
                tracing::info!(%error, "the token was not asked for its keys' attributes: {error}");
                Vec::new()
            }
        };
        let now: HashMap<Vec<u8>, Option<Value>> = ids.into_iter().map(<[u8]>::to_vec).zip(described.into_iter().map(parse)).collect();
        let names = self.tenant_names(&keys).await?;
        let token = self.context.signer.status().token;
        let entries = keys.into_iter().map(|key| entry(key, &names, &now, token.as_ref()));
        Ok((entries.collect(), total))
    }

    /// The HSM's state, with a look at the token where that is possible.
    pub async fn state(&self) -> Result<HsmState, Error> {
        let keys = self.context.store.signing_keys().await?;
        let pairs = self.context.signer.inventory().await.ok().map(|inventory| inventory.keys.len());
        Ok(HsmState { status: self.context.signer.status(), pairs, expected: keys.iter().filter(|key| key.is_expected()).count() })
    }

    /// Reads the token anew, and holds it against the database.
    pub async fn differences(&self) -> Result<Differences, Error> {
        // The database first: a key that is made meanwhile may be missing, and never an orphan of which somebody thinks that it can go. Its
        // row was there before the pair.
        let before = self.context.store.signing_keys().await?;
        let inventory = self.context.signer.inventory().await?;
        let after = self.context.store.signing_keys().await?;
        Ok(compare(&before, &after, inventory))
    }

    /// Measures signatures with the health key for so many seconds (1 to 30), so many (1 to 64) at once, beside those of tokens.
    ///
    /// # Errors
    /// [`Error::Invalid`] outside these bounds, and while another one measures.
    pub async fn bench(&self, seconds: u32, concurrency: usize) -> Result<Bench, Error> {
        self.context.signer.bench(seconds, concurrency).await.map_err(|error| match error {
            hsm::Error::Refused(why) => Error::Invalid(why),
            other => other.into(),
        })
    }

    async fn tenant_names(&self, keys: &[SigningKey]) -> Result<HashMap<TenantId, String>, Error> {
        let mut names = HashMap::new();
        for tenant in keys.iter().map(|key| key.tenant_id).collect::<HashSet<_>>() {
            if let Some(tenant) = self.context.store.tenant(tenant).await? {
                names.insert(tenant.id, tenant.display_name);
            }
        }
        Ok(names)
    }
}

fn parse(described: Option<String>) -> Option<Value> {
    described.and_then(|json| serde_json::from_str(&json).ok())
}

fn entry(
    key: SigningKey,
    names: &HashMap<TenantId, String>,
    now: &HashMap<Vec<u8>, Option<Value>>,
    token: Option<&TokenInfo>,
) -> InventoryEntry {
    let tenant_name = names.get(&key.tenant_id).cloned();
    let read = key.cka_id.as_ref().and_then(|id| now.get(id));
    if let (Some(Some(attributes)), Some(token)) = (read, token) {
        let (token, attributes) = (describe_token(token), attributes.clone());
        return InventoryEntry { key, tenant_name, on_token: Some(true), token, attributes, source: Some(Source::Token) };
    }
    let record = key.evidence.as_ref().and_then(|evidence| serde_json::from_str::<Value>(&evidence.record).ok());
    let on_token = if key.private_destroyed_at.is_some() { Some(false) } else { read.map(Option::is_some) };
    let source = record.is_some().then_some(Source::Evidence);
    let member = |name: &str| record.as_ref().and_then(|record| record.get(name)).cloned().unwrap_or_default();
    InventoryEntry { tenant_name, on_token, token: member("token"), attributes: member("attributes"), source, key }
}

/// As in a key's evidence.
fn describe_token(token: &TokenInfo) -> Value {
    serde_json::json!({
        "label": token.label,
        "serial": token.serial,
        "manufacturer": token.manufacturer,
        "model": token.model,
        "firmware": token.firmware,
    })
}

/// Rows as they were before the token was read, and after: what is missing was expected at both times, what is an orphan is in neither.
fn compare(before: &[SigningKey], after: &[SigningKey], inventory: Inventory) -> Differences {
    let is_there: HashSet<&[u8]> = inventory.keys.iter().filter(|k| k.private_keys > 0).map(|k| k.cka_id.as_slice()).collect();
    let expected: HashSet<KeyId> = before.iter().filter(|key| key.is_expected()).map(|key| key.id).collect();
    let lacks = |key: &&SigningKey| {
        key.is_expected() && expected.contains(&key.id) && key.cka_id.as_deref().is_none_or(|id| !is_there.contains(id))
    };
    let missing = after.iter().filter(lacks).cloned().collect();
    let owned: HashSet<&[u8]> = before
        .iter()
        .chain(after)
        .flat_map(|key| [Some(key.id.as_bytes().as_slice()), key.cka_id.as_deref()])
        .chain([HEALTH_KEY, ROOT_KEY].iter().map(|key| Some(key.as_bytes().as_slice())))
        .flatten()
        .collect();
    let orphans = inventory.keys.iter().filter(|key| !owned.contains(key.cka_id.as_slice())).cloned().collect();
    Differences { token: inventory.token, orphans, missing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{KeyPlan, SigningAlgorithm, SystemRng, Timestamp};

    fn key(state: KeyState) -> SigningKey {
        let id = KeyId::random(&SystemRng);
        let intent =
            SigningKey::intent(id, TenantId::random(&SystemRng), SigningAlgorithm::Es256, None, KeyPlan::None, Timestamp::from_millis(0));
        SigningKey { state, cka_id: (state != KeyState::Pending).then(|| id.as_bytes().to_vec()), ..intent }
    }

    fn pair(cka_id: &[u8], private_keys: u32) -> InventoryKey {
        InventoryKey { cka_id: cka_id.to_vec(), label: String::new(), key_type: "EC".to_owned(), private_keys, public_keys: 1 }
    }

    #[test]
    fn token_and_database_are_held_against_each_other() {
        let token = TokenInfo {
            label: String::new(),
            serial: String::new(),
            manufacturer: String::new(),
            model: String::new(),
            firmware: String::new(),
            module: String::new(),
            module_sha256: String::new(),
            library: String::new(),
        };
        let (there, half, intent, begun, late) =
            (key(KeyState::Active), key(KeyState::Active), key(KeyState::Pending), key(KeyState::Retired), key(KeyState::Active));
        let begun = SigningKey { destroying_at: Some(Timestamp::from_millis(1)), ..begun };
        let keys = vec![
            pair(there.id.as_bytes(), 1),
            pair(half.id.as_bytes(), 0),
            // Made, and not written down yet.
            pair(intent.id.as_bytes(), 1),
            pair(HEALTH_KEY.as_bytes(), 1),
            pair(ROOT_KEY.as_bytes(), 1),
            pair(b"nobody's", 1),
        ];
        let before = vec![there, half, intent, begun];
        // Completed after the token was read.
        let after: Vec<_> = before.iter().cloned().chain([late]).collect();
        let found = compare(&before, &after, Inventory { token, keys });
        assert_eq!(found.missing.iter().map(|key| key.id).collect::<Vec<_>>(), [before[1].id]);
        assert_eq!(found.orphans.iter().map(|key| key.cka_id.as_slice()).collect::<Vec<_>>(), [b"nobody's"]);
    }
}
