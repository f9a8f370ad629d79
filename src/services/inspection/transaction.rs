//! Whether a signed challenge is that of a transaction.

use crate::domain::{Challenge, TransactionData, TransactionDataError, TransactionId, TransactionIdError};

/// What somebody is said to have confirmed.
#[derive(Debug, Clone, Copy)]
pub struct ClaimedTransaction<'a> {
    /// The application's name for it.
    pub id: &'a str,
    /// The text that was hashed and stored: JSON in the form of [`TransactionData`].
    pub data: &'a str,
}

/// Why something else was confirmed, or nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TransactionRefusal {
    #[error("transaction_id: {0}")]
    Id(#[from] TransactionIdError),
    #[error("data: {0}")]
    Data(#[from] TransactionDataError),
    #[error("data: this is not the form that is hashed, with sorted members and no spaces")]
    Form,
    #[error("the challenge is no transaction's: it has {0} bytes, not 64")]
    Length(usize),
    #[error("another transaction was confirmed: the second half of the challenge is not SHA-256(transaction_id || data)")]
    Other,
}

impl ClaimedTransaction<'_> {
    /// Whether `challenge` is the transaction's.
    ///
    /// Nothing stands between id and data in what is hashed. That both have their form leaves little of a name that could be taken for data, or
    /// of data for a name: numbers, as `a1` with `2` is `a` with `12`.
    pub(super) fn verify(self, challenge: &Challenge) -> Result<(), TransactionRefusal> {
        let id: TransactionId = self.id.parse()?;
        let data = TransactionData::from_json(self.data.as_bytes())?;
        if data.as_str() != self.data {
            return Err(TransactionRefusal::Form);
        }
        match challenge.as_bytes().len() {
            64 if challenge.is_of_transaction(&id, &data) => Ok(()),
            64 => Err(TransactionRefusal::Other),
            length => Err(TransactionRefusal::Length(length)),
        }
    }
}

#[cfg(test)]
mod tests {
    use openssl::sha::sha256;

    use super::*;

    const ID: &str = "order-1";
    const DATA: &str = r#"{"amount":"50.00","currency":"EUR"}"#;

    fn challenge(hashed: &str) -> Challenge {
        Challenge::from_bytes(&[[7; 32], sha256(hashed.as_bytes())].concat())
    }

    fn verify(id: &str, data: &str, challenge: &Challenge) -> Result<(), TransactionRefusal> {
        ClaimedTransaction { id, data }.verify(challenge)
    }

    #[test]
    fn the_second_half_is_the_hash_of_id_and_data() {
        let genuine = challenge(&format!("{ID}{DATA}"));
        assert_eq!(verify(ID, DATA, &genuine), Ok(()));
        // Other data.
        for data in [r#"{"amount":"51.00","currency":"EUR"}"#, r#"{"amount":"50.00","currency":"EUR","to":"me"}"#, "{}", "0", "\"\""] {
            assert_eq!(verify(ID, data, &genuine), Err(TransactionRefusal::Other), "{data}");
        }
        // Another name.
        for id in ["order-2", "order-", "order-1 ", "Order-1"] {
            assert_eq!(verify(id, DATA, &genuine), Err(TransactionRefusal::Other), "{id}");
        }
        // Another challenge: of another transaction, and with the halves the wrong way round.
        assert_eq!(verify(ID, DATA, &challenge(&format!("order-2{DATA}"))), Err(TransactionRefusal::Other));
        let (random, hash) = genuine.as_bytes().split_at(32);
        assert_eq!(verify(ID, DATA, &Challenge::from_bytes(&[hash, random].concat())), Err(TransactionRefusal::Other));
    }

    #[test]
    fn a_challenge_has_64_bytes() {
        let genuine = challenge(&format!("{ID}{DATA}"));
        for bytes in [&[][..], &genuine.as_bytes()[32..], &genuine.as_bytes()[..63], &[genuine.as_bytes(), &[0]].concat()] {
            assert_eq!(verify(ID, DATA, &Challenge::from_bytes(bytes)), Err(TransactionRefusal::Length(bytes.len())));
        }
        assert_eq!(TransactionRefusal::Length(32).to_string(), "the challenge is no transaction's: it has 32 bytes, not 64");
    }

    /// Whatever was hashed.
    #[test]
    fn id_and_data_have_their_forms() {
        for data in ["{", "", "null", "{\"a\":1} "] {
            let refusal = verify(ID, data, &challenge(&format!("{ID}{data}"))).unwrap_err();
            let is_formal = matches!(refusal, TransactionRefusal::Data(_) | TransactionRefusal::Form);
            assert!(is_formal && refusal.to_string().starts_with("data: "), "{data}: {refusal}");
        }
        for data in ["{ }", r#"{"b":1,"a":2}"#, "1.0", "\"<\""] {
            assert_eq!(verify(ID, data, &challenge(&format!("{ID}{data}"))), Err(TransactionRefusal::Form), "{data}");
        }
        for (id, expected) in
            [("", TransactionIdError::Empty), (&"x".repeat(129), TransactionIdError::TooLong), ("a\0", TransactionIdError::Nul)]
        {
            assert_eq!(verify(id, DATA, &challenge(&format!("{id}{DATA}"))), Err(TransactionRefusal::Id(expected)));
        }
        // A name that takes the beginning of the data with it.
        assert!(verify("order-1{", &DATA[1..], &challenge(&format!("{ID}{DATA}"))).is_err());
    }
}
