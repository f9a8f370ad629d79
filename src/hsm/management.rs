//! What is asked of the HSM about keys, beside tokens' signatures: to make them, to take them over, to show them and to destroy them.

use std::borrow::Cow;

use tokio::time::{Duration, timeout};

use super::{
    Error, Inventory, ROOT_KEY, Signer, Unlocked,
    client::count,
    connection::{Connection, Lost, lock},
    evidence::{proof_message, verify_evidence},
    protocol::{Adopt, Generate, Prove, Reply, Request},
    public_key::PublicKey,
};
use crate::domain::{KeyEvidence, KeyId, SigningAlgorithm, Timestamp};

/// A key pair to be made.
#[derive(Debug, Clone, Copy)]
pub struct GenerateRequest<'a> {
    /// Its id: `CKA_ID` and, as text, label.
    pub kid: KeyId,
    /// What it will sign with.
    pub algorithm: SigningAlgorithm,
    /// Size of its modulus if it is an RSA key: 2048 (the default), 3072 or 4096.
    pub rsa_bits: Option<u32>,
    /// The time for its evidence.
    pub now: Timestamp,
    /// Who asked for it, for its evidence.
    pub actor: &'a str,
}

/// A key pair on the token to be taken over, found by the one or the other.
#[derive(Debug, Clone, Copy)]
pub struct AdoptRequest<'a> {
    /// The id that it will go by. Its `CKA_ID` and label stay what they are.
    pub kid: KeyId,
    /// Its `CKA_ID`.
    pub cka_id: Option<&'a [u8]>,
    /// Its `CKA_LABEL`.
    pub label: Option<&'a str>,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// The time for its evidence.
    pub now: Timestamp,
    /// Who asked for it, for its evidence.
    pub actor: &'a str,
}

/// A key pair that was made, or taken over from an attempt whose answer was lost. It has signed its evidence.
#[derive(Debug, Clone)]
pub struct GeneratedKey {
    /// `CKA_ID` as read back.
    pub cka_id: Vec<u8>,
    /// Serial number of the token that holds it.
    pub token_serial: String,
    /// SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
    /// What the token said of it.
    pub evidence: KeyEvidence,
}

impl Signer {
    /// Makes a key pair, or takes over the complete one of that id.
    ///
    /// # Errors
    /// After [`Error::Deadline`] and [`Error::Unavailable`] it is unknown whether the pair was made: ask again with the same id.
    pub async fn generate(&self, r: &GenerateRequest<'_>) -> Result<GeneratedKey, Error> {
        let GenerateRequest { kid, algorithm, rsa_bits, now, actor } = *r;
        let body = Generate { kid, algorithm, rsa_bits, now, actor: actor.into() };
        count("generate", self.new_key(kid, algorithm, Request::Generate(body)).await)
    }

    /// Takes over a key pair that is on the token already: exactly one has to match, and to be kept as those are that are made here. It signs
    /// its evidence, which says that it was adopted. Nothing on the token is changed, so that asking again is safe.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`] when none matches; [`Error::KeyUnclear`] when several do, or half a pair; [`Error::Refused`] when it may be read
    /// outside the token, or does more than sign.
    pub async fn adopt(&self, r: &AdoptRequest<'_>) -> Result<GeneratedKey, Error> {
        let AdoptRequest { kid, cka_id, label, algorithm, now, actor } = *r;
        let body = Adopt { kid, cka_id: cka_id.map(Into::into), label: label.map(Into::into), algorithm, now, actor: actor.into() };
        count("adopt", self.new_key(kid, algorithm, Request::Adopt(body)).await)
    }

