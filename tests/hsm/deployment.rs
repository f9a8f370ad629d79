//! A token, signer processes on it, and tokens (JWT) for them to sign.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::{
    bn::BigNum,
    ecdsa::EcdsaSig,
    hash::MessageDigest,
    pkey::PKey,
    rsa::Padding,
    sign::{RsaPssSaltlen, Verifier},
};
use passkey_hsm::{
    domain::{Clock as _, KeyId, SigningAlgorithm, SystemClock, SystemRng, Timestamp},
    hsm::{Error, GenerateRequest, GeneratedKey, SignRequest, Signer, SignerCommand, SignerOptions, Status},
};

use super::softhsm::SoftHsm;

pub(crate) const START: Duration = Duration::from_secs(20);
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The signer processes' command for a configuration file.
pub(crate) fn command(hsm: &SoftHsm, config: &Path) -> SignerCommand {
    SignerCommand {
        program: PathBuf::from(env!("CARGO_BIN_EXE_passkey-hsm")),
        args: vec!["signer".into(), "--config".into(), config.into()],
        env: vec![("SOFTHSM2_CONF".into(), hsm.conf().into())],
    }
}

/// Two processes with two sessions each on `passkey-test`, more patient with a busy machine than the defaults.
pub(crate) fn options(hsm: &SoftHsm) -> SignerOptions {
    let config = hsm.config("hsm.toml", "token = \"pkcs11:token=passkey-test\"", "sessions = 2");
    SignerOptions { sign_deadline: Duration::from_secs(5), ..SignerOptions::new(command(hsm, &config)) }
}

/// Runs `pkcs11-tool`, logged in as the token's user.
pub(crate) fn tool(hsm: &SoftHsm, args: &[&str]) -> String {
    hsm.tool(&[&["--token-label", "passkey-test", "--login", "--pin", "env:PIN"], args].concat(), "")
}

/// Starts and waits until every process is up.
pub(crate) async fn start(options: SignerOptions) -> Signer {
    let processes = options.processes;
    let signer = Signer::start(options);
    signer.wait_ready(START).await.unwrap();
    until(START, &signer, |s| s.up() == processes).await;
    signer
}

/// Waits for a status.
pub(crate) async fn until(limit: Duration, signer: &Signer, wanted: impl Fn(&Status) -> bool) -> Duration {
    let begun = std::time::Instant::now();
    loop {
        let status = signer.status();
        if wanted(&status) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < limit, "not within {limit:?}: {status:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs the calling test once more, in a process whose `SOFTHSM2_CONF` names a fresh token; there, returns that token's directory. A
/// process has one environment, and SoftHSM reads it once.
pub(crate) fn in_child(test: &str) -> Option<PathBuf> {
    if let Some(conf) = std::env::var_os("PASSKEY_HSM_TEST_CONF") {
        return Some(PathBuf::from(conf).parent().unwrap().to_owned());
    }
    let hsm = SoftHsm::new();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--include-ignored", "--nocapture"])
        .env("SOFTHSM2_CONF", hsm.conf())
        .env("PASSKEY_HSM_TEST_CONF", hsm.conf())
        .status();
    assert!(status.unwrap().success(), "{test} failed in its own process");
    None
}

/// The time as signer processes see it, in seconds: they sign nothing of another hour.
pub(crate) fn now() -> i64 {
    SystemClock.now().as_secs()
}

pub(crate) fn key_id() -> KeyId {
    KeyId::random(&SystemRng)
}

/// A key with all that is needed to ask for its signatures.
pub(crate) struct Key {
    pub(crate) kid: KeyId,
    pub(crate) algorithm: SigningAlgorithm,
    pub(crate) made: GeneratedKey,
}

impl Key {
    pub(crate) async fn generate(signer: &Signer, algorithm: SigningAlgorithm) -> Self {
        let kid = key_id();
        let rsa_bits = algorithm.is_rsa().then_some(2048);
        let made = signer.generate(&GenerateRequest { kid, algorithm, rsa_bits, now: NOW, actor: "a test" }).await.unwrap();
        Self { kid, algorithm, made }
    }

    /// A signing input as services make it.
    pub(crate) fn input(&self, n: usize) -> String {
        let header = format!(r#"{{"alg":"{}","kid":"{}","typ":"JWT"}}"#, self.algorithm, self.kid);
        let iat = now();
        signing_input(&header, &format!(r#"{{"sub":"user-{n}","iat":{iat},"exp":{}}}"#, iat + 300))
    }

    pub(crate) fn request<'a>(&'a self, signing_input: &'a str) -> SignRequest<'a> {
        SignRequest {
            kid: self.kid,
            cka_id: &self.made.cka_id,
            algorithm: self.algorithm,
            public_key: &self.made.public_key,
            signing_input,
        }
    }

    /// Signs, and verifies with OpenSSL alone.
    pub(crate) async fn sign(&self, signer: &Signer, n: usize) -> Result<(), Error> {
        let input = self.input(n);
        let signature = signer.reserve()?.sign(self.request(&input)).await?;
        assert!(verifies(self.algorithm, &self.made.public_key, input.as_bytes(), &signature));
        Ok(())
    }
}

pub(crate) fn signing_input(header: &str, payload: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

/// By way of the DER form, unlike the code under test.
pub(crate) fn verifies(algorithm: SigningAlgorithm, spki: &[u8], message: &[u8], jose: &[u8]) -> bool {
    let key = PKey::public_key_from_der(spki).unwrap();
    let ecdsa = |digest| {
        let (r, s) = jose.split_at(jose.len() / 2);
        let der = EcdsaSig::from_private_components(BigNum::from_slice(r).unwrap(), BigNum::from_slice(s).unwrap()).unwrap();
        Verifier::new(digest, &key).unwrap().verify_oneshot(&der.to_der().unwrap(), message).unwrap()
    };
    match algorithm {
        SigningAlgorithm::Es256 => jose.len() == 64 && ecdsa(MessageDigest::sha256()),
        SigningAlgorithm::Es384 => jose.len() == 96 && ecdsa(MessageDigest::sha384()),
        SigningAlgorithm::Rs256 => Verifier::new(MessageDigest::sha256(), &key).unwrap().verify_oneshot(jose, message).unwrap(),
        SigningAlgorithm::Ps256 => {
            let mut verifier = Verifier::new(MessageDigest::sha256(), &key).unwrap();
            verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            verifier.set_rsa_pss_saltlen(RsaPssSaltlen::custom(32)).unwrap();
            verifier.verify_oneshot(jose, message).unwrap()
        }
        SigningAlgorithm::EdDsa => Verifier::new_without_digest(&key).unwrap().verify_oneshot(jose, message).unwrap(),
    }
}
