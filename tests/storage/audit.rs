//! A tenant's audit log, as it is listed: filters, pages, and nobody else's events.

use passkey_hsm::domain::{AuditEvent, AuditEventId, AuditEventType as T, AuditFilter, Page, RequestMeta, TenantId};

use crate::bench::{Bench, assert_same, at, event, tenant};

on_both_engines! {
    each_filter_lets_through_what_it_says,
    filters_are_joined,
    hostile_texts_are_looked_for_as_they_are,
    pages_hold_each_event_once,
    equal_instants_have_an_order,
    a_log_is_its_tenants_alone,
}

/// An event at `age`: its type, its user and the address it came from.
async fn add(b: &Bench, tenant: TenantId, age: i64, event_type: T, user: Option<&str>, address: &str) -> AuditEvent {
    let e = AuditEvent {
        event_type,
        actor_user_id: user.map(|user| user.parse().unwrap()),
        meta: RequestMeta::new("req", address, "test"),
        created_at: at(age),
        ..event(tenant)
    };
    b.store.append_audit(&e).await.unwrap();
    e
}

/// The ages of the events that `filter` lets through, as they come.
async fn ages(b: &Bench, tenant: TenantId, filter: AuditFilter) -> Vec<i64> {
    let (events, total) = b.store.audit_log(tenant, &filter, Page::new(1, 500)).await.unwrap();
    assert_eq!(events.len() as u64, total, "{filter:?}");
    events.iter().map(|e| e.created_at.as_millis() - at(0).as_millis()).collect()
}

fn all() -> AuditFilter {
    AuditFilter::default()
}

fn user(part: &str) -> AuditFilter {
    AuditFilter { actor_user_id: Some(part.to_owned()), ..all() }
}

fn address(part: &str) -> AuditFilter {
    AuditFilter { source_ip: Some(part.to_owned()), ..all() }
}

fn search(part: &str) -> AuditFilter {
    AuditFilter { search: Some(part.to_owned()), ..all() }
}

fn types(types: &[T]) -> AuditFilter {
    AuditFilter { types: Some(types.to_vec()), ..all() }
}

async fn each_filter_lets_through_what_it_says(b: Bench) {
    let t = tenant().id;
    add(&b, t, 1, T::TenantCreated, None, "").await;
    add(&b, t, 2, T::RegistrationInitSucceeded, Some("Ann"), "192.0.2.1").await;
    add(&b, t, 3, T::RegistrationFinalSucceeded, Some("joann"), "192.0.2.17").await;
    add(&b, t, 4, T::MfaRegistrationInitSucceeded, Some("bob-192"), "2001:DB8::7").await;
    add(&b, t, 5, T::RegistrationFinalFailed, None, "198.51.100.9").await;
    for (filter, expected) in [
        (all(), vec![5, 4, 3, 2, 1]),
        (AuditFilter { after: Some(at(2)), ..all() }, vec![5, 4, 3]),
        (AuditFilter { before: Some(at(4)), ..all() }, vec![3, 2, 1]),
        (AuditFilter { after: Some(at(2)), before: Some(at(4)), ..all() }, vec![3]),
        (AuditFilter { after: Some(at(3)), before: Some(at(4)), ..all() }, vec![]),
        (AuditFilter { after: Some(at(4)), before: Some(at(2)), ..all() }, vec![]),
        (types(&[T::TenantCreated]), vec![1]),
        // Not the one whose name ends alike.
        (types(&[T::RegistrationInitSucceeded, T::RegistrationFinalFailed]), vec![5, 2]),
        (types(&[T::RegistrationFinalFailed, T::RegistrationFinalFailed]), vec![5]),
        (types(&[T::CredentialDeleted]), vec![]),
        (types(&[]), vec![]),
        (types(T::ALL), vec![5, 4, 3, 2, 1]),
        (user("ann"), vec![3, 2]),
        (user("JOANN"), vec![3]),
        (user("192"), vec![4]),
        (user("nobody"), vec![]),
        (address("192.0.2.1"), vec![3, 2]),
        (address("192.0.2.17"), vec![3]),
        (address("db8::"), vec![4]),
        (search("192"), vec![4, 3, 2]),
        (search("ANN"), vec![3, 2]),
        (search("198.51"), vec![5]),
    ] {
        let shown = format!("{filter:?}");
        assert_eq!(ages(&b, t, filter).await, expected, "{shown}");
    }
}