    async fn new_key(&self, kid: KeyId, algorithm: SigningAlgorithm, request: Request<'_>) -> Result<GeneratedKey, Error> {
        match self.manage(request).await {
            Ok(Reply::Generated(key)) if verify_evidence(algorithm, &key.public_key, &key.evidence) => {
                let token_serial = lock(&self.shared().token).as_ref().map(|t| t.serial.clone()).unwrap_or_default();
                Ok(GeneratedKey { cka_id: key.cka_id, token_serial, public_key: key.public_key, evidence: key.evidence })
            }
            Ok(Reply::Generated(_)) => Err(Error::WrongSignature(kid)),
            other => Err(unexpected(kid, other)),
        }
    }

    /// A signature by the key over [`super::PROOF_PREFIX`], the bytes of `kid`, and `nonce`, which can never be a token, verified with
    /// `public_key`: what shows that the private half is there and is the one. No place in the signing queue is taken.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`] when the token works and does not have it; [`Error::WrongSignature`] when it has another one in its place.
    pub async fn prove(
        &self,
        kid: KeyId,
        cka_id: &[u8],
        algorithm: SigningAlgorithm,
        public_key: &[u8],
        nonce: [u8; 32],
    ) -> Result<Vec<u8>, Error> {
        let request = Prove { kid, cka_id: cka_id.into(), algorithm, public_key: public_key.into(), nonce, fresh: false };
        let limit = self.shared().options.sign_deadline;
        count("prove", timeout(limit, self.proven(&request)).await.unwrap_or(Err(Error::Deadline)))
    }

    async fn proven(&self, request: &Prove<'_>) -> Result<Vec<u8>, Error> {
        let shared = self.shared();
        let key =
            shared.keys.get(request.algorithm, &request.public_key).map_err(|e| Error::Refused(format!("the stored public key: {e}")))?;
        let first = shared.manager().ok_or(Error::Unavailable)?;
        match prove_by(&first, request, &key, shared.options.sign_deadline).await {
            // The other one may do it, or see a key that was made a moment ago.
            Err(error @ (Error::Busy | Error::Unavailable | Error::Device(_) | Error::KeyNotFound(_))) => {
                match shared.pool.pick(Some(&first)) {
                    Some(second) => prove_by(&second, request, &key, shared.options.sign_deadline).await,
                    None => Err(error),
                }
            }
            outcome => outcome,
        }
    }

    /// The attributes of private keys as read back from the token now, each a JSON object with the names that evidence has, `None` for those
    /// that are not there; in the order of `cka_ids`.
    pub async fn describe(&self, cka_ids: &[&[u8]]) -> Result<Vec<Option<String>>, Error> {
        let mut described = Vec::with_capacity(cka_ids.len());
        for batch in batches(cka_ids) {
            let request = Request::Describe { cka_ids: batch.iter().map(|id| Cow::Borrowed(*id)).collect() };
            match self.manage(request).await {
                Ok(Reply::Described(batch_described)) if batch_described.len() == batch.len() => described.extend(batch_described),
                other => return count("describe", Err(unexpected(super::HEALTH_KEY, other))),
            }
        }
        Ok(described)
    }

    /// Destroys a key pair, and looks again. False when there was none, on a token that works. `cka_id` where it is known; where it is another
    /// than `id`'s, only one pair may have it, and none that is labelled as another key of ours.
    pub async fn destroy(&self, id: KeyId, cka_id: Option<&[u8]>) -> Result<bool, Error> {
        let outcome = match self.manage(Request::Destroy { kid: id, cka_id: cka_id.map(Cow::Borrowed) }).await {
            Ok(Reply::Destroyed(existed)) => Ok(existed),
            other => Err(unexpected(id, other)),
        };
        count("destroy", outcome)
    }

    /// The token, and every key pair on it.
    pub async fn inventory(&self) -> Result<Inventory, Error> {
        let outcome = match self.manage(Request::Inventory).await {
            Ok(Reply::Inventory(inventory)) => Ok(inventory),
            other => Err(unexpected(super::HEALTH_KEY, other)),
        };
        count("inventory", outcome)
    }

