//! What shows that a private half is there, and how it is kept.

use passkey_hsm::{
    domain::SigningAlgorithm,
    hsm::{Error, HEALTH_KEY, PROOF_PREFIX, ROOT_KEY},
};

use super::{
    deployment::{Key, key_id, options, start, tool, verifies},
    softhsm::SoftHsm,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_is_over_a_message_that_is_no_token() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    for algorithm in SigningAlgorithm::ALL {
        let key = Key::generate(&signer, *algorithm).await;
        let nonce = [7; 32];
        let proof = signer.prove(key.kid, &key.made.cka_id, *algorithm, &key.made.public_key, nonce).await.unwrap();
        let message = [PROOF_PREFIX, key.kid.as_bytes(), &nonce].concat();
        assert!(verifies(*algorithm, &key.made.public_key, &message, &proof), "{algorithm}");
    }
    // No signing input of RFC 7515 has such a byte, whatever the nonce.
    assert_eq!(PROOF_PREFIX.first(), Some(&0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_stored_key_proves_itself() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let (key, other) = (Key::generate(&signer, SigningAlgorithm::Es256).await, Key::generate(&signer, SigningAlgorithm::Es256).await);
    let prove = async |kid, cka_id: &[u8], public_key: &[u8]| signer.prove(kid, cka_id, SigningAlgorithm::Es256, public_key, [1; 32]).await;
    assert_eq!(prove(key.kid, &key.made.cka_id, &other.made.public_key).await, Err(Error::WrongSignature(key.kid)));
    let nobody = key_id();
    assert_eq!(prove(nobody, nobody.as_bytes(), &key.made.public_key).await, Err(Error::KeyNotFound(nobody)));
    for reserved in [HEALTH_KEY, ROOT_KEY] {
        assert!(matches!(prove(key.kid, reserved.as_bytes(), &key.made.public_key).await, Err(Error::Refused(_))));
        assert!(matches!(prove(reserved, &key.made.cka_id, &key.made.public_key).await, Err(Error::Refused(_))));
    }
    assert!(matches!(prove(key.kid, &key.made.cka_id, b"garbage").await, Err(Error::Refused(_))));
    assert_eq!(signer.destroy(key.kid, None).await, Ok(true));
    assert_eq!(prove(key.kid, &key.made.cka_id, &key.made.public_key).await, Err(Error::KeyNotFound(key.kid)));
    prove(other.kid, &other.made.cka_id, &other.made.public_key).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_are_read_back_in_order_and_now() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    tool(&hsm, &["--keypairgen", "--key-type", "EC:prime256v1", "--id", "01", "--label", "before", "--usage-sign"]);
    let key = Key::generate(&signer, SigningAlgorithm::Es256).await;
    let nobody = key_id();
    let described = signer.describe(&[&[1], nobody.as_bytes(), &key.made.cka_id, &[]]).await.unwrap();
    let parsed: Vec<Option<serde_json::Value>> = described.iter().map(|d| d.as_deref().map(|d| serde_json::from_str(d).unwrap())).collect();
    let record: serde_json::Value = serde_json::from_str(&key.made.evidence.record).unwrap();
    assert_eq!(parsed[2].as_ref().unwrap(), &record["attributes"]);
    assert_eq!(parsed[0].as_ref().unwrap()["CKA_LABEL"], "before");
    assert_eq!((&parsed[1], &parsed[3]), (&None, &None));

    tool(&hsm, &["--delete-object", "--type", "privkey", "--id", &key.kid.as_uuid().simple().to_string()]);
    assert_eq!(signer.describe(&[&key.made.cka_id]).await.unwrap(), [None], "a handle that was known is not believed");
    // More than one message holds.
    let many = vec![&[1_u8][..]; 600];
    let described = signer.describe(&many).await.unwrap();
    assert!(described.len() == 600 && described.iter().all(Option::is_some));
}
