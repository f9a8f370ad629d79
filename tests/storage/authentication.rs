//! The commit of an authentication: every outcome, for challenges and for transactions, and that only one of them writes.

use passkey_hsm::{
    domain::{BackupFlags, Challenge, KeyId, NewCredential, SigningKey, SystemRng, TransactionState},
    storage::{Answered, AuthenticationCommit as Commit, AuthenticationUnit, Error},
};

use crate::bench::{Bench, assert_same, at, confirmation, credential, event, login, transaction};

on_both_engines! {
    a_login_is_committed_whole,
    a_confirmation_is_committed_whole,
    a_challenge_answers_once,
    a_transaction_that_is_not_as_it_was_commits_nothing,
    a_key_that_is_not_active_commits_nothing,
    a_credential_that_is_gone_commits_nothing,
    a_counter_that_does_not_increase_is_told_or_refused,
    the_first_reason_is_the_one_that_is_told,
    nothing_goes_back,
    nothing_is_backed_up_that_cannot_be,
    what_fails_half_way_commits_nothing,
}

/// One unit that answers a challenge, and one that confirms a transaction.
async fn both(b: &Bench, key: &SigningKey, n: &NewCredential, sign_count: u32) -> [AuthenticationUnit; 2] {
    let t = b.begun(key.tenant_id).await;
    [login(key, n, sign_count), confirmation(key, n, sign_count, &t)]
}

/// That a unit comes to this, and leaves every table that it could write as it was.
async fn writes_nothing(b: &Bench, unit: &AuthenticationUnit, expected: Commit) {
    let before = everything(b, unit).await;
    assert_eq!(b.store.commit_authentication(unit).await.unwrap(), expected);
    assert_eq!(everything(b, unit).await, before);
}

async fn everything(b: &Bench, unit: &AuthenticationUnit) -> String {
    let mut counts = Vec::new();
    for table in ["used_challenges", "transactions WHERE state = 'pending'", "transaction_evidence", "audit_events", "credentials"] {
        counts.push(b.count(table).await);
    }
    let credential = b.store.credential(unit.tenant_id, &unit.used.credential).await.unwrap();
    format!("{counts:?} {credential:?}")
}

async fn a_login_is_committed_whole(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let unit = login(&key, &n, 8);
    assert_eq!(b.store.commit_authentication(&unit).await.unwrap(), Commit::Committed);
    let Answered::Challenge { challenge, .. } = &unit.answered else { panic!("{unit:?}") };
    let (stored, used) = b.store.credential_for_use(tenant.id, &n.id, challenge).await.unwrap().unwrap();
    assert!(used);
    assert_same(&stored.data, &NewCredential { sign_count: 8, backup: BackupFlags { eligible: true, state: true }, ..n });
    assert_eq!(stored.last_used_at, Some(at(100)));
    assert_same(&b.store.audit_event(tenant.id, unit.event.id).await.unwrap().unwrap(), &unit.event);
    assert!(b.store.audit_event(tenant.id, unit.clone_event.id).await.unwrap().is_none());
    assert_eq!(b.count("transaction_evidence").await, 0);
}

async fn a_confirmation_is_committed_whole(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let (t, other) = (b.begun(tenant.id).await, b.begun(tenant.id).await);
    let unit = confirmation(&key, &n, 8, &t);
    assert_eq!(b.store.commit_authentication(&unit).await.unwrap(), Commit::Committed);
    let stored = b.store.transaction(tenant.id, &t.challenge).await.unwrap().unwrap();
    assert_same(&stored.begun, &t);
    assert_eq!((stored.state, stored.updated_at), (TransactionState::Confirmed, at(100)));
    let confirmation = stored.confirmation.unwrap();
    assert_eq!((confirmation.credential_id, confirmation.token_id, confirmation.at), (n.id.clone(), unit.event.id, at(100)));
    let stored = b.store.credential(tenant.id, &n.id).await.unwrap().unwrap();
    assert_eq!((stored.data.sign_count, stored.data.backup.state, stored.last_used_at), (8, true, Some(at(100))));
    assert_same(&b.store.audit_event(tenant.id, unit.event.id).await.unwrap().unwrap(), &unit.event);
    assert_eq!((b.count("used_challenges").await, b.count("transaction_evidence").await), (0, 1));
    assert_eq!(b.store.transaction(tenant.id, &other.challenge).await.unwrap().unwrap().state, TransactionState::Pending);
}

