//! Verifying an assertion: the procedure of WebAuthn L3 section 7.2, in its order and with its numbers.

use openssl::sha::sha256;

use super::{
    AuthenticationCredential, CborError, CeremonyRefusal, KeyError, SignatureError, StepError,
    cbor::Value,
    ceremony::{Expected, Kind, at, verify},
    cose::CoseKey,
};
use crate::domain::{BackupFlags, Challenge, CredentialId, Origin, UserVerification};

/// What the relying party asked for and accepts.
#[derive(Debug, Clone, Copy)]
pub struct AuthenticationPolicy<'a> {
    /// The RP ID that was sent.
    pub rp_id: &'a str,
    /// Where the ceremony may have run.
    pub origins: &'a [Origin],
    /// The challenge that was sent.
    pub challenge: &'a Challenge,
    /// What was asked of the authenticator; refused for want of it only where it was required.
    pub user_verification: UserVerification,
    /// Whether the ceremony may have run in a frame of another origin.
    pub allow_cross_origin: bool,
    /// In which top-level origins such a frame may have been; any when empty.
    pub top_origins: &'a [Origin],
    /// `allowCredentials` as sent; any credential of the user when empty.
    pub allowed: &'a [CredentialId],
    /// How the user is known.
    pub account: AccountKnown<'a>,
    /// The record of the credential.
    pub stored: StoredCredential<'a>,
    /// Whether a counter that does not increase is refused, and not only told.
    pub refuse_clones: bool,
}

/// How the relying party knows which account an assertion is for (step 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKnown<'a> {
    /// It was known when the ceremony began, as that of this user handle. The credential must be its own; the assertion may name it.
    Before(&'a [u8]),
    /// The assertion must name it.
    ByUserHandle,
}

/// The credential record that the assertion's id leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredCredential<'a> {
    /// Its id.
    pub id: &'a CredentialId,
    /// The user handle of its owner.
    pub user_handle: &'a [u8],
    /// Its COSE_Key in CBOR, as it was stored when it was made.
    pub public_key: &'a [u8],
    /// Its signature counter, as last stored.
    pub sign_count: u32,
    /// BE as it was when it was made, and BS as it was last.
    pub backup: BackupFlags,
}

/// A verified assertion: what becomes of the record, and what may be said of the login. Somebody was there (UP): step 16 demands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authentication {
    /// The signature counter.
    pub sign_count: u32,
    /// BE, which is as stored, and BS.
    pub backup: BackupFlags,
    /// UV.
    pub user_verified: bool,
    /// The counter did not increase: a signal, but no proof, that there is a second copy of the private key.
    pub clone_suspected: bool,
}

/// An assertion that was refused, and the step of WebAuthn L3 section 7.2 that refused it.
pub type AuthenticationError = StepError<AuthenticationRefusal>;

impl AuthenticationError {
    /// Step 22 again, where another use of the credential was stored in between: the counter is `stored` now, and `received` came.
    pub fn clone_suspected(stored: u32, received: u32) -> Self {
        at(22)(AuthenticationRefusal::Counter { stored, received })
    }

    /// Whether what is wrong is our record, not what the client sent.
    pub const fn is_record_unusable(&self) -> bool {
        matches!(self.refusal(), AuthenticationRefusal::StoredKey(_))
    }
}

