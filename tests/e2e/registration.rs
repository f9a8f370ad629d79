//! A passkey registered over HTTP by a software authenticator: every format, every algorithm, both databases; the token and the JWKS as the
//! contract has them (1.5, 1.6).

use std::collections::HashSet;

use openssl::sha::sha256;
use serde_json::{Value, json};
use webauthn_authenticator_rs::{AuthenticatorBackendHashedClientData, softpasskey::SoftPasskey, softtoken::SoftToken};
use webauthn_rs_core::proto::CreationChallengeResponse;

use crate::{
    engines,
    support::{
        api::Tenant,
        authenticator::{Draft, Format, flag},
        ceremonies::Kind,
        jose,
        keys::Algorithm,
        server::{Server, TenantSpec},
    },
    tokens,
};

engines! {
    every_format_and_algorithm, every_token_algorithm, options_are_the_contracts, a_second_passkey, other_peoples_authenticators,
    user_verification_that_was_asked_for, a_key_that_is_suspended_signs_nothing
}

/// What the token of `user`'s `credential` has to be, whoever verifies it.
fn check_token(tenant: &Tenant, algorithm: &str, token: &str, jwks: &Value, user: &str, credential: &str) -> Value {
    let header: Vec<_> = token.split('.').take(1).map(crate::decoded).collect();
    assert_eq!(header, [json!({"alg": algorithm, "kid": tenant.kid, "typ": "JWT"})]);
    tokens::check(tenant, Kind::Registration, token, jwks, user, credential)
}

async fn every_format_and_algorithm(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let jwks = tenant.jwks().await.json();
    let mut token_ids = HashSet::new();
    for format in Format::ALL {
        let mut registered = 0;
        for algorithm in Algorithm::ALL.into_iter().filter(|a| format.takes(*a)) {
            let user = format!("{format:?} {algorithm:?}");
            let draft = tenant.draft(&user, format, algorithm).await;
            let answer = tenant.finalize(draft.body().to_string()).await;
            assert_eq!(answer.status, 200, "{user}: {}", answer.body);
            let token = answer.token();
            let claims = check_token(&tenant, "ES256", &token, &jwks, &user, &draft.id());
            // No anchor of ours vouches for these authenticators.
            assert_eq!(claims["amr"], json!(["pop", "user"]), "{claims}");
            let proven = ["uv", "be", "bs"].map(|name| claims[name].as_bool().unwrap());
            assert_eq!(proven, [flag::UV, flag::BE, flag::BS].map(|flag| draft.flags & flag != 0), "{claims}");
            assert!(token_ids.insert(claims["jti"].to_string()), "{claims}");
            if algorithm == Algorithm::Es256 {
                assert_eq!(jose::jwcrypto(&token, &jwks, &tenant.rp_id).unwrap().claims, claims);
            }
            registered += 1;
        }
        let stored = server.count(&format!("credentials WHERE attestation_type = '{}'", format.name())).await;
        // Both kinds of packed statement count as `packed`.
        let others = if format == Format::PackedX5c { 10 } else { 0 };
        assert_eq!(stored - others, registered, "{format:?}");
    }
    assert_eq!(server.count("credentials").await, 70);
    assert_eq!(server.count("audit_events WHERE event_type = 'webauthn_registration_final_succeeded'").await, 70);
    assert_eq!(server.count("ceremonies").await, 0);
}

async fn every_token_algorithm(server: Server) {
    for (algorithm, kty, members) in [
        ("ES256", "EC", &["alg", "crv", "kid", "kty", "use", "x", "y"][..]),
        ("ES384", "EC", &["alg", "crv", "kid", "kty", "use", "x", "y"]),
        ("RS256", "RSA", &["alg", "e", "kid", "kty", "n", "use"]),
        ("PS256", "RSA", &["alg", "e", "kid", "kty", "n", "use"]),
        ("EdDSA", "OKP", &["alg", "crv", "kid", "kty", "use", "x"]),
    ] {
        let tenant = server.create_tenant(&TenantSpec { algorithm, ..TenantSpec::default() });
        let answer = tenant.jwks().await;
        assert_eq!((answer.status, answer.header("Cache-Control")), (200, "max-age=600"), "{}", answer.body);
        assert_eq!(answer.header("Content-Type"), "application/json; charset=UTF-8");
        let jwks = answer.json();
        let [key] = jwks["keys"].as_array().unwrap().as_slice() else { panic!("{jwks}") };
        let mut names: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, members);
        assert_eq!([&key["alg"], &key["kty"], &key["kid"], &key["use"]], [algorithm, kty, &tenant.kid, "sig"]);

        let draft = tenant.draft("u1", Format::None, Algorithm::Es256).await;
        let token = tenant.finalize(draft.body().to_string()).await.token();
        check_token(&tenant, algorithm, &token, &jwks, "u1", &draft.id());
        jose::verify(&token, &jwks, "localhost");
        assert!(jose::jsonwebtoken(&token, &jwks, "example.org").is_err());
    }
}