async fn a_challenge_answers_once(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let another = credential(tenant.id);
    b.register(&key, &another).await;
    for mut unit in both(&b, &key, &n, 8).await {
        unit.used.sign_count = 8 + u32::from(matches!(unit.answered, Answered::Transaction { .. }));
        assert_eq!(b.store.commit_authentication(&unit).await.unwrap(), Commit::Committed);
        unit.event = event(tenant.id);
        writes_nothing(&b, &unit, Commit::ChallengeGone).await;
        unit.used.sign_count += 10;
        writes_nothing(&b, &unit, Commit::ChallengeGone).await;
        unit.used.credential = another.id.clone();
        writes_nothing(&b, &unit, Commit::ChallengeGone).await;
    }
    // It is the tenant's own: the same bytes say nothing to another.
    let (_, others, m) = b.in_use().await;
    let Answered::Challenge { challenge, .. } = login(&key, &n, 20).answered else { panic!() };
    for (key, n) in [(&key, &n), (&others, &m)] {
        let answered = Answered::Challenge { challenge: challenge.clone(), expires_at: at(1) };
        let unit = AuthenticationUnit { answered, ..login(key, n, 20) };
        assert_eq!(b.store.commit_authentication(&unit).await.unwrap(), Commit::Committed);
    }
}

async fn a_transaction_that_is_not_as_it_was_commits_nothing(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let (t, other) = (b.begun(tenant.id).await, b.begun(tenant.id).await);
    // Another row's challenge, and a row that was begun again.
    let mut unit = confirmation(&key, &n, 8, &t);
    if let Answered::Transaction { row, .. } = &mut unit.answered {
        *row = other.row;
    }
    writes_nothing(&b, &unit, Commit::ChallengeGone).await;
    assert!(b.store.refuse_transaction(tenant.id, t.row, &t.challenge, at(5), &event(tenant.id)).await.unwrap());
    writes_nothing(&b, &confirmation(&key, &n, 8, &t), Commit::ChallengeGone).await;
    let again = transaction(tenant.id, t.id.as_str());
    assert!(b.store.begin_transaction(&again, &event(tenant.id)).await.unwrap());
    writes_nothing(&b, &confirmation(&key, &n, 8, &t), Commit::ChallengeGone).await;
    // Another tenant, with its own key and a credential of the same id.
    let (foreign, theirs) = b.tenant().await;
    let same = NewCredential { tenant_id: foreign.id, ..n.clone() };
    b.register(&theirs, &same).await;
    writes_nothing(&b, &confirmation(&theirs, &same, 8, &other), Commit::ChallengeGone).await;
    assert_eq!(b.store.commit_authentication(&confirmation(&key, &n, 8, &other)).await.unwrap(), Commit::Committed);
}

async fn a_key_that_is_not_active_commits_nothing(b: Bench) {
    let ((_, key, n), (_, others)) = (b.in_use().await, b.tenant().await);
    for unit in both(&b, &key, &n, 8).await {
        for wrong in [others.id, KeyId::random(&SystemRng)] {
            writes_nothing(&b, &AuthenticationUnit { key: wrong, ..unit.clone() }, Commit::KeyNotActive).await;
        }
        b.sql("UPDATE signing_keys SET state = 'retiring'", "UPDATE signing_keys SET state = 'retiring'").await;
        writes_nothing(&b, &unit, Commit::KeyNotActive).await;
        b.sql("UPDATE signing_keys SET state = 'active'", "UPDATE signing_keys SET state = 'active'").await;
    }
    for unit in both(&b, &key, &n, 0).await {
        assert_eq!(b.store.commit_authentication(&unit).await.unwrap(), Commit::Committed, "it can be signed again");
    }
}

async fn a_credential_that_is_gone_commits_nothing(b: Bench) {
    let ((tenant, key, n), (_, others, theirs)) = (b.in_use().await, b.in_use().await);
    let units = both(&b, &key, &n, 8).await;
    assert!(b.store.delete_credential(tenant.id, &n.id, &event(tenant.id)).await.unwrap());
    for mut unit in units {
        writes_nothing(&b, &unit, Commit::CredentialGone).await;
        // That of another tenant is none of this one's.
        unit.used.credential = theirs.id.clone();
        writes_nothing(&b, &unit, Commit::CredentialGone).await;
    }
    assert_eq!(b.store.commit_authentication(&login(&others, &theirs, 8)).await.unwrap(), Commit::Committed);
}

/// WebAuthn L3 section 7.2 step 22.
async fn a_counter_that_does_not_increase_is_told_or_refused(b: Bench) {
    let (tenant, key) = b.tenant().await;
    for (stored, received, cloned) in [
        (0, 0, false),
        (0, 1, false),
        (7, 8, false),
        (7, u32::MAX, false),
        (u32::MAX - 1, u32::MAX, false),
        (7, 7, true),
        (7, 6, true),
        (7, 0, true),
        (1, 0, true),
        (u32::MAX, u32::MAX, true),
    ] {
        for kind in 0..2 {
            let n = NewCredential { sign_count: stored, ..credential(tenant.id) };
            b.register(&key, &n).await;
            let [login, confirmation] = both(&b, &key, &n, received).await;
            let mut unit = if kind == 0 { login } else { confirmation };
            unit.used.refuse_clone = true;
            if cloned {
                writes_nothing(&b, &unit, Commit::CloneRefused).await;
                unit.used.refuse_clone = false;
            }
            assert_eq!(b.store.commit_authentication(&unit).await.unwrap(), Commit::Committed, "{stored} {received}");
            let told = b.store.audit_event(tenant.id, unit.clone_event.id).await.unwrap();
            assert_eq!(told.is_some(), cloned, "{stored} {received}");
            if let Some(told) = told {
                assert_same(&told, &unit.clone_event);
            }
            assert!(b.store.audit_event(tenant.id, unit.event.id).await.unwrap().is_some());
            let after = b.store.credential(tenant.id, &n.id).await.unwrap().unwrap();
            assert_eq!(after.data.sign_count, stored.max(received));
        }
    }
    assert_eq!(b.count("audit_events WHERE event_type = 'webauthn_credential_clone_suspected'").await, 10);
}

