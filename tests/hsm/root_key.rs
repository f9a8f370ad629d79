//! The root key: one signature, the same each time, and nothing else.

use openssl::{hash::MessageDigest, pkey::PKey, sign::Verifier};
use passkey_hsm::{
    domain::SigningAlgorithm,
    hsm::{Error, GenerateRequest, HEALTH_KEY, ROOT_KEY, SignRequest, Signer, SignerOptions},
};

use super::{
    deployment::{Key, NOW, now, options, signing_input, start},
    softhsm::SoftHsm,
};

fn id() -> String {
    ROOT_KEY.as_uuid().simple().to_string()
}

/// Runs `pkcs11-tool` on the token, logged in.
fn tool(hsm: &SoftHsm, args: &[&str]) -> String {
    hsm.tool(&[["--token-label", "passkey-test", "--login", "--pin", "env:PIN"].as_slice(), args].concat(), "")
}

/// Signer processes with signing rights only.
fn sign_only(hsm: &SoftHsm) -> SignerOptions {
    let mut options = options(hsm);
    options.command.args.push("--sign-only".into());
    options
}

async fn root_keys(signer: &Signer) -> Vec<(u32, u32)> {
    let keys = signer.inventory().await.unwrap().keys;
    keys.iter().filter(|k| k.cka_id == ROOT_KEY.as_bytes()).map(|k| (k.private_keys, k.public_keys)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_comes_to_the_same_signature() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    assert_eq!(root_keys(&signer).await, [], "not made before it is asked for");
    let first = signer.unlock(None).await.unwrap();
    assert_eq!(Some(&first.token_serial), signer.status().token.as_ref().map(|t| &t.serial));
    let public = PKey::public_key_from_der(&first.public_key).unwrap();
    assert_eq!(public.bits(), 3072);
    let mut verifier = Verifier::new(MessageDigest::sha256(), &public).unwrap();
    assert!(verifier.verify_oneshot(&first.signature, b"\0passkey-hsm root secret v1\0").unwrap());
    for wanted in [None, Some(first.public_key.as_slice())] {
        let again = signer.unlock(wanted).await.unwrap();
        assert_eq!((&again.public_key, &again.signature), (&first.public_key, &first.signature));
    }
    signer.shutdown().await;
    let (one, two) = (start(options(&hsm)).await, start(options(&hsm)).await);
    for signer in [one, two] {
        let again = signer.unlock(None).await.unwrap();
        assert_eq!((&again.public_key, &again.signature), (&first.public_key, &first.signature));
        assert_eq!(root_keys(&signer).await, [(1, 1)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_that_start_at_once_make_one_key() {
    let hsm = SoftHsm::new();
    let (one, two) = (start(options(&hsm)).await, start(options(&hsm)).await);
    let (first, second) = tokio::join!(one.unlock(None), two.unlock(None));
    assert_eq!(first.unwrap().signature, second.unwrap().signature);
    one.shutdown().await;
    two.shutdown().await;
    assert_eq!(root_keys(&start(options(&hsm)).await).await, [(1, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_for_signing_alone_and_stays_on_the_token() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    signer.unlock(None).await.unwrap();
    let listed = tool(&hsm, &["--list-objects", "--type", "privkey"]);
    let mine: String = listed.split("Private Key Object").filter(|object| object.contains(&id())).collect();
    assert!(mine.contains("RSA"), "{listed}");
    let line = |name: &str| mine.lines().find(|l| l.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{mine}")).to_owned();
    assert_eq!(line("Usage:").split_once(':').unwrap().1.trim(), "sign");
    let access = line("Access:");
    assert!(["sensitive", "always sensitive", "never extractable", "local"].iter().all(|a| access.contains(a)), "{access}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_else_makes_it_sign_and_nobody_destroys_it() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let unlocked = signer.unlock(None).await.unwrap();
    let mine = Key::generate(&signer, SigningAlgorithm::Rs256).await;
    for reserved in [ROOT_KEY, HEALTH_KEY] {
        // Under its own name, and as what another key's row names.
        for (kid, cka_id) in [(reserved, reserved.as_bytes().as_slice()), (mine.kid, reserved.as_bytes()), (reserved, &mine.made.cka_id)] {
            let header = format!(r#"{{"alg":"RS256","kid":"{kid}","typ":"JWT"}}"#);
            let input = signing_input(&header, &format!(r#"{{"iat":{},"exp":{}}}"#, now(), now() + 300));
            let request =
                SignRequest { kid, cka_id, algorithm: SigningAlgorithm::Rs256, public_key: &unlocked.public_key, signing_input: &input };
            let outcome = signer.reserve().unwrap().sign(request).await;
            assert!(matches!(&outcome, Err(Error::Refused(text)) if text.contains("root key")), "{outcome:?}");
        }
        assert!(matches!(signer.destroy(reserved, None).await, Err(Error::Refused(_))));
    }
    let label = "\0passkey-hsm root secret v1\0";
    let outcome = signer.reserve().unwrap().sign(mine.request(label)).await;
    assert!(matches!(outcome, Err(Error::Refused(_))), "{outcome:?}");
    // Its evidence would be a signature too.
    for algorithm in [SigningAlgorithm::Rs256, SigningAlgorithm::Es256] {
        let request = GenerateRequest { kid: ROOT_KEY, algorithm, rsa_bits: None, now: NOW, actor: "a test" };
        assert!(matches!(signer.generate(&request).await, Err(Error::Refused(_))));
    }
    assert_eq!(signer.unlock(Some(&unlocked.public_key)).await.unwrap().signature, unlocked.signature);
    mine.sign(&signer, 0).await.unwrap();
    assert!(signer.status().processes.iter().all(|p| p.respawns == 0), "a refusal costs no process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signer_with_signing_rights_only_makes_none_and_uses_the_one_there_is() {
    let hsm = SoftHsm::new();
    // The health key is there first: without it no process starts.
    start(options(&hsm)).await.shutdown().await;
    let humble = start(sign_only(&hsm)).await;
    let refused = humble.unlock(None).await;
    assert!(matches!(&refused, Err(Error::Refused(text)) if text.contains("signing rights only")), "{refused:?}");
    assert_eq!(root_keys(&humble).await, []);
    let maker = start(options(&hsm)).await;
    let made = maker.unlock(None).await.unwrap();
    assert_eq!(humble.unlock(None).await.unwrap().signature, made.signature);
}

/// The envelope says whose signature opens it: another's is of no use, and a key made now opens nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_pairs_the_wanted_one_signs_and_a_missing_one_is_not_replaced() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let first = signer.unlock(None).await.unwrap();
    tool(&hsm, &["--keypairgen", "--key-type", "RSA:2048", "--id", &id(), "--label", "twin", "--usage-sign", "--sensitive"]);
    signer.shutdown().await;
    let signer = start(options(&hsm)).await;
    assert_eq!(signer.unlock(Some(&first.public_key)).await.unwrap().signature, first.signature);
    signer.unlock(None).await.unwrap();
    signer.shutdown().await;

    for half in ["privkey", "pubkey", "privkey", "pubkey"] {
        tool(&hsm, &["--delete-object", "--type", half, "--id", &id()]);
    }
    let signer = start(options(&hsm)).await;
    assert_eq!(signer.unlock(Some(&first.public_key)).await.unwrap_err(), Error::KeyNotFound(ROOT_KEY));
    assert_eq!(root_keys(&signer).await, []);
    assert_ne!(signer.unlock(None).await.unwrap().public_key, first.public_key);
    assert!(signer.status().processes.iter().all(|p| p.respawns == 0));
}

/// What a process leaves that is killed while it makes the pair; and what nobody but a person may clear away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_half_alone_is_made_anew_and_a_private_one_is_left() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let first = signer.unlock(None).await.unwrap();
    signer.shutdown().await;
    tool(&hsm, &["--delete-object", "--type", "privkey", "--id", &id()]);
    let signer = start(options(&hsm)).await;
    assert_eq!(signer.unlock(Some(&first.public_key)).await.unwrap_err(), Error::KeyNotFound(ROOT_KEY), "nothing is made for an envelope");
    assert_ne!(signer.unlock(None).await.unwrap().public_key, first.public_key);
    assert_eq!(root_keys(&signer).await, [(1, 1)]);
    signer.shutdown().await;
    tool(&hsm, &["--delete-object", "--type", "pubkey", "--id", &id()]);
    let signer = start(options(&hsm)).await;
    assert!(matches!(signer.unlock(None).await, Err(Error::KeyUnclear(ROOT_KEY, _))));
    assert_eq!(root_keys(&signer).await, [(1, 0)]);
}

/// The one that decrypts could be made to sign by decrypting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_does_more_than_sign_is_refused() {
    let hsm = SoftHsm::new();
    tool(&hsm, &["--keypairgen", "--key-type", "RSA:2048", "--id", &id(), "--label", "planted", "--usage-decrypt", "--usage-sign"]);
    let signer = start(options(&hsm)).await;
    let refused = signer.unlock(None).await;
    assert!(matches!(&refused, Err(Error::KeyUnclear(ROOT_KEY, _))), "{refused:?}");
}
