//! `registration`: what it demands is said where it is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passkey_hsm_fuzz::webauthn::fuzzing;

fuzz_target!(|input: &[u8]| fuzzing::registration(input));
