//! Imported sets of trust anchors.

use std::collections::{BTreeMap, BTreeSet};

use openssl::sha::sha256;

use super::{
    Error, Store,
    conn::{Conn, Done},
    rows::{OrCorrupt, corrupt},
    trust_revision,
};
use crate::domain::{AnchorSetName, Timestamp};

const TABLE: &str = "trust_anchors";

struct AnchorRow {
    set_name: String,
    sha256: Vec<u8>,
    der: Vec<u8>,
}

struct HashRow {
    sha256: Vec<u8>,
}

/// Certificates in DER by the SHA-256 of it.
type Anchors = BTreeMap<Vec<u8>, Vec<u8>>;

impl Store {
    /// Makes these certificates, in DER, the whole of a set; without any there is no such set. A certificate that was in it stays as old
    /// as it was. `false`, and nothing is written, when the set was just that.
    pub async fn replace_anchor_set(&self, name: &AnchorSetName, ders: &[Vec<u8>], now: Timestamp) -> Result<bool, Error> {
        let anchors: Anchors = ders.iter().map(|der| (sha256(der).to_vec(), der.clone())).collect();
        self.write("anchors", (name.clone(), anchors, now), |tx, (name, anchors, now)| {
            Box::pin(async move {
                trust_revision::bump(tx).await?;
                let stored = hashes(tx, name).await?;
                let mut changed = false;
                for hash in stored.iter().filter(|hash| !anchors.contains_key(*hash)) {
                    delete(tx, name, hash).await?;
                    changed = true;
                }
                for (hash, der) in anchors.iter().filter(|(hash, _)| !stored.contains(*hash)) {
                    insert(tx, name, hash, der, *now).await?;
                    changed = true;
                }
                Ok(if changed { Done::Keep(true) } else { Done::Undo(false) })
            })
        })
        .await
    }

    /// Removes a set. `false` when there is none of that name.
    pub async fn remove_anchor_set(&self, name: &AnchorSetName) -> Result<bool, Error> {
        self.write("anchors_removal", name.clone(), |tx, name| {
            Box::pin(async move {
                trust_revision::bump(tx).await?;
                let deleted = execute!(tx, "DELETE FROM trust_anchors WHERE set_name = $1", name.as_str())?;
                Ok(if deleted == 0 { Done::Undo(false) } else { Done::Keep(true) })
            })
        })
        .await
    }

    /// Every set by its name, each with its certificates in DER, the oldest first.
    pub async fn anchor_sets(&self) -> Result<Vec<(AnchorSetName, Vec<Vec<u8>>)>, Error> {
        let rows = query!(
            self.reader().await?,
            fetch_all,
            AnchorRow,
            "SELECT set_name, sha256, der FROM trust_anchors ORDER BY set_name, added_at, sha256"
        )?;
        let mut sets: Vec<(AnchorSetName, Vec<Vec<u8>>)> = Vec::new();
        for row in rows {
            let name: AnchorSetName = row.set_name.parse().or_corrupt(TABLE, &row.set_name)?;
            // Trust rests on these bytes: no other certificate takes the place of the one that was imported.
            if sha256(&row.der).as_slice() != row.sha256 {
                return Err(corrupt(TABLE, &name, "a certificate is not the one that its SHA-256 names"));
            }
            match sets.last_mut() {
                Some((last, ders)) if *last == name => ders.push(row.der),
                _ => sets.push((name, vec![row.der])),
            }
        }
        Ok(sets)
    }
}

async fn hashes(tx: &mut Conn<'_>, name: &AnchorSetName) -> Result<BTreeSet<Vec<u8>>, Error> {
    let rows = query!(tx, fetch_all, HashRow, "SELECT sha256 FROM trust_anchors WHERE set_name = $1", name.as_str())?;
    Ok(rows.into_iter().map(|row| row.sha256).collect())
}

async fn delete(tx: &mut Conn<'_>, name: &AnchorSetName, hash: &[u8]) -> Result<(), Error> {
    execute!(tx, "DELETE FROM trust_anchors WHERE set_name = $1 AND sha256 = $2", name.as_str(), hash)?;
    Ok(())
}

async fn insert(tx: &mut Conn<'_>, name: &AnchorSetName, hash: &[u8], der: &[u8], now: Timestamp) -> Result<(), Error> {
    execute!(
        tx,
        "INSERT INTO trust_anchors (set_name, sha256, der, added_at) VALUES ($1, $2, $3, $4)",
        name.as_str(),
        hash,
        der,
        now.as_millis()
    )?;
    Ok(())
}
