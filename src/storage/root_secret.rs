//! The deployment's root secret, wrapped: which one it is, and an envelope for each token that can open it.

use super::{
    Error, Store,
    conn::{Conn, Done},
    rows::OrCorrupt,
};
use crate::domain::Timestamp;

const TABLE: &str = "root_secret";

/// Tells one root secret from another.
pub type RootFingerprint = [u8; 16];

/// The root secret as one token can open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootEnvelope {
    /// Serial number of the token.
    pub token_serial: String,
    /// SubjectPublicKeyInfo of the token's key whose signature opens it.
    pub public_key: Vec<u8>,
    /// Nonce, ciphertext and tag, 60 bytes.
    pub envelope: Vec<u8>,
    /// When it was sealed.
    pub created_at: Timestamp,
}

/// The root secret as one token finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRootSecret {
    /// Which one it is.
    pub fingerprint: RootFingerprint,
    /// The token's envelope, if it has one.
    pub envelope: Option<RootEnvelope>,
}

struct FingerprintRow {
    fingerprint: Vec<u8>,
}

struct RootRow {
    fingerprint: Vec<u8>,
    public_key: Option<Vec<u8>>,
    envelope: Option<Vec<u8>>,
    created_at: Option<i64>,
}

impl Store {
    /// Which root secret the deployment has; `None` before the first start.
    pub async fn root_secret_fingerprint(&self) -> Result<Option<RootFingerprint>, Error> {
        let row = query!(self.reader().await?, fetch_optional, FingerprintRow, "SELECT fingerprint FROM root_secret WHERE id = 1")?;
        row.map(|row| fingerprint(&row.fingerprint)).transpose()
    }

    /// The root secret as the token of this serial number finds it; `None` before the first start.
    pub async fn root_secret(&self, token_serial: &str) -> Result<Option<StoredRootSecret>, Error> {
        // One statement: the envelope holds this secret, whoever replaces it meanwhile.
        let row = query!(
            self.reader().await?,
            fetch_optional,
            RootRow,
            r#"SELECT r.fingerprint, e.public_key AS "public_key?", e.envelope AS "envelope?", e.created_at AS "created_at?"
            FROM root_secret r LEFT JOIN root_secret_envelopes e ON e.token_serial = $1 WHERE r.id = 1"#,
            token_serial
        )?;
        let Some(row) = row else { return Ok(None) };
        let envelope = match (row.public_key, row.envelope, row.created_at) {
            (Some(public_key), Some(envelope), Some(created_at)) => Some(RootEnvelope {
                token_serial: token_serial.to_owned(),
                public_key,
                envelope,
                created_at: Timestamp::from_millis(created_at),
            }),
            _ => None,
        };
        Ok(Some(StoredRootSecret { fingerprint: fingerprint(&row.fingerprint)?, envelope }))
    }

    /// Stores the first root secret. `false`, and nothing is written, when there is one: of servers that start at once, one wins.
    pub async fn create_root_secret(&self, fingerprint: RootFingerprint, envelope: &RootEnvelope) -> Result<bool, Error> {
        self.write("root_secret", (fingerprint, envelope.clone()), |tx, (fingerprint, envelope)| {
            Box::pin(async move {
                let made = execute!(
                    tx,
                    "INSERT INTO root_secret (id, fingerprint, created_at) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING",
                    fingerprint.as_slice(),
                    envelope.created_at.as_millis()
                )?;
                if made != 1 {
                    return Ok(Done::Undo(false));
                }
                // What a restored backup may have left belongs to a secret that is gone.
                execute!(tx, "DELETE FROM root_secret_envelopes")?;
                put(tx, envelope).await?;
                Ok(Done::Keep(true))
            })
        })
        .await
    }

    /// Adds a token's envelope of the secret with this fingerprint, in the place of the one that it had. `false`, and nothing is written, when
    /// it is another secret by now.
    pub async fn add_root_envelope(&self, fingerprint: RootFingerprint, envelope: &RootEnvelope) -> Result<bool, Error> {
        self.write("root_envelope", (fingerprint, envelope.clone()), |tx, (fingerprint, envelope)| {
            Box::pin(async move {
                // Its row's lock keeps a replacement away until this is committed.
                if !renew(tx, fingerprint, fingerprint, None).await? {
                    return Ok(Done::Undo(false));
                }
                put(tx, envelope).await?;
                Ok(Done::Keep(true))
            })
        })
        .await
    }

    /// Puts another root secret, with one envelope, in the place of the one with the fingerprint `old`; all other envelopes go. `false`, and
    /// nothing is written, when it is another one by now.
    pub async fn replace_root_secret(&self, old: RootFingerprint, new: RootFingerprint, envelope: &RootEnvelope) -> Result<bool, Error> {
        self.write("root_secret", (old, new, envelope.clone()), |tx, (old, new, envelope)| {
            Box::pin(async move {
                if !renew(tx, old, new, Some(envelope.created_at)).await? {
                    return Ok(Done::Undo(false));
                }
                execute!(tx, "DELETE FROM root_secret_envelopes")?;
                put(tx, envelope).await?;
                Ok(Done::Keep(true))
            })
        })
        .await
    }
}

/// `false` when the secret is not `old` any more.
async fn renew(tx: &mut Conn<'_>, old: &RootFingerprint, new: &RootFingerprint, created_at: Option<Timestamp>) -> Result<bool, Error> {
    let updated = execute!(
        tx,
        "UPDATE root_secret SET fingerprint = $1, created_at = COALESCE(CAST($2 AS BIGINT), created_at) WHERE id = 1 AND fingerprint = $3",
        new.as_slice(),
        created_at.map(Timestamp::as_millis),
        old.as_slice()
    )?;
    Ok(updated == 1)
}

async fn put(tx: &mut Conn<'_>, envelope: &RootEnvelope) -> Result<(), Error> {
    execute!(
        tx,
        "INSERT INTO root_secret_envelopes (token_serial, public_key, envelope, created_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (token_serial) DO UPDATE
        SET public_key = excluded.public_key, envelope = excluded.envelope, created_at = excluded.created_at",
        envelope.token_serial.as_str(),
        envelope.public_key.as_slice(),
        envelope.envelope.as_slice(),
        envelope.created_at.as_millis()
    )?;
    Ok(())
}

fn fingerprint(bytes: &[u8]) -> Result<RootFingerprint, Error> {
    bytes.try_into().or_corrupt(TABLE, &1)
}