async fn options_are_the_contracts(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let answer = tenant.initialize(r#"{"user_id":"u1","username":"ann"}"#).await;
    assert_eq!((answer.status, answer.header("Content-Type")), (200, "application/json; charset=UTF-8"));
    assert!(answer.body.ends_with('\n'));
    let options = answer.json();
    let challenge = options["publicKey"]["challenge"].as_str().unwrap();
    assert_eq!(challenge.len(), 43);
    // The text, so that the order of the members counts too.
    let algorithms = Algorithm::ALL.map(Algorithm::cose_id);
    let ids = [-7, -35, -36, -257, -258, -259, -37, -38, -39, -8];
    assert_eq!(algorithms, ids);
    let params: Vec<_> = ids.iter().map(|alg| format!(r#"{{"type":"public-key","alg":{alg}}}"#)).collect();
    let expected = format!(
        r#"{{"publicKey":{{"rp":{{"name":"Example","id":"localhost"}},"user":{{"name":"ann","displayName":"ann","id":"dTE"}},"challenge":"{challenge}","pubKeyCredParams":[{}],"timeout":60000,"authenticatorSelection":{{"requireResidentKey":false,"residentKey":"preferred","userVerification":"preferred"}},"attestation":"direct","extensions":{{"credProps":true}}}}}}"#,
        params.join(",")
    );
    assert_eq!(answer.body.trim_end(), expected);

    let other = tenant.initialize(r#"{"user_id":"ü","username":"ann","display_name":"Ann <A>","icon":"https://example.org/a.png"}"#).await;
    assert_eq!(
        other.json()["publicKey"]["user"],
        json!({"name": "ann", "icon": "https://example.org/a.png", "displayName": "Ann <A>", "id": "w7w"})
    );
    assert!(other.body.contains(r"Ann \u003cA\u003e"), "{}", other.body);
    assert_ne!(other.json()["publicKey"]["challenge"], options["publicKey"]["challenge"]);
}

async fn a_second_passkey(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let first = tenant.draft("u1", Format::None, Algorithm::Es256).await;
    tenant.finalize(first.body().to_string()).await.token();
    let options = tenant.options("u1").await;
    let excluded = json!([{"type": "public-key", "id": first.id(), "transports": ["internal", "hybrid"]}]);
    assert_eq!(options["publicKey"]["excludeCredentials"], excluded);
    assert_eq!(tenant.options("u2").await["publicKey"].get("excludeCredentials"), None);

    // The same id under another challenge is refused; in another tenant it is nobody else's business.
    for (tenant, accepted) in [(&tenant, false), (&server.create_tenant(&TenantSpec::default()), true)] {
        let mut copy = tenant.draft("u2", Format::None, Algorithm::Es256).await;
        copy.credential_id.clone_from(&first.credential_id);
        let answer = tenant.finalize(copy.body().to_string()).await;
        if accepted {
            answer.token();
        } else {
            answer.problem(400, "failed to validate attestation");
        }
    }
    assert_eq!(server.count("credentials").await, 2);
}

async fn other_peoples_authenticators(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let (mut token, _root) = SoftToken::new(true).unwrap();
    let mut passkey = SoftPasskey::new(true);
    let backends: [&mut dyn AuthenticatorBackendHashedClientData; 2] = [&mut token, &mut passkey];
    for (n, backend) in backends.into_iter().enumerate() {
        let options = tenant.options(&format!("u{n}")).await;
        // The client data is ours, as a browser writes it: that library's own has a slash after the origin.
        let client_data = Draft::new(&options, &tenant.origin, Format::None, Algorithm::Es256).client_data_json();
        let options: CreationChallengeResponse = serde_json::from_value(options).unwrap();
        let mut credential = backend.perform_register(sha256(&client_data).to_vec(), options.public_key, 60_000).unwrap();
        credential.response.client_data_json = client_data.into();
        tenant.finalize(serde_json::to_string(&credential).unwrap()).await.token();
    }
    assert_eq!(server.count("credentials WHERE attestation_type = 'packed'").await, 2);
}

async fn user_verification_that_was_asked_for(server: Server) {
    let strict = server.create_tenant(&TenantSpec { user_verification: "required", ..TenantSpec::default() });
    let mut draft = strict.draft("u1", Format::PackedSelf, Algorithm::Es256).await;
    draft.flags &= !flag::UV;
    let title = "failed to validate attestation: Error validating the authenticator response: User verification required but flag not set by authenticator\n";
    strict.finalize(draft.body().to_string()).await.problem(422, title);
    assert_eq!(server.count("credentials").await, 0);
    for user_verification in ["preferred", "discouraged"] {
        let lax = server.create_tenant(&TenantSpec { user_verification, ..TenantSpec::default() });
        let mut draft = lax.draft("u1", Format::PackedSelf, Algorithm::Es256).await;
        draft.flags &= !flag::UV;
        lax.finalize(draft.body().to_string()).await.token();
    }
    assert_eq!(server.count("credentials WHERE user_verified = true").await, 0);
}

async fn a_key_that_is_suspended_signs_nothing(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let body = tenant.draft("ann", Format::PackedSelf, Algorithm::Es256).await.body().to_string();
    assert_eq!(server.execute("UPDATE signing_keys SET state = 'suspended'").await, 1);
    let answer = tenant.finalize(body.clone()).await;
    assert!(answer.problem(503, "Service Unavailable").contains("no active signing key"));
    assert_eq!(answer.header("Retry-After"), "1");
    assert_eq!((server.count("credentials").await, server.count("ceremonies").await), (0, 1));
    // Its tokens of before are verified on; one that is compromised is gone from the JWKS at once.
    assert_eq!(tenant.jwks().await.json()["keys"][0]["kid"], tenant.kid);
    server.execute("UPDATE signing_keys SET state = 'compromised'").await;
    assert_eq!(tenant.jwks().await.json(), json!({"keys": []}));
    // Nothing was used up.
    server.execute("UPDATE signing_keys SET state = 'active'").await;
    tenant.finalize(body).await.token();
}
