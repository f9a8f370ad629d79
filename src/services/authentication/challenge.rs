//! Challenges that need no row: what the server must know again stands in them, under a MAC.
//!
//! 32 bytes: 6 of the instant at which it ends (milliseconds, big endian), 1 of what was asked of the authenticator, 9 random ones, and 16 of
//! HMAC-SHA-256 under a subkey of the root secret. The MAC covers whose challenge it is, too: tenant, operation, and the user or nobody. So
//! none can be made up, none answers for another tenant, operation or user, and whoever floods login/initialize writes nothing. That it is
//! good once is for the table of used challenges.

use crate::{
    domain::{Challenge, Operation, Rng, TenantId, Timestamp, UserId, UserVerification},
    services::{Error, RootSecret},
};

/// Names the MAC's key. Another layout has another name.
const PURPOSE: &str = "login challenge v1";

/// The latest instant that 6 bytes hold, in the year 10889.
const LATEST: i64 = (1 << 48) - 1;

/// Whose a challenge is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Binding<'a> {
    pub(super) tenant: TenantId,
    pub(super) operation: Operation,
    /// `None`: whoever has a discoverable credential.
    pub(super) user: Option<&'a UserId>,
}

/// What a challenge says: true only if it [is genuine](Self::is_genuine).
#[derive(Clone, Copy)]
pub(super) struct LoginChallenge {
    /// An answer at or after this instant is too late.
    pub(super) expires_at: Timestamp,
    /// What was asked of the authenticator.
    pub(super) user_verification: UserVerification,
    /// What the MAC covers, as it stands in the challenge.
    head: [u8; 16],
    mac: [u8; 16],
}

impl LoginChallenge {
    /// A fresh one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] until the root secret is open.
    pub(super) fn issue(
        root: &RootSecret,
        rng: &dyn Rng,
        binding: &Binding<'_>,
        expires_at: Timestamp,
        user_verification: UserVerification,
    ) -> Result<Challenge, Error> {
        let [_, _, e1, e2, e3, e4, e5, e6] = expires_at.as_millis().clamp(0, LATEST).to_be_bytes();
        let [n1, n2, n3, n4, n5, n6, n7, n8, n9] = rng.bytes();
        let asked = match user_verification {
            UserVerification::Required => 1,
            UserVerification::Preferred => 2,
            UserVerification::Discouraged => 3,
        };
        let head = [e1, e2, e3, e4, e5, e6, asked, n1, n2, n3, n4, n5, n6, n7, n8, n9];
        Ok(Challenge::from_bytes(&[head, mac(root, binding, &head)?].concat()))
    }

    /// Reads one as a client sent it, genuine or not.
    pub(super) fn read(challenge: &Challenge) -> Option<Self> {
        let ([head, mac], []) = challenge.as_bytes().as_chunks::<16>() else { return None };
        let [e1, e2, e3, e4, e5, e6, asked, ..] = *head;
        Some(Self {
            expires_at: Timestamp::from_millis(i64::from_be_bytes([0, 0, e1, e2, e3, e4, e5, e6])),
            user_verification: match asked {
                1 => UserVerification::Required,
                2 => UserVerification::Preferred,
                3 => UserVerification::Discouraged,
                _ => return None,
            },
            head: *head,
            mac: *mac,
        })
    }

    /// Whether it was made here, for this. The comparison takes the same time wherever the MACs differ.
    ///
    /// # Errors
    /// [`Error::Unavailable`] until the root secret is open.
    pub(super) fn is_genuine(&self, root: &RootSecret, binding: &Binding<'_>) -> Result<bool, Error> {
        Ok(openssl::memcmp::eq(&self.mac, &mac(root, binding, &self.head)?))
    }

    /// Whether its time is over.
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }
}