/// Why an assertion was refused. Texts of the client's are escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationRefusal {
    /// It would be refused as a registration too.
    #[error(transparent)]
    Ceremony(#[from] CeremonyRefusal),
    /// The credential is not one of those that were asked for.
    #[error("Error validating the credential: it is not one of those that were asked for")]
    NotAllowed,
    /// The credential is not the one of the record, or the record is another account's.
    #[error("Error validating the credential: the account does not have it")]
    NotOfAccount,
    /// The account had to be named by the assertion, and was not.
    #[error("Error validating the user handle: it is missing")]
    UserHandleMissing,
    /// The assertion names another account.
    #[error("Error validating the user handle: it is that of another account")]
    UserHandle,
    /// BE is not what it was when the credential was made.
    #[error("Error validating the authenticator response: backup eligibility has changed since the credential was made")]
    BackupEligibility,
    /// The key in the record cannot be used. That is no fault of the client's.
    #[error("the stored public key of the credential cannot be used: {0}")]
    StoredKey(#[from] StoredKeyError),
    /// The signature is not one of these data by the credential's key.
    #[error("Error validating the assertion signature: {0}")]
    Signature(#[from] SignatureError),
    /// The counter did not increase, and must.
    #[error("Error validating the signature counter: it went from {stored} to {received}; the authenticator may have been cloned")]
    Counter {
        /// What it was.
        stored: u32,
        /// What it is.
        received: u32,
    },
}

/// A record's public key that is none: no registration here stores one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredKeyError {
    /// Not CBOR.
    #[error("it is not CBOR: {0}")]
    Cbor(#[from] CborError),
    /// CBOR, but no map.
    #[error("it is not a COSE_Key")]
    NotMap,
    /// A COSE_Key of no algorithm or form that a credential may have.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl<'a> AuthenticationPolicy<'a> {
    const fn expected(&self) -> Expected<'a> {
        Expected {
            kind: Kind::Authentication,
            rp_id: self.rp_id,
            origins: self.origins,
            challenge: self.challenge,
            user_verification: self.user_verification,
            allow_cross_origin: self.allow_cross_origin,
            top_origins: self.top_origins,
        }
    }
}

/// The procedure, from step 5 on. Steps 1 to 4 are the client's; 7 to 9 were taken when the credential was parsed; 24, which updates the
/// record, is the caller's. The extension appid of the standard's steps 4 and 15 is not supported: credentials made through the older API
/// of U2F are not accepted.
pub fn verify_authentication(
    credential: &AuthenticationCredential,
    policy: &AuthenticationPolicy<'_>,
) -> Result<Authentication, AuthenticationError> {
    let stored = &policy.stored;
    let data = &credential.assertion;

    // 5. If options.allowCredentials is not empty, verify that credential.id identifies one of the credentials listed in it.
    verify(5, policy.allowed.is_empty() || policy.allowed.contains(credential.id()), || AuthenticationRefusal::NotAllowed)?;

    // 6. Identify the user being authenticated and let credentialRecord be the record of the credential.
    identify(credential, policy)?;

    // 10 to 14. Of the client data.
    let expected = policy.expected();
    expected.verify_client_data(&credential.client_data)?;

    // 15 to 18. Of the authenticator data.
    expected.verify_authenticator_data(&data.rp_id_hash, data.flags)?;

    // 19. Verify that BE is set if, and only if, credentialRecord.backupEligible is. (Relying party policy on BS: none.)
    let backup = data.flags.backup();
    verify(19, backup.eligible == stored.backup.eligible, || AuthenticationRefusal::BackupEligibility)?;

    // 20. Let hash be the result of computing a hash over the cData using SHA-256.
    let hash = sha256(credential.client_data_json());

    // 21. Using credentialRecord.publicKey, verify that sig is a valid signature over the concatenation of authData and hash.
    let key = Value::parse(stored.public_key).map_err(StoredKeyError::from).map_err(at(21))?;
    let key = key.as_map().ok_or(StoredKeyError::NotMap).map_err(at(21))?;
    let key = CoseKey::parse(key).map_err(StoredKeyError::from).map_err(at(21))?;
    let signed = [credential.authenticator_data(), &hash].concat();
    key.verify(&signed, credential.signature()).map_err(at(21))?;

    // 22. If authData.signCount or credentialRecord.signCount is nonzero: it must be greater than the one stored. If it is not, that is a
    //     signal, but not proof, that the authenticator may be cloned; what follows from it is for the relying party to say.
    let (received, known) = (data.sign_count, stored.sign_count);
    let clone_suspected = (received != 0 || known != 0) && received <= known;
    verify(22, !(clone_suspected && policy.refuse_clones), || AuthenticationRefusal::Counter { stored: known, received })?;

    // 23. Process the extension outputs: they are ignored, those that were not asked for too.
    Ok(Authentication { sign_count: received, backup, user_verified: data.flags.user_verified(), clone_suspected })
}

/// Step 6.
fn identify(credential: &AuthenticationCredential, policy: &AuthenticationPolicy<'_>) -> Result<(), AuthenticationError> {
    use AuthenticationRefusal as Refusal;
    let stored = &policy.stored;
    let account = match policy.account {
        // If the user was identified before the ceremony: verify that the account contains a credential record whose id equals rawId. If
        // userHandle is present, verify that it equals the user handle of the account.
        AccountKnown::Before(account) => {
            verify(6, credential.user_handle().is_none_or(|handle| handle == account), || Refusal::UserHandle)?;
            account
        }
        // Else: verify that userHandle is present, and that the account it identifies contains a credential record whose id equals rawId.
        AccountKnown::ByUserHandle => credential.user_handle().ok_or(Refusal::UserHandleMissing).map_err(at(6))?,
    };
    verify(6, stored.id == credential.id() && stored.user_handle == account, || Refusal::NotOfAccount)
}

#[cfg(test)]
mod tests;
