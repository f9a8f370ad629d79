//! What the fuzz targets run. `domain` and `webauthn` name no other layer (`tests/layers.rs` holds them so) and do no I/O: they are compiled
//! here once more, instrumented, without the server's hundreds of dependencies.

#[path = "../../src/domain/mod.rs"]
pub mod domain;
#[path = "../../src/webauthn/mod.rs"]
pub mod webauthn;

#[path = "../../src/hsm/signer/address.rs"]
pub mod address;

pub mod texts;
