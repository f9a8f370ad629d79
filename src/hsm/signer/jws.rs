//! What a signer is willing to sign: the header and payload of a short-lived JWT of ours, under this very key's id. A server that was
//! taken over can still have tokens signed while it is watched, but no certificate, no other protocol's message, and no token for ever.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::domain::{KeyId, SigningAlgorithm, Timestamp};

/// The longest time between `iat` and `exp`, in seconds.
pub(super) const MAX_LIFETIME: i64 = 3600;

/// How far `iat` may be from this process's own clock, in seconds. Without this bound a token could be made today for a day to come.
pub(super) const MAX_SKEW: u64 = 60;

/// Exactly these members: whatever else a header can say (`jwk`, `crit`, `b64`) changes what a signature means.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

#[derive(Deserialize)]
struct Payload {
    iat: i64,
    exp: i64,
}

/// Refuses, with the reason, what is not the signing input (RFC 7515 section 5.1) of a JWT of ours.
pub(super) fn check(kid: KeyId, algorithm: SigningAlgorithm, input: &str, now: Timestamp) -> Result<(), &'static str> {
    let (header, payload) = input.split_once('.').ok_or("not a JWS signing input")?;
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| "the header is not base64url")?;
    let header: Header = object(&header).ok_or("the header is not exactly alg, kid and typ")?;
    if header.alg != algorithm.as_str() {
        return Err("alg is not the key's algorithm");
    }
    if header.kid != kid.to_string() {
        return Err("kid is not the key's id");
    }
    if header.typ != "JWT" {
        return Err("typ is not JWT");
    }
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| "the payload is not base64url")?;
    let payload: Payload = object(&payload).ok_or("the payload is not an object with integers iat and exp")?;
    let lifetime = payload.exp.checked_sub(payload.iat).ok_or("iat and exp are too far apart")?;
    if payload.iat < 0 || lifetime <= 0 || lifetime > MAX_LIFETIME {
        return Err("the lifetime is not between 1 s and an hour");
    }
    if payload.iat.abs_diff(now.as_secs()) > MAX_SKEW {
        return Err("iat is more than a minute from the signer's own clock");
    }
    Ok(())
}

/// An object alone: serde takes an array for a struct, too.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    if json.first() == Some(&b'{') { serde_json::from_slice(json).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(30_000);
    const KID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn check_json(header: &str, payload: &str) -> Result<(), &'static str> {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        check(KID.parse().unwrap(), SigningAlgorithm::Es256, &input, NOW)
    }

    fn header() -> String {
        format!(r#"{{"alg":"ES256","kid":"{KID}","typ":"JWT"}}"#)
    }

    #[test]
    fn a_token_of_ours_passes() {
        assert_eq!(check_json(&header(), r#"{"sub":"u","iat":30,"exp":330,"aud":["x"]}"#), Ok(()));
        assert_eq!(check_json(&header(), r#"{"iat":0,"exp":3600}"#), Ok(()));
        assert_eq!(check_json(&header(), r#"{"iat":90,"exp":3690}"#), Ok(()));
    }

    #[test]
    fn other_headers_are_refused() {
        for bad in [
            header().replace("ES256", "none"),
            header().replace("ES256", "ES384"),
            header().replace(KID, "01234567-89ab-cdef-0123-456789abcdee"),
            header().replace(KID, &KID.to_uppercase()),
            header().replace("JWT", "jwt"),
            header().replace(r#","typ":"JWT""#, ""),
            header().replace('}', r#","crit":["b64"]}"#),
            header().replace('}', r#","alg":"ES256"}"#),
            "[]".to_owned(),
            format!(r#"["ES256","{KID}","JWT"]"#),
            "{}".to_owned(),
        ] {
            assert!(check_json(&bad, r#"{"iat":0,"exp":300}"#).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_payloads_are_refused() {
        for bad in [
            r#"{"iat":0,"exp":3601}"#,
            // Of another hour than this.
            r#"{"iat":91,"exp":391}"#,
            r#"{"iat":1700000000,"exp":1700000300}"#,
            r#"{"iat":5,"exp":5}"#,
            r#"{"iat":5,"exp":4}"#,
            r#"{"iat":-1,"exp":4}"#,
            r#"{"iat":-9223372036854775808,"exp":9223372036854775807}"#,
            r#"{"iat":0.5,"exp":4}"#,
            r#"{"iat":"0","exp":"4"}"#,
            r#"{"iat":0}"#,
            r#"{"exp":4}"#,
            r#"{"iat":0,"exp":4,"exp":4000}"#,
            r#"{"iat":0,"exp":4"#,
            r#"{"iat":0,"exp":4}{}"#,
            "[0,4]",
            "",
        ] {
            assert!(check_json(&header(), bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_signing_input_is_refused() {
        let kid = KID.parse().unwrap();
        for bad in ["", ".", "e30", "e30.e30", "e30.e30.e30", "e30=.e30", "a b.c", "\0evidence"] {
            assert!(check(kid, SigningAlgorithm::Es256, bad, NOW).is_err(), "{bad}");
        }
        let good = format!("{}.{}", URL_SAFE_NO_PAD.encode(header()), URL_SAFE_NO_PAD.encode(r#"{"iat":0,"exp":300}"#));
        assert!(check(kid, SigningAlgorithm::Es256, &format!("{good}."), NOW).is_err());
        assert!(check(kid, SigningAlgorithm::Es256, &format!("{good}\n"), NOW).is_err());
    }
}
