//! FIDO metadata: what is known of models of authenticators (FIDO Metadata Service v3.0).

mod status;

pub use status::forbidding;
