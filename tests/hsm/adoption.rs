//! Key pairs that others made on the token.

use passkey_hsm::{
    domain::SigningAlgorithm,
    hsm::{AdoptRequest, Error, HEALTH_KEY, Signer, SignerOptions, verify_evidence},
};

use super::{
    deployment::{Key, NOW, key_id, options, start, tool},
    softhsm::SoftHsm,
};

/// A pair as a ceremony with `pkcs11-tool` makes it, which a key for signing tokens has to be told to be: `--usage-sign`.
fn ceremony(hsm: &SoftHsm, id: &str, label: &str, more: &[&str]) {
    tool(hsm, &[&["--keypairgen", "--key-type", "EC:prime256v1", "--id", id, "--label", label], more].concat());
}

fn request<'a>(cka_id: Option<&'a [u8]>, label: Option<&'a str>) -> AdoptRequest<'a> {
    AdoptRequest { kid: key_id(), cka_id, label, algorithm: SigningAlgorithm::Es256, now: NOW, actor: "root on host" }
}

async fn adopt(signer: &Signer, request: &AdoptRequest<'_>) -> Key {
    let made = signer.adopt(request).await.unwrap();
    Key { kid: request.kid, algorithm: request.algorithm, made }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ceremonys_key_is_adopted_signs_and_is_destroyed_for_every_process() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    ceremony(&hsm, "c0ffee", "ceremony of may", &["--usage-sign"]);
    ceremony(&hsm, "beef", "another", &["--usage-sign"]);
    let key = adopt(&signer, &request(Some(&[0xc0, 0xff, 0xee]), None)).await;
    assert_eq!(key.made.cka_id, [0xc0, 0xff, 0xee]);
    assert!(verify_evidence(key.algorithm, &key.made.public_key, &key.made.evidence));
    let record: serde_json::Value = serde_json::from_str(&key.made.evidence.record).unwrap();
    assert_eq!((&record["origin"], &record["actor"]), (&"adopted".into(), &"root on host".into()));
    assert_eq!((&record["kid"], &record["attributes"]["CKA_LABEL"]), (&key.kid.to_string().into(), &"ceremony of may".into()));
    assert_eq!((&record["attributes"]["CKA_ID"], &record["attributes"]["CKA_LOCAL"]), (&"c0ffee".into(), &true.into()));

    let by_label = adopt(&signer, &request(None, Some("ceremony of may"))).await;
    assert_eq!(by_label.made.public_key, key.made.public_key);
    // One after the other: both processes have its handle.
    for n in 0..8 {
        key.sign(&signer, n).await.unwrap();
    }
    assert_eq!(signer.destroy(key.kid, Some(&key.made.cka_id)).await, Ok(true));
    assert!(!tool(&hsm, &["-O"]).contains("ceremony of may"));
    for n in 0..8 {
        assert_eq!(key.sign(&signer, n).await, Err(Error::KeyNotFound(key.kid)));
    }
    assert_eq!(signer.destroy(key.kid, Some(&key.made.cka_id)).await, Ok(false));
    assert!(tool(&hsm, &["-O"]).contains("another"), "nothing else was touched");
    assert!(signer.status().processes.iter().all(|p| p.respawns == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn id_and_label_have_to_match_and_to_mean_one_pair() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    for (id, label) in [("01", "first"), ("02", "twin"), ("03", "twin"), ("04", "copy"), ("04", "other copy")] {
        ceremony(&hsm, id, label, &["--usage-sign"]);
    }
    let refusal = async |id: Option<&[u8]>, label: Option<&str>| signer.adopt(&request(id, label)).await.unwrap_err();
    assert!(matches!(refusal(Some(&[1]), Some("twin")).await, Error::KeyNotFound(_)));
    assert!(matches!(refusal(Some(&[9]), None).await, Error::KeyNotFound(_)));
    assert!(matches!(refusal(None, None).await, Error::Refused(_)));
    assert!(matches!(refusal(Some(&[]), None).await, Error::Refused(_)));
    assert!(matches!(refusal(None, Some("")).await, Error::Refused(_)));
    assert!(matches!(refusal(None, Some("twin")).await, Error::KeyUnclear(_, text) if text.contains("2 private keys match")));
    assert!(matches!(refusal(Some(&[4]), Some("copy")).await, Error::KeyUnclear(_, text) if text.contains("share its CKA_ID")));
    assert!(matches!(refusal(Some(HEALTH_KEY.as_bytes()), None).await, Error::Refused(_)));
    assert!(matches!(refusal(None, Some(&HEALTH_KEY.to_string())).await, Error::Refused(_)));
    let twin = adopt(&signer, &request(Some(&[3]), Some("twin"))).await;
    twin.sign(&signer, 0).await.unwrap();
    // Nor is one destroyed whose id another pair has.
    assert!(matches!(signer.destroy(key_id(), Some(&[4])).await, Err(Error::KeyUnclear(..))));
    assert_eq!(tool(&hsm, &["-O", "--type", "privkey"]).matches("copy").count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_may_leave_the_token_or_does_more_than_sign_is_refused() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    ceremony(&hsm, "01", "may leave", &["--usage-sign", "--extractable"]);
    ceremony(&hsm, "02", "derives", &[]);
    tool(&hsm, &["--keypairgen", "--key-type", "rsa:2048", "--id", "03", "--usage-sign"]);
    tool(&hsm, &["--keypairgen", "--key-type", "EC:prime256v1", "--id", "04", "--usage-sign"]);
    tool(&hsm, &["--delete-object", "--type", "pubkey", "--id", "04"]);
    let rsa = SigningAlgorithm::Rs256;
    let es256 = SigningAlgorithm::Es256;
    for (id, algorithm, why) in [
        (1, es256, "CKA_EXTRACTABLE is not false"),
        (2, es256, "CKA_DERIVE is not false"),
        (3, rsa, "CKA_DECRYPT is not false"),
        (4, es256, "its public half is not on the token"),
    ] {
        let error = signer.adopt(&AdoptRequest { algorithm, ..request(Some(&[id]), None) }).await.unwrap_err();
        assert!(matches!(&error, Error::Refused(text) | Error::KeyUnclear(_, text) if text.contains(why)), "{id}: {error:?}");
    }
}

/// A private RSA key tells its public half too. One that this program made, whose row was lost, may be adopted under a new id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_rsa_key_needs_no_public_object_and_has_to_be_of_the_algorithm() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let old = Key::generate(&signer, SigningAlgorithm::Rs256).await;
    tool(&hsm, &["--delete-object", "--type", "pubkey", "--id", &old.kid.as_uuid().simple().to_string()]);
    let of = |algorithm| AdoptRequest { algorithm, ..request(Some(&old.made.cka_id), None) };
    assert!(matches!(signer.adopt(&of(SigningAlgorithm::Es256)).await, Err(Error::KeyUnclear(_, text)) if text.contains("public half")));
    let key = adopt(&signer, &of(SigningAlgorithm::Rs256)).await;
    assert_eq!(key.made.public_key, old.made.public_key);
    key.sign(&signer, 0).await.unwrap();
    assert_eq!(signer.destroy(key.kid, Some(&key.made.cka_id)).await, Ok(true));
    assert_eq!(key.sign(&signer, 0).await, Err(Error::KeyNotFound(key.kid)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_to_another_key_of_ours_is_not_destroyed() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let other = key_id();
    ceremony(&hsm, "0007", &other.to_string(), &["--usage-sign"]);
    let error = signer.destroy(key_id(), Some(&[0, 7])).await.unwrap_err();
    assert!(matches!(&error, Error::KeyUnclear(_, text) if text.contains(&other.to_string())), "{error:?}");
    assert!(matches!(signer.destroy(key_id(), Some(HEALTH_KEY.as_bytes())).await, Err(Error::Refused(_))));
    assert_eq!(signer.destroy(other, Some(&[0, 7])).await, Ok(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signers_with_signing_rights_only_adopt_nothing() {
    let hsm = SoftHsm::new();
    start(options(&hsm)).await.shutdown().await;
    ceremony(&hsm, "01", "first", &["--usage-sign"]);
    let mut options: SignerOptions = options(&hsm);
    options.command.args.push("--sign-only".into());
    let signer = start(options).await;
    assert!(matches!(signer.adopt(&request(Some(&[1]), None)).await, Err(Error::Refused(_))));
}
