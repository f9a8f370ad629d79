//! The relying party's operations of WebAuthn Level 3: what is sent to a browser and what is demanded of its answer. No I/O.
//!
//! - [`creation_options`] makes what `navigator.credentials.create()` is called with (section 5.4);
//! - [`RegistrationCredential::parse`] reads the answer, strictly (section 5.1, `RegistrationResponseJSON`);
//! - [`verify_registration`] is section 7.1, step by step; `attestation` has one file per statement format, `trust` judges chains;
//! - [`AuthenticationCredential::parse`] and [`verify_authentication`] are the same for logins (sections 5.1 and 7.2).
//!
//! Everything parsed here comes from the internet: sizes and depths are bounded before anything is allocated, and nothing panics.

mod algorithm;
mod attestation;
mod authentication;
mod authenticator_data;
mod cbor;
mod ceremony;
mod certificate;
mod chain;
mod client_data;
mod cose;
mod credential;
mod der;
mod description;
mod edwards;
mod json;
mod jws;
mod key;
mod metadata;
mod options;
mod registration;
mod signature;
mod trust;

#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(test)]
mod testing;

pub use algorithm::CoseAlgorithm;
pub use attestation::{AndroidKeyError, AppleError, CompoundError, SafetyNetError, StatementError, TpmError};
pub use authentication::{
    AccountKnown, Authentication, AuthenticationError, AuthenticationPolicy, AuthenticationRefusal, StoredCredential, StoredKeyError,
    verify_authentication,
};
pub use authenticator_data::AuthenticatorDataError;
pub use cbor::Error as CborError;
pub use ceremony::{CeremonyRefusal, StepError};
pub use certificate::CertificateError;
pub use client_data::client_challenge;
pub use cose::KeyError;
pub use credential::{AssertionParseError, AuthenticationCredential, ParseError, RegistrationCredential};
pub use description::{Description, attestation_path, key_identifiers};
pub use jws::JwsError;
pub use metadata::{
    BlobError, Crl, CrlError, CrlFault, MDS_ROOT_SHA256, MDS_SIGNER, SkipReason, SkippedEntry, Verified, forbidding, verify_blob,
};
pub use options::{
    AssertionRequest, CreationOptions, CreationRequest, CredentialDescriptor, OFFERED_ALGORITHMS, RequestOptions, creation_options,
    request_options,
};
pub use registration::{Refusal, Registration, RegistrationError, RegistrationPolicy, verify_registration};
pub use signature::SignatureError;
pub use trust::{TrustAnchor, TrustAnchorError, TrustError, TrustStore};