    /// The one signature of the token's root key, verified: of the pair with this public key (SubjectPublicKeyInfo), or of the one that there
    /// is, which is made where there is none.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`] when the token works and has no such pair; [`Error::Refused`] when it has none and the signer processes have
    /// signing rights only. Asking again is safe.
    pub async fn unlock(&self, public_key: Option<&[u8]>) -> Result<Unlocked, Error> {
        let outcome = match self.manage(Request::Unlock { public_key: public_key.map(Cow::Borrowed) }).await {
            Ok(Reply::Unlocked(unlocked)) if unlocked.is_genuine(public_key) => Ok(unlocked),
            Ok(Reply::Unlocked(_)) => Err(Error::WrongSignature(ROOT_KEY)),
            other => Err(unexpected(ROOT_KEY, other)),
        };
        count("unlock", outcome)
    }

    /// Asks one process, once: what was begun may have been done, and doing it twice may do harm.
    async fn manage(&self, request: Request<'_>) -> Result<Reply, Error> {
        let shared = self.shared();
        let connection = shared.manager().ok_or(Error::Unavailable)?;
        let limit = shared.options.manage_deadline;
        match timeout(limit, connection.call(request, limit)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(Lost)) => Err(Error::Unavailable),
            Err(_) => Err(Error::Deadline),
        }
    }
}

/// One process's proof, verified. A wrong one is asked for again with the key looked up anew: its handle may have become another key's.
async fn prove_by(connection: &Connection, request: &Prove<'_>, key: &PublicKey, limit: Duration) -> Result<Vec<u8>, Error> {
    let Prove { kid, algorithm, nonce, .. } = *request;
    let (cka_id, public_key) = (&*request.cka_id, &*request.public_key);
    for fresh in [false, true] {
        let request = Prove { kid, cka_id: cka_id.into(), algorithm, public_key: public_key.into(), nonce, fresh };
        match connection.call(Request::Prove(request), limit).await {
            Ok(Reply::Signature(signature)) if key.verify(&proof_message(kid, &nonce), &signature) => return Ok(signature),
            Ok(Reply::Signature(_)) => {}
            Ok(other) => return Err(unexpected(kid, Ok(other))),
            Err(Lost) => return Err(Error::Unavailable),
        }
    }
    Err(Error::WrongSignature(kid))
}

/// What one request takes: a quarter of a frame at the most, and a reply that is well within its own.
const BATCH_KEYS: usize = 256;
const BATCH_BYTES: usize = super::protocol::MAX_REQUEST / 4;

fn batches<'a>(cka_ids: &'a [&'a [u8]]) -> Vec<&'a [&'a [u8]]> {
    let (mut batches, mut rest) = (Vec::new(), cka_ids);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |id: &&&[u8]| {
            bytes += id.len();
            bytes <= BATCH_BYTES
        };
        // One that is too long by itself goes by itself, and is refused as what it is.
        let n = rest.iter().take(BATCH_KEYS).take_while(fits).count().max(1);
        let (batch, others) = rest.split_at(n);
        batches.push(batch);
        rest = others;
    }
    batches
}

fn unexpected(kid: KeyId, outcome: Result<Reply, Error>) -> Error {
    match outcome {
        Err(error) => error,
        Ok(Reply::Failed(failure)) => Error::from_failure(kid, failure),
        Ok(_) => Error::Device("the signer answered another question".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_in_number_and_bytes_and_lose_nothing() {
        let (short, long, huge) = ([7; 16], vec![7; BATCH_BYTES / 2], vec![7; 2 * BATCH_BYTES]);
        let lengths = |ids: &[&[u8]]| batches(ids).iter().map(|batch| batch.len()).collect::<Vec<_>>();
        assert!(batches(&[]).is_empty());
        assert_eq!(lengths(&vec![&short[..]; 2 * BATCH_KEYS + 1]), [BATCH_KEYS, BATCH_KEYS, 1]);
        assert_eq!(lengths(&[&long, &long, &long]), [2, 1]);
        assert_eq!(lengths(&[&huge, &short]), [1, 1]);
    }
}
