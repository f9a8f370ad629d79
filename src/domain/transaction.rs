//! Transactions: what a person confirms with a passkey, such as a payment.

use std::{fmt, str::FromStr};

use openssl::sha::Sha256;

use super::{
    AuditEventId, Challenge, CredentialId, Rng, TenantId, Timestamp, TransactionRowId, UserId, UserVerification,
    go_json::{self, GoJsonError},
};

/// A text that cannot name a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransactionIdError {
    /// The text is empty.
    #[error("a transaction id must not be empty")]
    Empty,
    /// More characters than [`TransactionId::MAX_CHARS`].
    #[error("a transaction id has at most {max} characters", max = TransactionId::MAX_CHARS)]
    TooLong,
    /// U+0000, which PostgreSQL has no text for; no other character may stand in for it in a name.
    #[error("a transaction id must not contain U+0000")]
    Nul,
}

/// The application's own name for a transaction, unique in its tenant: 1 to 128 characters without U+0000.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(String);

impl TransactionId {
    /// The most characters (code points, not bytes) that an id may have.
    pub const MAX_CHARS: usize = 128;

    /// The text as the application sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TransactionId {
    type Err = TransactionIdError;

    fn from_str(s: &str) -> Result<Self, TransactionIdError> {
        if s.is_empty() {
            Err(TransactionIdError::Empty)
        } else if s.chars().nth(Self::MAX_CHARS).is_some() {
            Err(TransactionIdError::TooLong)
        } else if s.contains('\0') {
            Err(TransactionIdError::Nul)
        } else {
            Ok(Self(s.to_owned()))
        }
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Data that nobody can confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransactionDataError {
    /// There is none.
    #[error("the data of a transaction must not be null")]
    Null,
    /// It cannot be read.
    #[error(transparent)]
    Json(#[from] GoJsonError),
}

/// What a transaction is about: any JSON but `null`, in the one form that is hashed, stored and shown ([`go_json::canonical`]).
#[derive(Clone, PartialEq, Eq)]
pub struct TransactionData(String);

impl TransactionData {
    /// From JSON as the application sent it.
    pub fn from_json(text: &[u8]) -> Result<Self, TransactionDataError> {
        match go_json::canonical(text)? {
            data if data == "null" => Err(TransactionDataError::Null),
            data => Ok(Self(data)),
        }
    }

    /// As it is hashed and stored: ASCII without control characters, but for what strings hold beyond ASCII and U+007F.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionState {
    /// Nobody has answered yet. After its time it can be begun again.
    Pending,
    /// A passkey of its user has signed it. Final.
    Confirmed,
    /// An answer was refused. It can be begun again.
    Refused,
}

text_enum!(TransactionState, "pending, confirmed, refused", {
    Pending => "pending",
    Confirmed => "confirmed",
    Refused => "refused",
});

/// A transaction to be confirmed, with its ceremony.
#[derive(Debug, Clone)]
pub struct NewTransaction {
    /// Its row; kept when it is begun again.
    pub row: TransactionRowId,
    /// Whose user is asked.
    pub tenant_id: TenantId,
    /// The application's name for it.
    pub id: TransactionId,
    /// Who is asked.
    pub user_id: UserId,
    /// What is asked.
    pub data: TransactionData,
    /// What the browser has to return: [`Challenge::for_transaction`].
    pub challenge: Challenge,
    /// What the options asked of the authenticator.
    pub user_verification: UserVerification,
    /// When it was begun.
    pub created_at: Timestamp,
    /// An answer at or after this instant is too late.
    pub expires_at: Timestamp,
}

/// A stored transaction.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// As it was begun, last.
    pub begun: NewTransaction,
    /// What became of it.
    pub state: TransactionState,
    /// When that was last written.
    pub updated_at: Timestamp,
    /// By what it was confirmed, if it was.
    pub confirmation: Option<Confirmation>,
}

/// That a transaction was confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// With which credential.
    pub credential_id: CredentialId,
    /// The token's `jti`, and the audit event's id.
    pub token_id: AuditEventId,
    /// When.
    pub at: Timestamp,
}

/// Not printed: what people pay, and to whom, is nothing for a log.
impl fmt::Debug for TransactionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransactionData(..)")
    }
}

impl Challenge {
    /// A transaction's challenge, 64 bytes: 32 fresh random ones, then SHA-256(id || data), by which whoever confirms it confirms these data.
    ///
    /// Nothing stands between id and data, as in the open-source passkey-server: `a1` with `2` hashes as `a` with `12` does. That is no way to
    /// pass one for the other: the random bytes differ, and a ceremony is found by all 64.
    pub fn for_transaction(rng: &dyn Rng, id: &TransactionId, data: &TransactionData) -> Self {
        Self::from_bytes(&[rng.bytes::<32>(), hash(id, data)].concat())
    }

