//! What a token and its module say of themselves.

use serde::{Deserialize, Serialize};

/// A token and the module that serves it, strings trimmed of their padding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// Given when the token was initialized.
    pub label: String,
    /// What tells two tokens of one label apart.
    pub serial: String,
    /// Who makes it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// `major.minor` of the firmware.
    pub firmware: String,
    /// Path of the module's file as configured.
    pub module: String,
    /// SHA-256 of that file as it was when it was loaded, in hexadecimal.
    pub module_sha256: String,
    /// What the module calls itself, with its version and that of PKCS#11.
    pub library: String,
}

/// Everything on a token that looks like a key pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The token.
    pub token: TokenInfo,
    /// One entry for each `CKA_ID`, ordered by it.
    pub keys: Vec<InventoryKey>,
}

/// The objects that share a `CKA_ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryKey {
    /// `CKA_ID`, which should be the 16 bytes of a key id.
    pub cka_id: Vec<u8>,
    /// `CKA_LABEL` of the private key, else of the public one.
    pub label: String,
    /// `EC`, `RSA`, `EC_EDWARDS` or what else the module says.
    pub key_type: String,
    /// How many private keys there are: one, unless something went wrong. SoftHSM has been seen to show one key twice to a process that ran
    /// while others made keys, so that a two is worth another look by a new process.
    pub private_keys: u32,
    /// How many public keys there are: one, or none where they are deleted to save room.
    pub public_keys: u32,
}
