//! Writes the seeds of every target's corpus: `cargo run --example seeds DIRECTORY`, called by `scripts/fuzz.sh --corpus`.

use std::{env, error::Error, fs, path::Path};

use passkey_hsm_fuzz::webauthn::fuzzing;

/// Seeds of the texts, each after its target's name.
const TEXTS: &[(&str, &str)] = &[
    ("origin", "https://example.org"),
    ("origin", "https://example.org:443/\nhttps://example.org"),
    ("origin", "https://bücher.example\nhttps://xn--bcher-kva.example"),
    ("origin", "http://localhost:8000\nHTTP://localhost:8000"),
    ("origin", "https://[::1]:8443"),
    ("origin", "android:apk-key-hash:AbC"),
    ("origin", "ios:bundle-id:org.example"),
    ("api_key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-Pw=="),
    ("pkcs11_uri", "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;serial=a1;model=SoftHSM%20v2;manufacturer=x"),
    ("pkcs11_uri", "pkcs11:token=a?pin-value=1234&pin-source=x"),
    ("pkcs11_uri", "pkcs11:slot-id=0;slot-manufacturer=a;slot-description=b;object=c"),
    (
        "tenant_config",
        r#"{"cors":{"allowed_origins":["https://*.example.org"],"allow_unsafe_wildcard":false},"webauthn":{"relying_party":{"id":"example.org",
"display_name":"Example","icon":"https://example.org/i","origins":["https://example.org"]},"timeout":60000,"user_verification":"required",
"attachment":"platform","attestation_preference":"direct","resident_key_requirement":"preferred"},"mfa":{"timeout":60000,
"user_verification":"preferred","attachment":"cross-platform","attestation_preference":"enterprise","resident_key_requirement":"discouraged"}}"#,
    ),
    ("tenant_config", r#"{"webauthn":{"relying_party":{"id":"example.org","display_name":"Example","origins":["https://example.org"]}}}"#),
    (
        "tenant_settings",
        r#"{"algorithm":"PS256","rsa_bits":3072,"exclude_credentials":true,"hints":["security-key","client-device","hybrid"],"cred_props":true,
"allow_cross_origin":true,"top_origins":["https://example.com"],"allow_u2f_aaguid":true,"issuer":"https://example.org"}"#,
    ),
    (
        "tenant_settings",
        r#"{"attestation":{"required":true,"formats":["packed","tpm","android-key","android-safetynet","fido-u2f","apple","compound"],
"types":["self","basic","attca","anonca"],"trust":"require","anchors":["mds"],"stale_metadata":"distrust",
"aaguids_allowed":["876ca4f5-2071-c3e9-b255-09ef2cdf7ed6"],"aaguids_denied":[],"device_bound":true,"enterprise":"refuse","allow_rs1":false,
"android_key_hardware":true}}"#,
    ),
    ("go_json", r#"{"amount":"50.00","currency":"EUR","to":"<Example & Co>","lines":[{"b":1,"a":null},[],{}],"amount":"49.00"}"#),
    ("go_json", r#"[0,-0,1.5,12345678901234567890,1125899906842624.25,1e20,1e21,1e-6,1e-7,1e308,5e-324,1e-400]"#),
    ("go_json", r#"["\"\\\/\b\f\n\r\t","\u003c\u2028\u0000\u00e9","\ud83d\ude00","\ud83d","\ude00\ud83d",true,false]"#),
    ("go_json", r#"{"\u0061":1,"a":2,"":3,"\ud800":4,"\udfff":5,"é":6}"#),
    ("go_json", "[1e400]"),
    ("go_json", " [ \"\u{fffd}\u{2028}\u{1f600}\u{7f}\" , [[[[ ]]]] ] "),
];

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args().nth(1).ok_or("where to?")?;
    let texts = TEXTS.iter().map(|(target, text)| (*target, text.as_bytes().to_vec()));
    for (n, (target, seed)) in fuzzing::seeds().into_iter().chain(texts).enumerate() {
        let directory = Path::new(&directory).join(target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("seed-{n:04}")), seed)?;
    }
    Ok(())
}
