//! Imported sets of trust anchors, and the revision that counts what they and the metadata go through.

use passkey_hsm::domain::AnchorSetName;

use crate::{
    bench::{Bench, at, blob},
    races::together,
};

on_both_engines! {
    sets_are_listed_by_name,
    a_set_is_replaced_whole,
    a_certificate_that_stays_keeps_its_age,
    a_set_without_certificates_is_none,
    a_set_is_removed_once,
    the_revision_counts_changes_and_nothing_else,
    of_parallel_replacements_one_is_left_whole,
}

fn name(text: &str) -> AnchorSetName {
    text.parse().unwrap()
}

fn der(fill: u8) -> Vec<u8> {
    vec![fill; 1500]
}

async fn sets_are_listed_by_name(b: Bench) {
    assert_eq!(b.store.anchor_sets().await.unwrap(), []);
    for (set, ders) in [("zz", vec![der(1)]), ("a-9", vec![der(1)]), ("a9", vec![der(2)]), ("0", vec![der(3)])] {
        assert!(b.store.replace_anchor_set(&name(set), &ders, at(0)).await.unwrap());
    }
    let sets: Vec<_> = b.store.anchor_sets().await.unwrap();
    let expected = [("0", 3), ("a-9", 1), ("a9", 2), ("zz", 1)].map(|(set, fill)| (name(set), vec![der(fill)]));
    assert_eq!(sets, expected, "byte by byte, on both engines");
}

async fn a_set_is_replaced_whole(b: Bench) {
    b.store.replace_anchor_set(&name("other"), &[der(1)], at(0)).await.unwrap();
    // One certificate given twice is in it once.
    assert!(b.store.replace_anchor_set(&name("ours"), &[der(1), der(2), der(1)], at(0)).await.unwrap());
    assert_eq!(b.count("trust_anchors").await, 3);
    assert!(b.store.replace_anchor_set(&name("ours"), &[der(3)], at(1)).await.unwrap());
    let expected = [(name("other"), vec![der(1)]), (name("ours"), vec![der(3)])];
    assert_eq!(b.store.anchor_sets().await.unwrap(), expected);
}

async fn a_certificate_that_stays_keeps_its_age(b: Bench) {
    b.store.replace_anchor_set(&name("ours"), &[der(1), der(9)], at(0)).await.unwrap();
    b.store.replace_anchor_set(&name("ours"), &[der(2), der(9)], at(1)).await.unwrap();
    b.store.replace_anchor_set(&name("ours"), &[der(3), der(2), der(9)], at(2)).await.unwrap();
    assert_eq!(b.store.anchor_sets().await.unwrap(), [(name("ours"), vec![der(9), der(2), der(3)])], "the oldest first");
}

async fn a_set_without_certificates_is_none(b: Bench) {
    b.store.replace_anchor_set(&name("ours"), &[der(1)], at(0)).await.unwrap();
    assert!(b.store.replace_anchor_set(&name("ours"), &[], at(0)).await.unwrap());
    assert_eq!(b.store.anchor_sets().await.unwrap(), []);
    assert!(!b.store.remove_anchor_set(&name("ours")).await.unwrap());
}

async fn a_set_is_removed_once(b: Bench) {
    for set in ["ours", "other"] {
        b.store.replace_anchor_set(&name(set), &[der(1), der(2)], at(0)).await.unwrap();
    }
    assert!(b.store.remove_anchor_set(&name("ours")).await.unwrap());
    assert!(!b.store.remove_anchor_set(&name("ours")).await.unwrap());
    let left: Vec<_> = b.store.anchor_sets().await.unwrap().into_iter().map(|(set, ders)| (set, ders.len())).collect();
    assert_eq!(left, [(name("other"), 2)]);
}

async fn the_revision_counts_changes_and_nothing_else(b: Bench) {
    assert_eq!(b.store.trust_revision().await.unwrap(), 0);
    b.store.replace_anchor_set(&name("ours"), &[der(1)], at(0)).await.unwrap();
    assert_eq!(b.store.trust_revision().await.unwrap(), 1);
    assert!(!b.store.replace_anchor_set(&name("ours"), &[der(1), der(1)], at(1)).await.unwrap());
    assert!(!b.store.replace_anchor_set(&name("none"), &[], at(1)).await.unwrap());
    assert!(!b.store.remove_anchor_set(&name("other")).await.unwrap());
    assert_eq!(b.store.trust_revision().await.unwrap(), 1, "nothing was changed");
    b.store.replace_metadata(&blob(5, 1)).await.unwrap();
    assert_eq!(b.store.trust_revision().await.unwrap(), 2);
    b.store.replace_metadata(&blob(5, 1)).await.unwrap();
    assert_eq!(b.store.trust_revision().await.unwrap(), 2, "not newer");
    b.store.remove_anchor_set(&name("ours")).await.unwrap();
    assert_eq!(b.store.trust_revision().await.unwrap(), 3);
}

async fn of_parallel_replacements_one_is_left_whole(b: Bench) {
    for round in 0..8_i64 {
        let callers = (1..=5_u8).map(|caller| {
            let store = b.store.clone();
            // Two certificates of its own each, and one of all.
            async move { store.replace_anchor_set(&name("ours"), &[der(caller), der(100 + caller), der(200)], at(round)).await.unwrap() }
        });
        assert!(together(callers).await.into_iter().filter(|changed| *changed).count() >= 4);
        let (_, mut ders) = b.store.anchor_sets().await.unwrap().remove(0);
        ders.sort();
        let own = ders[0][0];
        assert_eq!(ders, [der(own), der(100 + own), der(200)], "never a mixture");
    }
}
