//! `go_json`: what it demands is said where it is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passkey_hsm_fuzz::texts;

fuzz_target!(|input: &[u8]| texts::go_json(input));
