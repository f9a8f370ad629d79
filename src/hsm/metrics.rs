//! The names of what is counted. A recorder is somebody else's business.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Histogram, seconds, label `algorithm`: from a permit's use to the verified signature.
pub const SIGN_SECONDS: &str = "hsm_sign_seconds";
/// Counter, labels `operation` (sign, generate, adopt, prove, describe, destroy, inventory, unlock) and `error`: requests that failed.
pub const ERRORS: &str = "hsm_errors_total";
/// Counter: reservations refused because too many signatures were under way.
pub const REFUSED_BUSY: &str = "hsm_queue_refused_total";
/// Gauge: signatures under way or waiting.
pub const IN_FLIGHT: &str = "hsm_in_flight";
/// Counter, label `reason` (exit, silent, hung, health, start): signer processes started again.
pub const RESPAWNS: &str = "hsm_respawns_total";
/// Gauge: signer processes that serve.
pub const PROCESSES_UP: &str = "hsm_signer_processes_up";
/// Counter: signatures given to a second process because the first was slow.
pub const HEDGED: &str = "hsm_sign_hedged_total";
/// Counter: signatures given to a second process because the first died.
pub const RETRIED: &str = "hsm_sign_retried_total";
/// Counter: signatures that did not verify with the stored public key. Any is worth waking someone.
pub const WRONG_SIGNATURES: &str = "hsm_wrong_signatures_total";
/// Counter, label `outcome` (ok, failed): signatures with the health key.
pub const HEALTH: &str = "hsm_health_signatures_total";

/// Tells the recorder what the names mean. Call once, after it was installed.
pub fn describe() {
    describe_histogram!(SIGN_SECONDS, metrics::Unit::Seconds, "Time from the use of a permit to the verified signature");
    describe_counter!(ERRORS, "Requests to the HSM that failed");
    describe_counter!(REFUSED_BUSY, "Reservations refused because the signing queue was full");
    describe_gauge!(IN_FLIGHT, "Signatures under way or waiting");
    describe_counter!(RESPAWNS, "Signer processes started again");
    describe_gauge!(PROCESSES_UP, "Signer processes that serve");
    describe_counter!(HEDGED, "Signatures given to a second process because the first was slow");
    describe_counter!(RETRIED, "Signatures given to a second process because the first died");
    describe_counter!(WRONG_SIGNATURES, "Signatures that did not verify with the stored public key");
    describe_counter!(HEALTH, "Signatures with the health key");
}
