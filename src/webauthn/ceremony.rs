//! What both procedures verify alike: sections 7.1 and 7.2 of WebAuthn L3 differ here in their steps' numbers alone.

use openssl::sha::sha256;

use super::{authenticator_data::Flags, client_data::ClientData};
use crate::domain::{Challenge, Origin, UserVerification};

/// A credential that was refused: by which step of its procedure, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {step}: {refusal}")]
pub struct StepError<R> {
    step: u8,
    refusal: R,
}

impl<R> StepError<R> {
    /// The step that refused, of WebAuthn L3 section 7.1 for a registration and of 7.2 for an authentication.
    pub const fn step(&self) -> u8 {
        self.step
    }

    /// Why.
    pub const fn refusal(&self) -> &R {
        &self.refusal
    }
}

/// Why either ceremony was refused. Texts of the client's are escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CeremonyRefusal {
    /// The client data is of another ceremony.
    #[error("Error validating ceremony type: {found:?} is not {expected:?}")]
    CeremonyType {
        /// What the client says.
        found: String,
        /// What it was.
        expected: &'static str,
    },
    /// The client data is about another challenge.
    #[error("Error validating challenge: it is not the one that was sent")]
    Challenge,
    /// The ceremony ran elsewhere.
    #[error("Error validating origin: {found:?} is not one of {accepted}")]
    Origin {
        /// What the client says.
        found: String,
        /// What there is, separated by commas.
        accepted: String,
    },
    /// The ceremony ran in a frame of another origin.
    #[error("Error validating origin: ceremonies in a frame of another origin are not accepted")]
    CrossOrigin,
    /// The ceremony ran in a frame of another origin, in a page that is not expected.
    #[error("Error validating top origin: {0:?} is not accepted")]
    TopOrigin(String),
    /// The authenticator data is of another relying party.
    #[error("Error validating the authenticator response: the RP ID hash is not that of {0}")]
    RpIdHash(String),
    /// Nobody was there.
    #[error("Error validating the authenticator response: User presence flag not set by authenticator")]
    UserPresence,
    /// The user was not verified, and had to be.
    #[error("Error validating the authenticator response: User verification required but flag not set by authenticator")]
    UserVerification,
    /// Backed up, but not eligible for it.
    #[error("Error validating the authenticator response: backup state set without backup eligibility")]
    BackupState,
}

/// A refusal by a step.
pub(super) fn at<R, E: Into<R>>(step: u8) -> impl Fn(E) -> StepError<R> {
    move |refusal| StepError { step, refusal: refusal.into() }
}

/// `Ok` if a step's condition holds.
pub(super) fn verify<R, E: Into<R>>(step: u8, condition: bool, refusal: impl FnOnce() -> E) -> Result<(), StepError<R>> {
    if condition { Ok(()) } else { Err(StepError { step, refusal: refusal().into() }) }
}

/// The most characters of a client's text that go into a refusal.
const MAX_SHOWN: usize = 128;

/// A client's text, cut.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

/// Which ceremony is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Section 7.1.
    Registration,
    /// Section 7.2.
    Authentication,
}

/// What either ceremony must be about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) kind: Kind,
    pub(super) rp_id: &'a str,
    pub(super) origins: &'a [Origin],
    pub(super) challenge: &'a Challenge,
    pub(super) user_verification: UserVerification,
    pub(super) allow_cross_origin: bool,
    pub(super) top_origins: &'a [Origin],
}

impl Expected<'_> {
    /// Steps 7 to 11 of section 7.1, 10 to 14 of section 7.2.
    pub(super) fn verify_client_data<R: From<CeremonyRefusal>>(&self, data: &ClientData) -> Result<(), StepError<R>> {
        use CeremonyRefusal as Refusal;
        // 7 or 10. Verify that the value of C.type is webauthn.create or webauthn.get.
        let expected = match self.kind {
            Kind::Registration => "webauthn.create",
            Kind::Authentication => "webauthn.get",
        };
        let is_ours = data.ceremony == expected;
        self.verify([7, 10], is_ours, || Refusal::CeremonyType { found: shown(&data.ceremony), expected })?;

        // 8 or 11. Verify that the value of C.challenge equals the base64url encoding of the options' challenge. (It was decoded
        //    strictly: the bytes are equal where the encodings are.)
        self.verify([8, 11], data.challenge == *self.challenge, || Refusal::Challenge)?;

        // 9 or 12. Verify that the value of C.origin is an origin expected by the relying party.
        self.verify([9, 12], self.origins.iter().any(|origin| origin.matches(&data.origin)), || Refusal::Origin {
            found: shown(&data.origin),
            accepted: self.origins.iter().map(Origin::as_str).collect::<Vec<_>>().join(", "),
        })?;

        // 10 or 13. If C.crossOrigin is present and set to true, verify that the relying party expects this credential to be made or
        //    used within an iframe that is not same-origin with its ancestors.
        self.verify([10, 13], self.allow_cross_origin || !data.cross_origin, || Refusal::CrossOrigin)?;

        // 11 or 14. If C.topOrigin is present, verify the same, and that its value matches the origin of a page that the relying party
        //    expects to be sub-framed within.
        if let Some(top) = &data.top_origin {
            let expected = self.top_origins.is_empty() || self.top_origins.iter().any(|origin| origin.matches(top));
            self.verify([11, 14], self.allow_cross_origin && expected, || Refusal::TopOrigin(shown(top)))?;
        }
        Ok(())
    }

    /// Steps 14 to 17 of section 7.1, 15 to 18 of section 7.2.
    pub(super) fn verify_authenticator_data<R: From<CeremonyRefusal>>(
        &self,
        rp_id_hash: &[u8; 32],
        flags: Flags,
    ) -> Result<(), StepError<R>> {
        use CeremonyRefusal as Refusal;
        // 14 or 15. Verify that the rpIdHash in authData is the SHA-256 hash of the RP ID expected by the relying party. (The appid
        //    extension, with which it may be another hash in an assertion, is never asked for.)
        self.verify([14, 15], *rp_id_hash == sha256(self.rp_id.as_bytes()), || Refusal::RpIdHash(self.rp_id.to_owned()))?;

        // 15 or 16. Verify that the UP bit of the flags in authData is set. (In a registration: if options.mediation is not conditional,
        //    which it never is.)
        self.verify([15, 16], flags.user_present(), || Refusal::UserPresence)?;

        // 16 or 17. If user verification is required for this ceremony, verify that the UV bit of the flags in authData is set.
        let is_required = self.user_verification == UserVerification::Required;
        self.verify([16, 17], flags.user_verified() || !is_required, || Refusal::UserVerification)?;

        // 17 or 18. If the BE bit of the flags in authData is not set, verify that the BS bit is not set.
        let backup = flags.backup();
        self.verify([17, 18], backup.eligible || !backup.state, || Refusal::BackupState)
    }

    /// `Ok` if the condition holds of a step that has one number in each section.
    fn verify<R: From<CeremonyRefusal>>(
        &self,
        [registration, authentication]: [u8; 2],
        condition: bool,
        refusal: impl FnOnce() -> CeremonyRefusal,
    ) -> Result<(), StepError<R>> {
        let step = match self.kind {
            Kind::Registration => registration,
            Kind::Authentication => authentication,
        };
        verify(step, condition, refusal)
    }
}