/// Everything is wrong at first, and one thing after the other is mended.
async fn the_first_reason_is_the_one_that_is_told(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    for mut unit in both(&b, &key, &n, 7).await {
        unit.used.refuse_clone = true;
        let (good, gone) = (unit.clone(), credential(tenant.id).id);
        let fresh = unit.answered.clone();
        unit.answered = match unit.answered {
            Answered::Challenge { challenge, expires_at } => {
                let used = Challenge::random(&SystemRng);
                assert!(b.store.refuse_challenge(tenant.id, &used, expires_at, None).await.unwrap());
                assert_ne!(used, challenge);
                Answered::Challenge { challenge: used, expires_at }
            }
            Answered::Transaction { row, evidence, .. } => {
                Answered::Transaction { row, challenge: transaction(tenant.id, "t").challenge, evidence }
            }
        };
        (unit.key, unit.used.credential) = (KeyId::random(&SystemRng), gone);
        writes_nothing(&b, &unit, Commit::ChallengeGone).await;
        unit.answered = fresh;
        writes_nothing(&b, &unit, Commit::KeyNotActive).await;
        unit.key = good.key;
        writes_nothing(&b, &unit, Commit::CredentialGone).await;
        unit.used.credential = good.used.credential;
        writes_nothing(&b, &unit, Commit::CloneRefused).await;
    }
}

/// Of two answers the one that was begun first may be committed last.
async fn nothing_goes_back(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let mut late = login(&key, &n, 20);
    late.used.at = at(2000);
    assert_eq!(b.store.commit_authentication(&late).await.unwrap(), Commit::Committed);
    for mut unit in both(&b, &key, &n, 9).await {
        unit.used.at = at(1000);
        assert_eq!(b.store.commit_authentication(&unit).await.unwrap(), Commit::Committed);
        let stored = b.store.credential(tenant.id, &n.id).await.unwrap().unwrap();
        assert_eq!((stored.data.sign_count, stored.last_used_at), (20, Some(at(2000))));
    }
    // One that was never used has no time to compare with.
    b.sql("UPDATE credentials SET last_used_at = NULL", "UPDATE credentials SET last_used_at = NULL").await;
    assert_eq!(b.store.commit_authentication(&login(&key, &n, 21)).await.unwrap(), Commit::Committed);
    assert_eq!(b.store.credential(tenant.id, &n.id).await.unwrap().unwrap().last_used_at, Some(at(100)));
}

async fn nothing_is_backed_up_that_cannot_be(b: Bench) {
    let (tenant, key) = b.tenant().await;
    for eligible in [false, true] {
        let n = NewCredential { sign_count: 0, backup: BackupFlags { eligible, state: false }, ..credential(tenant.id) };
        b.register(&key, &n).await;
        for backup_state in [true, false, true] {
            for mut unit in both(&b, &key, &n, 0).await {
                unit.used.backup_state = backup_state;
                assert_eq!(b.store.commit_authentication(&unit).await.unwrap(), Commit::Committed);
                let stored = b.store.credential(tenant.id, &n.id).await.unwrap().unwrap().data.backup;
                assert_eq!(stored, BackupFlags { eligible, state: eligible && backup_state });
            }
        }
    }
}

async fn what_fails_half_way_commits_nothing(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let taken = event(tenant.id);
    b.store.append_audit(&taken).await.unwrap();
    for unit in both(&b, &key, &n, 3).await {
        let before = everything(&b, &unit).await;
        for of_clone in [false, true] {
            let mut unit = unit.clone();
            (if of_clone { &mut unit.clone_event } else { &mut unit.event }).id = taken.id;
            let failed = b.store.commit_authentication(&unit).await;
            assert!(matches!(failed, Err(Error::Conflict)), "{failed:?}");
            assert_eq!(everything(&b, &unit).await, before);
        }
    }
    // No challenge of this kind has another length than 32 bytes.
    let mut short = login(&key, &n, 8);
    short.answered = Answered::Challenge { challenge: Challenge::from_bytes(b"short"), expires_at: at(1) };
    let error = b.store.commit_authentication(&short).await.unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
    assert!(!format!("{error} {error:?} {:?}", std::error::Error::source(&error)).contains("short"));
}