    /// Whether it was made for this transaction: it has 64 bytes, of which the second half is SHA-256(id || data).
    pub fn is_of_transaction(&self, id: &TransactionId, data: &TransactionData) -> bool {
        self.as_bytes().get(32..) == Some(&hash(id, data))
    }
}

fn hash(id: &TransactionId, data: &TransactionData) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(id.as_str().as_bytes());
    hash.update(data.as_str().as_bytes());
    hash.finish()
}

#[cfg(test)]
mod tests {
    use openssl::{bn::BigNum, sha::sha256};

    use super::*;

    /// Counts, so that each call gives other bytes.
    #[derive(Debug, Default)]
    struct Counting(std::sync::atomic::AtomicU8);

    impl Rng for Counting {
        fn fill(&self, buf: &mut [u8]) {
            buf.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
    }

    fn id(text: &str) -> TransactionId {
        text.parse().unwrap()
    }

    fn data(text: &str) -> TransactionData {
        TransactionData::from_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_id_has_1_to_128_characters() {
        for good in ["a", " ", "🙂", "../x?y#z", &"x".repeat(128), &"🙂".repeat(128)] {
            assert_eq!(id(good).as_str(), good);
            assert_eq!(id(good).to_string(), good);
        }
        let refused = |text: &str| text.parse::<TransactionId>().unwrap_err();
        assert_eq!(refused(""), TransactionIdError::Empty);
        assert_eq!(refused("a\0"), TransactionIdError::Nul);
        assert_eq!(refused(&"x".repeat(129)), TransactionIdError::TooLong);
        assert_eq!(refused(&"🙂".repeat(129)).to_string(), "a transaction id has at most 128 characters");
    }

    #[test]
    fn data_are_any_json_but_null() {
        for (text, stored) in [("0", "0"), ("false", "false"), ("\"\"", "\"\""), ("[]", "[]"), ("[ null ]", "[null]"), ("{}", "{}")] {
            assert_eq!(data(text).as_str(), stored);
        }
        assert_eq!(TransactionData::from_json(b" null\n"), Err(TransactionDataError::Null));
        assert_eq!(TransactionData::from_json(b""), Err(TransactionDataError::Json(GoJsonError::Syntax(1))));
        assert_eq!(format!("{:?}", data("{\"iban\":\"x\"}")), "TransactionData(..)");
    }

    #[test]
    fn a_challenge_is_random_and_then_a_hash_of_id_and_data() {
        let challenge = Challenge::for_transaction(&Counting::default(), &id("tx-1"), &data("{ \"b\" : 1.0 , \"a\" : \"<ü>\" }"));
        let (random, hash) = challenge.as_bytes().split_at(32);
        assert_eq!(random, [0; 32]);
        assert_eq!(hash, sha256("tx-1{\"a\":\"\\u003cü\\u003e\",\"b\":1}".as_bytes()));
    }

    #[test]
    fn a_challenge_of_known_bytes() {
        // printf 'order-1{"amount":"50.00","currency":"EUR"}' | sha256sum
        let challenge = Challenge::for_transaction(&Counting::default(), &id("order-1"), &data(r#"{"currency":"EUR","amount":"50.00"}"#));
        let hash = BigNum::from_slice(&challenge.as_bytes()[32..]).unwrap().to_hex_str().unwrap().to_lowercase();
        assert_eq!(hash, "fe19563459c80a7c5be20429d41dd39d5d1bab7fa1854c5933ae102b197c3007");
    }

    #[test]
    fn a_challenge_is_of_one_transaction() {
        let made = Challenge::for_transaction(&Counting::default(), &id("order-1"), &data("{\"pay\":50}"));
        assert!(made.is_of_transaction(&id("order-1"), &data("{ \"pay\": 50.0 }")));
        assert!(!made.is_of_transaction(&id("order-2"), &data("{\"pay\":50}")));
        assert!(!made.is_of_transaction(&id("order-1"), &data("{\"pay\":51}")));
        let bytes = made.as_bytes();
        for other in [&bytes[32..], &bytes[1..], &bytes[..63], &[bytes, &[0]].concat(), &[]] {
            assert!(!Challenge::from_bytes(other).is_of_transaction(&id("order-1"), &data("{\"pay\":50}")), "{}", other.len());
        }
    }

    #[test]
    fn the_same_transaction_twice_has_two_challenges_with_one_hash() {
        let rng = Counting::default();
        let [one, two] = [(); 2].map(|()| Challenge::for_transaction(&rng, &id("a1"), &data("2")));
        assert_ne!(one, two);
        assert_eq!(one.as_bytes()[32..], two.as_bytes()[32..]);
        // No separator: what the formula gives, whoever finds it surprising.
        assert_eq!(one.as_bytes()[32..], Challenge::for_transaction(&rng, &id("a"), &data("12")).as_bytes()[32..]);
        assert_ne!(one.as_bytes()[32..], Challenge::for_transaction(&rng, &id("a1"), &data("3")).as_bytes()[32..]);
    }
}
