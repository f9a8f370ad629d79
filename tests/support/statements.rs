//! What the attestation statements of each format consist of, honestly made (WebAuthn L3 sections 8.3 to 8.5 and 8.8).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openssl::{
    hash::{MessageDigest, hash},
    sign::Signer,
};
use serde_json::json;

use super::{
    cbor::{Cbor, Entries},
    der::{element, integer, sequence},
    keys::{Algorithm, KeyPair},
    mint,
};

/// An X.509 extension: object identifier, whether it is critical, and its value.
pub type Extension = (&'static str, bool, Vec<u8>);

/// COSE's RS1: PKCS#1 with SHA-1.
const RS1: i64 = -65535;

/// id-fido-gen-ce-sernum: the single device, in an enterprise's attestation certificate (section 8.2.2).
pub fn device_serial(serial: &[u8]) -> Extension {
    ("1.3.6.1.4.1.45724.1.1.2", false, element(&[0x04], serial))
}

/// `certInfo`, `pubArea`, `alg`, `sig` and `ver` of a TPM that certifies `key` with its attestation key (section 8.3); with SHA-1 if asked.
pub fn tpm(key: &KeyPair, aik: &KeyPair, sha1: bool, signed: &[u8]) -> Entries {
    let area = public_area(key);
    let digest = if sha1 { MessageDigest::sha1() } else { aik.algorithm.digest().unwrap() };
    let name = [&[0, 0x0b][..], &hash(MessageDigest::sha256(), &area).unwrap()].concat();
    let other = |byte| [&[0, 0x0b][..], &[byte; 32]].concat();
    // TPM_GENERATED_VALUE, TPM_ST_ATTEST_CERTIFY, then who signed, extraData, clock and firmware, and which key by its name.
    let info = [
        &[0xff, 0x54, 0x43, 0x47, 0x80, 0x17][..],
        &sized(&other(3)),
        &sized(&hash(digest, signed).unwrap()),
        &[1; 25],
        &sized(&name),
        &sized(&other(4)),
    ]
    .concat();
    let (alg, sig) = if sha1 {
        (RS1, Signer::new(digest, &aik.key).unwrap().sign_oneshot_to_vec(&info).unwrap())
    } else {
        (aik.algorithm.cose_id(), aik.sign(&info))
    };
    vec![
        (Cbor::text("ver"), Cbor::text("2.0")),
        (Cbor::text("alg"), Cbor::Int(alg)),
        (Cbor::text("sig"), Cbor::Bytes(sig)),
        (Cbor::text("certInfo"), Cbor::Bytes(info)),
        (Cbor::text("pubArea"), Cbor::Bytes(area)),
    ]
}

/// TPMT_PUBLIC (TPM 2.0 Part 2 section 12.2.4).
fn public_area(key: &KeyPair) -> Vec<u8> {
    const NULL: [u8; 2] = [0, 0x10];
    let is_rsa = key.key.rsa().is_ok();
    let kind = if is_rsa { [0, 0x01] } else { [0, 0x23] };
    let head = [&kind[..], &[0, 0x0b], &0x0006_0472_u32.to_be_bytes(), &sized(&[7; 32]), &NULL, &NULL].concat();
    let rest = if let Ok(rsa) = key.key.rsa() {
        let bits = u16::try_from(rsa.n().num_bits()).unwrap();
        [&bits.to_be_bytes()[..], &[0; 4], &sized(&rsa.n().to_vec())].concat()
    } else {
        let curve = match key.algorithm {
            Algorithm::Es256 => [0, 3],
            Algorithm::Es384 => [0, 4],
            _ => [0, 5],
        };
        let (x, y) = key.point();
        [&curve[..], &NULL, &sized(&x), &sized(&y)].concat()
    };
    [head, rest].concat()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// What sets a TPM's attestation certificate apart (section 8.3.1): who made it, and what its key is for.
pub fn aik_extensions() -> Vec<Extension> {
    let part = |n, text: &str| {
        let attribute = sequence(&[&element(&[0x06], &[0x67, 0x81, 0x05, 0x02, n]), &element(&[0x0c], text.as_bytes())]);
        element(&[0x31], &attribute)
    };
    let name = sequence(&[&part(1, "id:494E5443"), &part(2, "Example TPM"), &part(3, "id:00000013")]);
    let usage = element(&[0x06], &[0x67, 0x81, 0x05, 0x08, 0x03]);
    vec![("2.5.29.17", true, sequence(&[&element(&[0xa4], &name)])), ("2.5.29.37", false, sequence(&[&usage]))]
}

/// What Android's keystore says of a key that it made for signing (section 8.4.1). Level 1 is a trusted environment, 0 is software.
pub fn key_description(client_data_hash: &[u8], level: u8) -> Extension {
    let purpose = element(&[0xa1], &element(&[0x31], &integer(&[2])));
    let origin = element(&[0xbf, 0x85, 0x3e], &integer(&[0]));
    let (version, level) = (integer(&[1, 44]), element(&[0x0a], &[level]));
    let challenge = element(&[0x04], client_data_hash);
    let fields: [&[u8]; 8] =
        [&version, &level, &version, &level, &challenge, &element(&[0x04], &[]), &sequence(&[]), &sequence(&[&purpose, &origin])];
    ("1.3.6.1.4.1.11129.2.1.17", false, sequence(&fields))
}

/// What Apple writes into the certificate that it makes for one credential (section 8.8).
pub fn apple_nonce(signed: &[u8]) -> Extension {
    let nonce = element(&[0x04], &openssl::sha::sha256(signed));
    ("1.2.840.113635.100.8.2", false, sequence(&[&element(&[0xa1], &nonce)]))
}

/// `ver` and `response` of Android's late SafetyNet (section 8.5), made this second.
pub fn safetynet(key: &KeyPair, x5c: &[Vec<u8>], signed: &[u8]) -> Entries {
    let chain: Vec<_> = x5c.iter().map(|der| STANDARD.encode(der)).collect();
    let payload = json!({
        "nonce": STANDARD.encode(openssl::sha::sha256(signed)),
        "timestampMs": jsonwebtoken::get_current_timestamp() * 1000,
        "apkPackageName": "com.google.android.gms",
        "ctsProfileMatch": true,
        "basicIntegrity": true,
    });
    let response = mint::jws("ES256", &key.key, &json!({"alg": "ES256", "x5c": chain}), payload.to_string().as_bytes());
    vec![(Cbor::text("ver"), Cbor::text("14366019")), (Cbor::text("response"), Cbor::Bytes(response.into_bytes()))]
}
