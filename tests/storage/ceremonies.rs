//! Ceremonies, users and the audit trail.

use futures::future::join_all;
use passkey_hsm::{
    domain::{AuditEvent, Challenge, Operation, RequestMeta, SystemRng, TenantId, User, UserVerification},
    storage::Error,
};

use crate::bench::{Bench, assert_same, at, ceremony, event, tenant, user};

on_both_engines! {
    a_ceremony_answers_to_its_own_challenge_alone,
    a_registration_writes_its_user_anew,
    a_registration_that_cannot_begin_writes_nothing,
    a_refusal_consumes_the_ceremony_once,
    of_parallel_refusals_one_consumes_and_all_are_recorded,
    the_sweep_takes_what_has_ended_within_its_limit,
    an_event_is_kept_whole,
    the_newest_events_come_first,
    a_nul_character_is_kept_out_of_the_way,
}

async fn a_ceremony_answers_to_its_own_challenge_alone(b: Bench) {
    let ((tenant, _), (other, _)) = (b.tenant().await, b.tenant().await);
    let c = b.ceremony(tenant.id).await;
    let found = b.store.ceremony(tenant.id, Operation::Registration, &c.challenge).await.unwrap().unwrap();
    assert_same(&found, &c);
    assert_eq!(found.challenge, c.challenge);
    assert!(b.store.ceremony(other.id, Operation::Registration, &c.challenge).await.unwrap().is_none());
    assert!(b.store.ceremony(tenant.id, Operation::MfaRegistration, &c.challenge).await.unwrap().is_none());
    assert!(b.store.ceremony(tenant.id, Operation::Registration, &Challenge::random(&SystemRng)).await.unwrap().is_none());
}

async fn a_registration_writes_its_user_anew(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let first = user(tenant.id, "ann");
    b.ceremony(tenant.id).await;
    assert_same(&b.store.user(tenant.id, &first.user_id).await.unwrap().unwrap(), &first);
    let second = User {
        name: "ann2".to_owned(),
        display_name: "Änn".to_owned(),
        icon: Some("https://example.org/ann.png".to_owned()),
        created_at: at(99),
        updated_at: at(99),
        ..first.clone()
    };
    b.store.begin_registration(&second, &ceremony(tenant.id, "ann"), &event(tenant.id)).await.unwrap();
    let found = b.store.user(tenant.id, &first.user_id).await.unwrap().unwrap();
    assert_eq!(found, User { created_at: first.created_at, ..second });
    assert_eq!(b.count("ceremonies").await, 2);
    // Names are compared byte by byte.
    assert!(b.store.user(tenant.id, &"Ann".parse().unwrap()).await.unwrap().is_none());
}

async fn a_registration_that_cannot_begin_writes_nothing(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let c = b.ceremony(tenant.id).await;
    let changed = User { name: "changed".to_owned(), ..user(tenant.id, "ann") };
    let e = event(tenant.id);
    let result = b.store.begin_registration(&changed, &c, &e).await;
    assert!(matches!(result, Err(Error::Conflict)), "{result:?}");
    assert_eq!(b.store.user(tenant.id, &changed.user_id).await.unwrap().unwrap().name, "ann@example.org");
    assert!(b.store.audit_event(tenant.id, e.id).await.unwrap().is_none());

    // Foreign keys are enforced: nothing is kept for a tenant that is not there.
    let nobody = TenantId::random(&SystemRng);
    let result = b.store.begin_registration(&user(nobody, "ann"), &ceremony(nobody, "ann"), &event(nobody)).await;
    assert!(matches!(result, Err(Error::Database(_))), "{result:?}");
    assert!(b.store.audit_events(nobody, 10).await.unwrap().is_empty());

    // What the database says of a refused row stays out of what is printed: the row holds a challenge.
    let mut short = ceremony(tenant.id, "ann");
    short.challenge = Challenge::from_bytes(b"8 bytes.");
    let error = b.store.begin_registration(&changed, &short, &event(tenant.id)).await.unwrap_err();
    let printed = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
    assert!(matches!(error, Error::Database(_)), "{error:?}");
    assert!(!printed.contains("8 bytes.") && !printed.contains("382062797465732e"), "{printed}");
}

