//! Keys that a ceremony made on the token, with another tool.

use passkey_hsm::{
    domain::{KeyOrigin, KeyPlan, KeyRule, KeyState, SigningAlgorithm},
    services::{AdoptKey, Error, NewTenant},
};
use serde_json::json;

use super::{
    by,
    commands::{Scene, refused},
};
use crate::support::{api::Tenant, authenticator::Format, jose, keys::Algorithm};

fn labelled(label: &str, plan: KeyPlan) -> AdoptKey {
    AdoptKey { cka_id: None, label: Some(label.to_owned()), algorithm: SigningAlgorithm::Es256, plan }
}

impl Scene {
    /// Makes a pair with pkcs11-tool.
    fn ceremony(&self, label: &str, id: &str) {
        let make = ["--keypairgen", "--key-type", "EC:prime256v1", "--usage-sign", "--sensitive", "--label", label, "--id", id];
        self.server.folder.tool(&[&["--token-label", "passkey-test", "--login", "--pin", "env:PIN"], make.as_slice()].concat(), "");
    }

    /// A tenant that waits for its key.
    async fn waiting(&self) -> Tenant {
        let tenants = &self.operator.tenants;
        let like = tenants.get(self.id).await.unwrap();
        let new = NewTenant { display_name: "waits".to_owned(), config: like.config, settings: like.settings, await_key: true };
        let made = tenants.create(new, Some("first"), &by("ceremony")).await.unwrap();
        let (_, secret) = made.api_key.unwrap();
        let made = json!({ "id": made.tenant.id, "kid": "", "api_key": { "secret": secret.expose().as_str() } });
        Tenant::new(self.server.api(), &made, "localhost", "http://localhost:8000")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_waited_signs_with_the_key_of_its_ceremony_at_once() {
    let scene = Scene::sqlite().await;
    let (tenant, keys) = (scene.waiting().await, &scene.operator.keys);
    let id = tenant.id.parse().unwrap();
    let empty = tenant.jwks().await;
    assert_eq!((empty.header("Cache-Control"), empty.json()), ("no-cache", json!({"keys": []})), "its first key needs no publication time");
    scene.ceremony("ceremony-1", "c0ffee");
    let nothing = keys.adopt(id, &labelled("ceremony-2", KeyPlan::Activate), &by("t")).await;
    assert!(matches!(nothing, Err(Error::Invalid(_))), "{nothing:?}");

    let adopted = keys.adopt(id, &labelled("ceremony-1", KeyPlan::Activate), &by("t")).await.unwrap();
    assert_eq!(
        (adopted.state, adopted.origin, adopted.cka_id.as_deref()),
        (KeyState::Active, KeyOrigin::Adopted, Some([0xc0, 0xff, 0xee].as_slice()))
    );
    let draft = tenant.draft("ann", Format::None, Algorithm::Es256).await;
    let token = tenant.finalize(draft.body().to_string()).await.token();
    let verified = jose::verify(&token, &tenant.jwks().await.json(), "localhost");
    assert_eq!(verified.header["kid"], adopted.id.to_string());

    // It is nobody else's, and nobody's twice.
    for tenant in [id, scene.id] {
        let again = keys.adopt(tenant, &labelled("ceremony-1", KeyPlan::None), &by("t")).await;
        assert!(matches!(&again, Err(Error::Conflict(why)) if why.contains(&adopted.id.to_string())), "{again:?}");
    }
    let of_first = AdoptKey { cka_id: Some(scene.first().as_bytes().to_vec()), label: None, ..labelled("", KeyPlan::None) };
    assert!(matches!(keys.adopt(id, &of_first, &by("t")).await, Err(Error::Conflict(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_beside_another_waits_like_any_and_a_strict_policy_does_not_take_it() {
    let scene = Scene::sqlite().await;
    let keys = &scene.operator.keys;
    scene.ceremony("next", "0a0b");
    let adopted = keys.adopt(scene.id, &labelled("next", KeyPlan::Activate), &by("t")).await.unwrap();
    assert_eq!(adopted.state, KeyState::Pending);
    // pkcs11-tool leaves its attributes to be changed.
    let mut settings = scene.operator.tenants.get(scene.id).await.unwrap().settings;
    let mut policy = serde_json::to_value(settings.keys).unwrap();
    policy["strict"] = json!(true);
    settings.keys = serde_json::from_value(policy).unwrap();
    let change = passkey_hsm::services::UpdateTenant { settings: Some(settings), ..Default::default() };
    scene.operator.tenants.update(scene.id, change, &by("t")).await.unwrap();
    let why = refused(keys.publish(adopted.id, &by("t")).await, KeyRule::StrictPolicy);
    assert!(why.contains("CKA_MODIFIABLE"), "{why}");
    // What is made here is made as a strict policy wants it.
    keys.retire(adopted.id, &by("t")).await.unwrap();
    assert_eq!(scene.standby().await.state, KeyState::Published);
}