async fn filters_are_joined(b: Bench) {
    let t = tenant().id;
    for age in 1..=8 {
        let event_type = if age % 2 == 0 { T::RegistrationInitSucceeded } else { T::RegistrationInitFailed };
        let (name, from) = (if age <= 4 { "ann" } else { "bob" }, if age % 4 < 2 { "192.0.2.1" } else { "203.0.113.5" });
        add(&b, t, age, event_type, Some(name), from).await;
    }
    let everything = AuditFilter {
        after: Some(at(1)),
        before: Some(at(8)),
        types: Some(vec![T::RegistrationInitFailed]),
        actor_user_id: Some("b".to_owned()),
        source_ip: Some("192.".to_owned()),
        search: Some("BO".to_owned()),
    };
    assert_eq!(ages(&b, t, everything.clone()).await, [5]);
    // Each takes its part: without it more is let through.
    for (looser, expected) in [
        (AuditFilter { types: None, ..everything.clone() }, vec![5]),
        (AuditFilter { types: None, before: None, ..everything.clone() }, vec![8, 5]),
        (AuditFilter { source_ip: None, ..everything.clone() }, vec![7, 5]),
        (AuditFilter { actor_user_id: None, search: None, ..everything.clone() }, vec![5]),
        (AuditFilter { actor_user_id: None, search: None, after: None, ..everything.clone() }, vec![5, 1]),
    ] {
        let shown = format!("{looser:?}");
        assert_eq!(ages(&b, t, looser).await, expected, "{shown}");
    }
}

async fn hostile_texts_are_looked_for_as_they_are(b: Bench) {
    let (t, stranger) = (tenant().id, tenant().id);
    let names = ["%", "_", "!", "\\", "'", "a%b", "axb", "!%", "\u{fffd}", "ü", "' OR '1'='1", "ann') OR 1=1 --"];
    for (age, name) in names.iter().enumerate() {
        add(&b, t, i64::try_from(age).unwrap(), T::CredentialUpdated, Some(name), name).await;
    }
    add(&b, stranger, 0, T::CredentialUpdated, Some("% _ ! \\ '"), "% _ ! \\ '").await;
    for part in names.into_iter().chain(["%%", "__", "x", "\\\\", "' OR", "Ü", "\0", "", ",", "$1", "?", "{}", "*"]) {
        // PostgreSQL has no NUL: it is stored, and looked for, as U+FFFD.
        let part_stored = part.replace('\0', "\u{fffd}");
        let mut expected: Vec<_> = (0..).zip(names).filter(|(_, name)| name.contains(&part_stored)).map(|(age, _)| age).collect();
        expected.reverse();
        for filter in [user(part), address(part), search(part)] {
            let shown = format!("{filter:?}");
            assert_eq!(ages(&b, t, filter).await, expected, "{shown}");
        }
    }
    // As long as a query can be; longer patterns are beyond SQLite.
    for long in ["x".repeat(4096), "%".repeat(4096), "\0".repeat(4096)] {
        for filter in [user(&long), address(&long), search(&long)] {
            assert_eq!(ages(&b, t, filter).await, [0; 0]);
        }
    }
}

async fn pages_hold_each_event_once(b: Bench) {
    let t = tenant().id;
    let mut expected = Vec::new();
    for age in 0..10 {
        expected.insert(0, add(&b, t, age, T::CredentialUpdated, Some("ann"), "192.0.2.1").await);
    }
    for size in [1, 3, 5, 10, 11] {
        let (mut found, mut number) = (Vec::new(), 1);
        loop {
            let (events, total) = b.store.audit_log(t, &user("ann"), Page::new(number, size)).await.unwrap();
            assert_eq!(total, 10);
            if events.is_empty() {
                break;
            }
            assert!(events.len() <= usize::try_from(size).unwrap());
            found.extend(events);
            number += 1;
        }
        assert_same(&found, &expected);
    }
    for beyond in [Page::new(12, 1), Page::new(i64::MAX, 1), Page::new(i64::MAX, 500)] {
        let (events, total) = b.store.audit_log(t, &all(), beyond).await.unwrap();
        assert_eq!((events.len(), total), (0, 10));
    }
}

async fn equal_instants_have_an_order(b: Bench) {
    let t = tenant().id;
    let mut ids: Vec<AuditEventId> = Vec::new();
    for _ in 0..8 {
        ids.push(add(&b, t, 0, T::CredentialUpdated, None, "").await.id);
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    let mut found = Vec::new();
    for number in 1..=4 {
        let (events, _) = b.store.audit_log(t, &all(), Page::new(number, 2)).await.unwrap();
        found.extend(events.into_iter().map(|e| e.id));
    }
    assert_eq!(found, ids);
}

async fn a_log_is_its_tenants_alone(b: Bench) {
    let (ours, theirs) = (tenant().id, tenant().id);
    add(&b, ours, 1, T::RegistrationInitFailed, Some("ann"), "192.0.2.1").await;
    add(&b, theirs, 2, T::RegistrationInitFailed, Some("ann"), "192.0.2.1").await;
    add(&b, theirs, 3, T::RegistrationInitFailed, Some("ann"), "192.0.2.1").await;
    let filters =
        [all(), user("ann"), address("192"), search("ann"), search("192"), types(T::ALL), AuditFilter { after: Some(at(0)), ..all() }];
    for filter in filters {
        assert_eq!(ages(&b, ours, filter.clone()).await, [1], "{filter:?}");
        assert_eq!(ages(&b, theirs, filter).await, [3, 2]);
    }
    assert_eq!(ages(&b, tenant().id, all()).await, [0; 0]);
}
