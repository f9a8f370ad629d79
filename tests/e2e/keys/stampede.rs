//! Twenty administrators who change one tenant's keys at once, in every way, through two servers, while users register: whatever comes of it,
//! one key signs at a time, it has its private half, and no token's key is missing from the JWKS unless it was distrusted or destroyed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use passkey_hsm::domain::{KeyState, SigningKey};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    decoded,
    signing_keys::short,
    support::{
        api::{Answer, Api, Tenant},
        authenticator::Format,
        keys::Algorithm,
        postgres,
        server::{Server, ServerSpec},
    },
};

const LENGTH: Duration = Duration::from_secs(4);
const ADMINISTRATORS: u64 = 20;

/// A change of some key, or of all, by the number that was drawn.
async fn change(api: &Api, tenant: &str, drawn: u64) -> Answer {
    let keys = api.get(&format!("/tenants/{tenant}/signing_keys?per_page=100")).await.json();
    let keys: Vec<_> = keys.as_array().unwrap().iter().filter(|key| key["state"] != "destroyed").collect();
    let kid = keys.get(usize::try_from(drawn / 1024).unwrap() % keys.len().max(1)).map_or("", |key| key["kid"].as_str().unwrap());
    let of_key = |act: &str, body: Value| (Method::POST, format!("/signing_keys/{kid}/{act}"), body);
    let of_tenant = |act: &str, body: Value| (Method::POST, format!("/tenants/{tenant}/signing_keys/{act}"), body);
    // What ends a key is rarer than what makes one: else there is nothing left to fight over.
    let (method, path, body) = match drawn % 16 {
        4 | 5 | 8..=10 if !(drawn / 16).is_multiple_of(8) => of_tenant("rotate", json!({"emergency": true, "accept_exposure": true})),
        0 => (Method::POST, format!("/tenants/{tenant}/signing_keys"), json!({"plan": "activate"})),
        1 => of_key("publish", json!({})),
        2 => of_key("activate", json!({})),
        3 => of_key("activate", json!({"accept_exposure": true})),
        4 => of_key("suspend", json!({})),
        5 => of_key("suspend", json!({"replace": true})),
        6 | 7 => of_key("resume", json!({})),
        8 => of_key("retire", json!({})),
        9 => of_key("compromise", json!({"accept_exposure": true})),
        10 => of_key("destroy", json!({})),
        11 => of_tenant("rotate", json!({})),
        12 => of_tenant("rotate", json!({"emergency": true})),
        13 => of_tenant("rotate", json!({"emergency": true, "accept_exposure": true})),
        14 => of_tenant("rollback", json!({})),
        _ => {
            let mut settings = short().settings;
            let age = 1 + drawn / 1024 % 2;
            settings["keys"]["jwks_max_age_seconds"] = age.into();
            settings["keys"]["publication_seconds"] = (2 * age).into();
            settings["keys"]["retirement_seconds"] = (1 + age).into();
            settings["keys"]["rollback_seconds"] = 30.into();
            (Method::PUT, format!("/tenants/{tenant}/settings/keys"), json!({"keys": settings["keys"]}))
        }
    };
    api.send(method, &path, &body).await
}

/// One key signs at most, it is in the JWKS, and its private half is there and stays.
fn assert_sound(keys: &[SigningKey]) {
    let active: Vec<_> = keys.iter().filter(|key| key.state == KeyState::Active).collect();
    assert!(active.len() <= 1, "{active:#?}");
    for key in active {
        assert!(key.in_jwks() && key.destroying_at.is_none() && key.private_destroyed_at.is_none(), "{key:#?}");
    }
}

/// Registers a user. The key of its token, where there was one to sign, is in the JWKS of the other server, unless somebody meant to end it.
async fn register(server: &Server, sides: &[Tenant; 2], n: u64) -> bool {
    let even = n.is_multiple_of(2);
    let (at, other) = (&sides[usize::from(even)], &sides[usize::from(!even)]);
    let draft = at.draft(&format!("user {n}"), Format::None, Algorithm::Es256).await;
    let answer = at.finalize(draft.body().to_string()).await;
    if answer.status != 200 {
        assert_eq!(answer.status, 503, "{}", answer.body);
        return false;
    }
    let token = answer.token();
    let kid = decoded(token.split('.').next().unwrap())["kid"].as_str().unwrap().to_owned();
    let jwks = other.jwks().await.json();
    if !jwks["keys"].as_array().unwrap().iter().any(|key| key["kid"] == *kid) {
        let key = server.store().await.signing_key(kid.parse().unwrap()).await.unwrap().unwrap();
        assert!(matches!(key.state, KeyState::Compromised | KeyState::Destroyed), "{key:#?}");
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_changes_at_once_one_key_signs_and_is_published() {
    let database = postgres::Server::shared().empty_database().await;
    let server = Server::start(ServerSpec { database: Some(database), scheduler: true, ..ServerSpec::default() }).await;
    let beside = server.beside().await;
    let tenant = server.create_tenant(&short());
    let token = server.admin_as("admin", &[]).await.token().to_owned();
    let over = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut administrators = JoinSet::new();
    for n in 0..ADMINISTRATORS {
        let api = if n % 2 == 0 { server.admin_api() } else { beside.admin_api() }.with_token(&token);
        let (id, over, done) = (tenant.id.clone(), over.clone(), done.clone());
        administrators.spawn(async move {
            let mut drawn = n + 1;
            while !over.load(Ordering::Relaxed) {
                drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let answer = change(&api, &id, drawn >> 33).await;
                done.fetch_add(u64::from(answer.status < 300), Ordering::Relaxed);
                assert!(matches!(answer.status, 200..=204 | 400 | 404 | 409 | 503), "{} {}", answer.status, answer.body);
            }
        });
    }
    let (store, sides) = (server.store().await, [tenant.at(server.api()), tenant.at(beside.api())]);
    let (begun, mut tokens) = (Instant::now(), 0);
    for n in 0.. {
        if begun.elapsed() > LENGTH {
            break;
        }
        assert_sound(&store.signing_keys_of(tenant.id.parse().unwrap()).await.unwrap());
        tokens += u64::from(register(&server, &sides, n).await);
    }
    over.store(true, Ordering::Relaxed);
    while let Some(ended) = administrators.join_next().await {
        ended.unwrap();
    }
    let changes = done.load(Ordering::Relaxed);
    assert!(changes > 20 && tokens > 0, "{changes} changes, {tokens} tokens");
    // Whatever is left, the tenant has a way out.
    let api = server.admin_api().with_token(&token);
    let rescue = || async {
        let answer = change(&api, &tenant.id, 13).await;
        (answer.status == 200).then_some(())
    };
    super::until("the tenant signs again", async || rescue().await).await;
    assert!(register(&server, &sides, 1_000_000).await);
}
