//! The private half of a key that was replaced is gone from the token, and nothing signs with it any more.

use serde_json::json;

use super::{in_state, keys, policy, until};
use crate::support::{
    ceremonies::Kind,
    jose,
    keys::Algorithm,
    server::{Server, ServerSpec, TenantSpec},
};
use passkey_hsm::domain::KeyState;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retired_keys_private_half_is_gone_and_cannot_be_called_back() {
    let server = Server::start(ServerSpec { scheduler: true, ..ServerSpec::default() }).await;
    let tenant = server.create_tenant(&TenantSpec { settings: json!({"keys": policy()}), ..TenantSpec::default() });
    let store = server.store().await;
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    let first = keys(&store, &tenant).await.remove(0);
    let id = first.id.to_string().replace('-', "");
    assert!(on_the_token(&server).contains(&id), "the test looks for the wrong thing");

    until(&store, &tenant, "the first key's private half is gone", |keys| keys[0].private_destroyed_at.is_some()).await;
    let listed = on_the_token(&server);
    assert!(!listed.contains(&id), "{id} is still there:\n{listed}");
    let sign_in = async || {
        let assertion = tenant.assertion(Kind::Login, "", &passkey).await;
        tenant.end(Kind::Login, assertion.text()).await
    };
    let token = sign_in().await.token();
    jose::verify(&token, &tenant.jwks().await.json(), &tenant.rp_id);

    // Somebody who can write to the database makes it the active key again.
    assert_eq!(in_state(&keys(&store, &tenant).await, KeyState::Active), 1);
    server.execute("UPDATE signing_keys SET state = 'retired' WHERE state = 'active'").await;
    let back =
        "UPDATE signing_keys SET state = 'active', rotate_from = NULL WHERE predecessor IS NULL AND private_destroyed_at IS NOT NULL";
    assert_eq!(server.execute(back).await, 1);
    sign_in().await.problem(503, "Service Unavailable");
    let said = format!("the token does not hold signing key {}", first.id);
    assert!(server.log().contains(&said), "{said:?} is not in the log");
}

/// What another program sees there.
fn on_the_token(server: &Server) -> String {
    server.folder.tool(&["--login", "--pin", "env:PIN", "--list-objects"], "").to_lowercase()
}
