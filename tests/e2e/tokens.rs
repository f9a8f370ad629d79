//! What every token has to say, whoever verifies it (contract 1.6, and our claims).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{api::Tenant, ceremonies::Kind, jose};

/// Verifies a token from the JWKS and checks each claim; returns them.
pub(crate) fn check(tenant: &Tenant, kind: Kind, token: &str, jwks: &Value, user: &str, credential: &str) -> Value {
    let claims = jose::jsonwebtoken(token, jwks, &tenant.rp_id).unwrap().claims;
    let header: Vec<_> = token.split('.').take(1).map(crate::decoded).collect();
    assert_eq!(header[0]["kid"], tenant.kid);
    let mut expected = BTreeSet::from(["amr", "aud", "auth_time", "be", "bs", "ceremony", "cred", "exp", "iat", "iss", "jti", "sub", "uv"]);
    if kind == Kind::Transaction {
        expected.extend(["trans", "trans_hash"]);
    }
    assert_eq!(claims.as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>(), expected);
    assert_eq!((&claims["sub"], &claims["aud"], &claims["cred"]), (&json!(user), &json!([tenant.rp_id]), &json!(credential)));
    assert_eq!(claims["ceremony"], kind.ceremony());
    let seconds = |name: &str| claims[name].as_u64().unwrap_or_else(|| panic!("{name}: {claims}"));
    assert_eq!(seconds("exp"), seconds("iat") + 300);
    assert!(jsonwebtoken::get_current_timestamp().abs_diff(seconds("iat")) <= 30, "{claims}");
    assert!(seconds("iat") - seconds("auth_time") <= 5, "{claims}");
    // Nothing vouches for our authenticator.
    assert_eq!(claims["amr"], json!(["pop", "user"]));
    assert!(["uv", "be", "bs"].iter().all(|name| claims[*name].is_boolean()), "{claims}");
    assert!(claims["iss"].as_str().unwrap().ends_with(&format!("/{}", tenant.id)), "{claims}");
    claims
}
