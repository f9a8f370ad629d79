//! Keys: what they are, and that there is one of each.

use std::{sync::Arc, time::Duration};

use passkey_hsm::{
    domain::{KeyEvidence, SigningAlgorithm},
    hsm::{Error, GenerateRequest, HEALTH_KEY, Inventory, verify_evidence},
};

use super::{
    deployment::{Key, NOW, key_id, options, start},
    softhsm::SoftHsm,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_says_what_the_token_says_and_is_signed_by_the_key() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    for algorithm in SigningAlgorithm::ALL {
        let key = Key::generate(&signer, *algorithm).await;
        assert_eq!(key.made.cka_id, key.kid.as_bytes());
        assert!(verify_evidence(*algorithm, &key.made.public_key, &key.made.evidence));
        let record: serde_json::Value = serde_json::from_str(&key.made.evidence.record).unwrap();
        let attributes = &record["attributes"];
        for (name, wanted) in [
            ("CKA_SENSITIVE", true),
            ("CKA_ALWAYS_SENSITIVE", true),
            ("CKA_EXTRACTABLE", false),
            ("CKA_NEVER_EXTRACTABLE", true),
            ("CKA_LOCAL", true),
            ("CKA_TOKEN", true),
            ("CKA_PRIVATE", true),
            ("CKA_MODIFIABLE", false),
            ("CKA_SIGN", true),
            ("CKA_SIGN_RECOVER", false),
            ("CKA_DECRYPT", false),
            ("CKA_UNWRAP", false),
            ("CKA_DERIVE", false),
        ] {
            assert_eq!(attributes[name], wanted, "{algorithm} {name}");
        }
        assert_eq!(attributes["CKA_LABEL"], key.kid.to_string());
        assert!(attributes["CKA_KEY_GEN_MECHANISM"].as_str().unwrap().starts_with("CKM_"), "{attributes}");
        assert_eq!(record["kid"], key.kid.to_string());
        assert_eq!(record["token"]["serial"], key.made.token_serial);
        assert_eq!((&record["origin"], &record["actor"]), (&"generated".into(), &"a test".into()));
        assert_eq!(record["time"], "2023-11-14T22:13:20.000Z");
        assert_eq!(record["thumbprint"].as_str().unwrap().len(), 43);
        assert_eq!(record["module"]["sha256"].as_str().unwrap().len(), 64);

        let forged = KeyEvidence { record: key.made.evidence.record.replace("false", "true"), ..key.made.evidence.clone() };
        assert!(!verify_evidence(*algorithm, &key.made.public_key, &forged));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_twice_gives_one_key() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let request = GenerateRequest { kid: key_id(), algorithm: SigningAlgorithm::Es256, rsa_bits: None, now: NOW, actor: "a test" };
    let first = signer.generate(&request).await.unwrap();
    for _ in 0..4 {
        let again = signer.generate(&request).await.unwrap();
        assert_eq!((&again.cka_id, &again.public_key), (&first.cka_id, &first.public_key));
        assert!(again.evidence.record.contains(r#""taken_over":true"#));
    }
    let keys = signer.inventory().await.unwrap().keys;
    let mine = keys.iter().find(|k| k.cka_id == request.kid.as_bytes()).unwrap();
    assert_eq!((mine.private_keys, mine.public_keys), (1, 1));
    let other = GenerateRequest { algorithm: SigningAlgorithm::Rs256, ..request };
    assert!(matches!(signer.generate(&other).await, Err(Error::KeyUnclear(..))), "an existing key of another type is not taken over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_pair_is_reported_and_not_completed() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    for (half, missing) in [("privkey", "private"), ("pubkey", "public")] {
        let key = Key::generate(&signer, SigningAlgorithm::Es256).await;
        let id = key.kid.as_uuid().simple().to_string();
        hsm.tool(&["--token-label", "passkey-test", "--login", "--pin", "env:PIN", "--delete-object", "--type", half, "--id", &id], "");
        let again = GenerateRequest { kid: key.kid, algorithm: key.algorithm, rsa_bits: None, now: NOW, actor: "a test" };
        match signer.generate(&again).await {
            Err(Error::KeyUnclear(kid, text)) => {
                assert_eq!(kid, key.kid);
                assert!(text.starts_with(&format!("its {missing} half is missing")), "{text}");
            }
            other => panic!("{half}: {other:?}"),
        }
    }
}

/// A process that was killed while it made the health key must not keep all others from starting for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_health_key_is_made_anew() {
    let hsm = SoftHsm::new();
    let id = passkey_hsm::hsm::HEALTH_KEY.as_uuid().simple().to_string();
    for half in ["privkey", "pubkey"] {
        start(options(&hsm)).await.shutdown().await;
        hsm.tool(&["--token-label", "passkey-test", "--login", "--pin", "env:PIN", "--delete-object", "--type", half, "--id", &id], "");
    }
    let signer = start(options(&hsm)).await;
    let inventory = signer.inventory().await.unwrap();
    assert_eq!(inventory.keys.iter().map(|k| (k.private_keys, k.public_keys)).collect::<Vec<_>>(), [(1, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_token_cannot_make_is_refused_by_name() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let request = GenerateRequest { kid: key_id(), algorithm: SigningAlgorithm::Rs256, rsa_bits: Some(1024), now: NOW, actor: "a test" };
    assert!(matches!(signer.generate(&request).await, Err(Error::Refused(_))));
    assert!(matches!(signer.destroy(HEALTH_KEY, None).await, Err(Error::Refused(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inventory_names_everything_and_the_health_key_is_made_once() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let key = Key::generate(&signer, SigningAlgorithm::Ps256).await;
    let Inventory { token, keys } = signer.inventory().await.unwrap();
    assert_eq!((token.label.as_str(), token.manufacturer.as_str()), ("passkey-test", "SoftHSM project"));
    assert_eq!(Some(&token), signer.status().token.as_ref());
    assert_eq!(keys.len(), 2);
    let health = keys.iter().find(|k| k.cka_id == HEALTH_KEY.as_bytes()).unwrap();
    assert_eq!((health.private_keys, health.public_keys, health.key_type.as_str()), (1, 1, "EC"));
    let mine = keys.iter().find(|k| k.cka_id == key.made.cka_id).unwrap();
    assert_eq!((mine.label.clone(), mine.key_type.as_str()), (key.kid.to_string(), "RSA"));
    signer.shutdown().await;

    let signer = start(options(&hsm)).await;
    assert_eq!(signer.inventory().await.unwrap().keys.len(), 2);
}

/// Two pairs under one CKA_ID, as a restored backup may leave them: the stored public key says which one signs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_keys_with_one_id_the_stored_one_signs() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let key = Key::generate(&signer, SigningAlgorithm::Es256).await;
    let id = key.kid.as_uuid().simple().to_string();
    let twin = ["--keypairgen", "--key-type", "EC:prime256v1", "--id", &id, "--label", "twin"];
    hsm.tool(&[["--token-label", "passkey-test", "--login", "--pin", "env:PIN"].as_slice(), &twin].concat(), "");
    signer.shutdown().await;

    let signer = start(options(&hsm)).await;
    for n in 0..8 {
        key.sign(&signer, n).await.unwrap();
    }
    let again = GenerateRequest { kid: key.kid, algorithm: key.algorithm, rsa_bits: None, now: NOW, actor: "a test" };
    assert!(matches!(signer.generate(&again).await, Err(Error::KeyUnclear(..))), "which of the two to take over is for a person to say");
}

/// Two servers on one token, as with several replicas.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_another_process_made_is_found() {
    let hsm = SoftHsm::new();
    let (here, there) = (start(options(&hsm)).await, start(options(&hsm)).await);
    let key = Key::generate(&there, SigningAlgorithm::Es256).await;
    for n in 0..8 {
        key.sign(&here, n).await.unwrap();
    }
    assert!(here.destroy(key.kid, None).await.unwrap());
    assert_eq!(key.sign(&there, 0).await, Err(Error::KeyNotFound(key.kid)));
}

/// The defect of SoftHSM: a find beside a C_GenerateKeyPair makes it fail and leaves half-written objects. Each key here is signed with at
/// once by both processes, one of which has to find it first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_while_others_sign_and_search() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let steady = Arc::new(Key::generate(&signer, SigningAlgorithm::Es256).await);
    let makers: Vec<_> = (0..4)
        .map(|_| {
            let signer = signer.clone();
            tokio::spawn(async move {
                for n in 0..25 {
                    let key = Key::generate(&signer, if n % 5 == 0 { SigningAlgorithm::EdDsa } else { SigningAlgorithm::Es256 }).await;
                    for n in 0..4 {
                        key.sign(&signer, n).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let signing = {
        let (signer, steady) = (signer.clone(), steady.clone());
        tokio::spawn(async move {
            for n in 0.. {
                steady.sign(&signer, n).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    };
    for maker in makers {
        maker.await.unwrap();
    }
    signing.abort();
    assert!(signer.status().processes.iter().all(|p| p.respawns == 0));
    signer.shutdown().await;

    let keys = start(options(&hsm)).await.inventory().await.unwrap().keys;
    assert_eq!(keys.len(), 102, "100 keys, the steady one and the health key");
    let odd: Vec<_> = keys.iter().filter(|k| (k.private_keys, k.public_keys) != (1, 1)).collect();
    assert!(odd.is_empty(), "halves or orphans: {odd:?}");
}
