//! What verifying costs: ours beside webauthn-rs-core, on the same bodies, in one run.
//!
//!     cargo bench --bench verification
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement prints, and ends where it cannot go on"
)]

use std::{hint::black_box, time::Instant};

#[path = "../tests/vectors/authenticators.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod authenticators;
#[path = "../tests/vectors/corpus.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod corpus;
#[path = "../tests/vectors/second_verifier.rs"]
mod second_verifier;

use self::{authenticators::Made, corpus::Vector};

/// Taken in turns, so that a noisy moment is everybody's.
const ROUNDS: usize = 41;
const VERIFICATIONS: u32 = 100;

/// What is measured, and the vector that it is measured on.
const CASES: [(&str, &str); 8] = [
    ("none ES256", "chromium156-ctap2-usb-uv-none-7-reg"),
    ("packed x5c ES256", "chromium156-ctap2-usb-uv-direct-7-reg"),
    ("packed self ES256", "derived-packed-self-es256"),
    ("packed self RS256", "derived-packed-self-rs256"),
    ("tpm RS256, chain", "derived-tpm-p1-rs256"),
    ("fido-u2f, chain", "derived-u2f-p1"),
    ("authentication ES256", "chromium156-ctap2-usb-uv-direct-7-auth"),
    ("authentication RS256", "chromium156-ctap2-usb-uv-direct-257-auth"),
];

fn main() {
    println!("microseconds a verification, body to verdict: median of {ROUNDS} rounds of {VERIFICATIONS}, in turns\n");
    println!("{:<26}{:>10}{:>20}{:>10}", "", "ours", "webauthn-rs-core", "ratio");
    let vectors: Vec<_> = [corpus::REGISTRATION, corpus::AUTHENTICATION].into_iter().flat_map(corpus::ours_of).collect();
    for (what, name) in CASES {
        measure(what, vectors.iter().find(|vector| vector.name == name).unwrap_or_else(|| panic!("no vector {name}")));
    }
    let (made, _) = Made::by_token();
    measure("packed x5c ES256, chain", &made.vector());
}

fn measure(what: &str, vector: &Vector) {
    let body = vector.body();
    let prepared = vector.prepared(vector.check_chain);
    prepared.judge(&body).unwrap();
    let other = vector.asked(vector.check_chain).ok().filter(|asked| asked.verify(&body).is_ok());
    let (mut own_times, mut other_times) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        own_times.push(time(|| prepared.judge(black_box(&body))));
        if let Some(other) = &other {
            other_times.push(time(|| other.verify(black_box(&body))));
        }
    }
    let own = median(own_times);
    if other_times.is_empty() {
        println!("{what:<26}{own:>10.1}{:>20}", "refuses it");
    } else {
        let other = median(other_times);
        println!("{what:<26}{own:>10.1}{other:>20.1}{:>10.2}", own / other);
    }
}

fn time(work: impl Fn() -> Result<(), String>) -> f64 {
    let start = Instant::now();
    for _ in 0..VERIFICATIONS {
        let _ = black_box(work());
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(VERIFICATIONS)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