/// The first half of HMAC-SHA-256 (RFC 2104 section 5) over what a challenge is bound to and its own first half, each with its length before
/// it, so that no two bindings have one form. Nobody is no text, not even an empty one.
fn mac(root: &RootSecret, binding: &Binding<'_>, head: &[u8; 16]) -> Result<[u8; 16], Error> {
    let mut message = Vec::with_capacity(160);
    let mut add = |part: &[u8]| {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    };
    add(binding.tenant.as_uuid().as_bytes());
    add(binding.operation.as_str().as_bytes());
    add(&[u8::from(binding.user.is_some())]);
    add(binding.user.map(UserId::as_bytes).unwrap_or_default());
    add(head);
    let [half, _] = *root.mac(PURPOSE, &message)?.as_chunks::<16>().0 else {
        return Err(Error::Internal("a MAC has another length".to_owned(), None));
    };
    Ok(half)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use zeroize::Zeroizing;

    use super::*;
    use crate::domain::SystemRng;

    fn root(byte: u8) -> RootSecret {
        let root = RootSecret::default();
        root.set(Zeroizing::new([byte; 32]));
        root
    }

    fn tenant(n: u128) -> TenantId {
        TenantId::from_uuid(Uuid::from_u128(n))
    }

    fn binding(user: Option<&UserId>) -> Binding<'_> {
        Binding { tenant: tenant(1), operation: Operation::Login, user }
    }

    const EXPIRES: Timestamp = Timestamp::from_millis(1_700_000_000_123);

    fn issue(binding: &Binding<'_>) -> Challenge {
        LoginChallenge::issue(&root(1), &SystemRng, binding, EXPIRES, UserVerification::Required).unwrap()
    }

    fn is_genuine(challenge: &Challenge, binding: &Binding<'_>) -> bool {
        LoginChallenge::read(challenge).is_some_and(|challenge| challenge.is_genuine(&root(1), binding).unwrap())
    }

    #[test]
    fn it_says_what_it_was_made_with() {
        for asked in [UserVerification::Required, UserVerification::Preferred, UserVerification::Discouraged] {
            let challenge = LoginChallenge::issue(&root(1), &SystemRng, &binding(None), EXPIRES, asked).unwrap();
            assert_eq!(challenge.as_bytes().len(), 32);
            let read = LoginChallenge::read(&challenge).unwrap();
            assert!(read.is_genuine(&root(1), &binding(None)).unwrap());
            assert_eq!((read.expires_at, read.user_verification), (EXPIRES, asked));
        }
    }

    #[test]
    fn one_bit_makes_it_a_forgery() {
        let challenge = issue(&binding(None));
        assert!(is_genuine(&challenge, &binding(None)));
        for bit in 0..256 {
            let mut forged = challenge.as_bytes().to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_genuine(&Challenge::from_bytes(&forged), &binding(None)), "bit {bit}");
        }
    }

    #[test]
    fn it_has_32_bytes() {
        let challenge = issue(&binding(None));
        let genuine = challenge.as_bytes();
        for other in [&[], &genuine[..31], &genuine[1..], &[genuine, &[0]].concat(), &[genuine, genuine].concat(), &[0; 32]] {
            assert!(LoginChallenge::read(&Challenge::from_bytes(other)).is_none());
        }
    }

    #[test]
    fn it_is_bound_to_tenant_operation_and_user() {
        let [ann, bob]: [UserId; 2] = ["ann", "bob"].map(|id| id.parse().unwrap());
        let bindings = [
            binding(None),
            binding(Some(&ann)),
            binding(Some(&bob)),
            Binding { tenant: tenant(2), ..binding(None) },
            Binding { tenant: tenant(2), ..binding(Some(&ann)) },
            Binding { operation: Operation::MfaLogin, ..binding(None) },
            Binding { operation: Operation::MfaLogin, ..binding(Some(&ann)) },
            Binding { operation: Operation::Transaction, ..binding(Some(&ann)) },
        ];
        for (n, made) in bindings.iter().enumerate() {
            let challenge = issue(made);
            for (m, asked) in bindings.iter().enumerate() {
                assert_eq!(is_genuine(&challenge, asked), n == m, "{made:?} {asked:?}");
            }
        }
    }

    #[test]
    fn it_is_of_one_deployment() {
        let read = LoginChallenge::read(&issue(&binding(None))).unwrap();
        assert!(!read.is_genuine(&root(2), &binding(None)).unwrap());
    }

    #[test]
    fn no_secret_no_challenge() {
        let closed = RootSecret::default();
        let made = LoginChallenge::issue(&closed, &SystemRng, &binding(None), EXPIRES, UserVerification::Required);
        assert!(matches!(made, Err(Error::Unavailable("the root secret", None))));
        let read = LoginChallenge::read(&issue(&binding(None))).unwrap();
        assert!(matches!(read.is_genuine(&closed, &binding(None)), Err(Error::Unavailable(..))));
    }

    #[test]
    fn it_ends_at_its_instant() {
        let read = LoginChallenge::read(&issue(&binding(None))).unwrap();
        let at = |offset: i64| Timestamp::from_millis(EXPIRES.as_millis() + offset);
        assert!(!read.is_expired(at(-1)) && read.is_expired(at(0)) && read.is_expired(at(1)));
    }

    #[test]
    fn instants_beyond_its_bytes_are_the_nearest_that_fit() {
        let issued = |millis: i64| {
            let asked = UserVerification::Required;
            let challenge = LoginChallenge::issue(&root(1), &SystemRng, &binding(None), Timestamp::from_millis(millis), asked).unwrap();
            LoginChallenge::read(&challenge).unwrap().expires_at.as_millis()
        };
        assert_eq!([issued(-1), issued(0), issued(LATEST), issued(LATEST + 1), issued(i64::MAX)], [0, 0, LATEST, LATEST, LATEST]);
    }

    #[test]
    fn no_two_are_alike() {
        assert_ne!(issue(&binding(None)), issue(&binding(None)));
    }
}