async fn a_refusal_consumes_the_ceremony_once(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let (c, other) = (b.ceremony(tenant.id).await, b.ceremony(tenant.id).await);
    let (first, second) = (event(tenant.id), event(tenant.id));
    assert!(b.store.refuse_ceremony(&c, &first).await.unwrap());
    assert!(!b.is_open(&c).await);
    assert!(!b.store.refuse_ceremony(&c, &second).await.unwrap());
    for e in [first, second] {
        assert!(b.store.audit_event(tenant.id, e.id).await.unwrap().is_some());
    }
    assert!(b.is_open(&other).await);
}

async fn of_parallel_refusals_one_consumes_and_all_are_recorded(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let c = b.ceremony(tenant.id).await;
    let events: Vec<_> = (0..16).map(|_| event(tenant.id)).collect();
    let results = join_all(events.iter().map(|e| b.store.refuse_ceremony(&c, e))).await;
    assert_eq!(results.iter().filter(|r| *r.as_ref().unwrap()).count(), 1);
    // One more: that of the ceremony's beginning.
    assert_eq!(b.store.audit_events(tenant.id, 100).await.unwrap().len(), 17);
}

async fn the_sweep_takes_what_has_ended_within_its_limit(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let ann = user(tenant.id, "ann");
    let mut open = Vec::new();
    for expires in [10, 20, 30, 40, 50, 100, 200] {
        let mut c = ceremony(tenant.id, "ann");
        c.expires_at = at(expires);
        b.store.begin_registration(&ann, &c, &event(tenant.id)).await.unwrap();
        open.push(c);
    }
    assert_eq!(b.store.sweep_ceremonies(at(100), 2).await.unwrap(), 2);
    for (at, c) in open.iter().enumerate() {
        assert_eq!(b.is_open(c).await, at >= 2, "the oldest go first: {at}");
    }
    assert_eq!(b.store.sweep_ceremonies(at(100), 0).await.unwrap(), 0);
    assert_eq!(b.store.sweep_ceremonies(at(100), 1000).await.unwrap(), 3);
    let commits = b.store.stats().commits;
    assert_eq!(b.store.sweep_ceremonies(at(100), 1000).await.unwrap(), 0);
    assert_eq!(b.store.stats().commits, commits, "an idle sweep costs no commit");
    assert_eq!(b.count("ceremonies").await, 2);
}

async fn an_event_is_kept_whole(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let full = AuditEvent {
        error: Some("ä".repeat(1000)),
        meta: RequestMeta::new("id", "2001:db8::1", &"u".repeat(300)),
        transaction_id: Some("order 7".to_owned()),
        ..event(tenant.id)
    };
    let bare = AuditEvent { actor_user_id: None, credential_id: None, ..event(tenant.id) };
    for e in [full, bare] {
        b.store.append_audit(&e).await.unwrap();
        assert_same(&b.store.audit_event(tenant.id, e.id).await.unwrap().unwrap(), &e);
        assert!(b.store.audit_event(TenantId::random(&SystemRng), e.id).await.unwrap().is_none());
    }
    // The trail needs no tenant: it outlives it.
    b.store.append_audit(&event(TenantId::random(&SystemRng))).await.unwrap();
}

async fn the_newest_events_come_first(b: Bench) {
    let tenant = tenant().id;
    for age in [3, 1, 4, 2] {
        b.store.append_audit(&AuditEvent { created_at: at(age), ..event(tenant) }).await.unwrap();
    }
    let newest: Vec<_> = b.store.audit_events(tenant, 3).await.unwrap().iter().map(|e| e.created_at).collect();
    assert_eq!(newest, [at(4), at(3), at(2)]);
}

/// PostgreSQL has no NUL in a text. It must not fail, and both engines must keep the same.
async fn a_nul_character_is_kept_out_of_the_way(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let nul = User { name: "a\0b".to_owned(), display_name: "\0".to_owned(), icon: Some("\0".to_owned()), ..user(tenant.id, "ann") };
    let mut c = ceremony(tenant.id, "ann");
    c.user_verification = UserVerification::Discouraged;
    let e = AuditEvent { error: Some("\0\0".to_owned()), ..event(tenant.id) };
    b.store.begin_registration(&nul, &c, &e).await.unwrap();
    let found = b.store.user(tenant.id, &nul.user_id).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.display_name.as_str(), found.icon.as_deref()), ("a\u{fffd}b", "\u{fffd}", Some("\u{fffd}")));
    assert_eq!(b.store.audit_event(tenant.id, e.id).await.unwrap().unwrap().error.as_deref(), Some("\u{fffd}\u{fffd}"));
}
