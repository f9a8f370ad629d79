//! Challenges that are expired, replayed, or somebody else's.

use std::time::Duration;

use crate::{
    engines,
    support::{
        authenticator::{Draft, Format},
        keys::Algorithm,
        server::{Server, TenantSpec},
    },
};

use super::Refusal;

engines! { replayed, expired, of_another_tenant, of_another_operation, of_a_tenant_that_is_not_there }

async fn replayed(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let options = tenant.options("u1").await;
    let first = Draft::new(&options, &tenant.origin, Format::PackedSelf, Algorithm::Es256);
    tenant.finalize(first.body().to_string()).await.token();
    Refusal::Challenge.check("the same credential", &tenant.finalize(first.body().to_string()).await);
    let second = Draft::new(&options, &tenant.origin, Format::PackedSelf, Algorithm::Es256);
    Refusal::Challenge.check("another credential", &tenant.finalize(second.body().to_string()).await);
    assert_eq!(server.count("credentials").await, 1);

    // Two ceremonies of one user are under way at once; each is good once.
    let drafts = [tenant.draft("u2", Format::None, Algorithm::Es256).await, tenant.draft("u2", Format::None, Algorithm::Es256).await];
    for draft in drafts.iter().rev() {
        tenant.finalize(draft.body().to_string()).await.token();
    }
    assert_eq!(server.count("credentials").await, 3);
}

async fn expired(server: Server) {
    let tenant = server.create_tenant(&TenantSpec { timeout: 1, ..TenantSpec::default() });
    let draft = tenant.draft("u1", Format::PackedSelf, Algorithm::Es256).await;
    // Not a wait for something to happen: the ceremony's end has to lie in the past, and the program has no clock to set.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let details = tenant.finalize(draft.body().to_string()).await.problem(400, "failed to validate attestation");
    assert_eq!(details, "Session has Expired");
    assert_eq!(server.count("credentials").await, 0);
    assert_eq!(server.count("audit_events WHERE event_type = 'webauthn_registration_final_failed'").await, 1);
}

async fn of_another_tenant(server: Server) {
    let (tenant, other) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let draft = tenant.draft("u1", Format::PackedSelf, Algorithm::Es256).await;
    Refusal::Challenge.check("another tenant", &other.finalize(draft.body().to_string()).await);
    assert_eq!(server.count("credentials").await, 0);
    // Where it belongs it is still good: nobody can use up another tenant's challenges.
    tenant.finalize(draft.body().to_string()).await.token();
}

async fn of_another_operation(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    for (operation, statement) in [
        ("mfa_registration", "UPDATE ceremonies SET operation = 'mfa_registration'"),
        ("login", "UPDATE ceremonies SET operation = 'login'"),
        ("transaction", "UPDATE ceremonies SET operation = 'transaction'"),
    ] {
        let draft = tenant.draft("u1", Format::PackedSelf, Algorithm::Es256).await;
        assert!(server.execute(statement).await > 0);
        Refusal::Challenge.check(operation, &tenant.finalize(draft.body().to_string()).await);
    }
    assert_eq!(server.count("credentials").await, 0);
    assert_eq!(server.count("ceremonies").await, 3, "another operation's challenge was used up");
}

async fn of_a_tenant_that_is_not_there(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let draft = tenant.draft("u1", Format::PackedSelf, Algorithm::Es256).await;
    let body = draft.body().to_string();
    tenant.post("/00000000-0000-4000-8000-000000000000/registration/finalize", body.clone()).await.problem(404, "tenant not found");
    tenant.post("/nobody/registration/finalize", body.clone()).await.problem(400, "tenant_id must be a valid uuid4");
    assert_eq!(server.count("credentials").await, 0);
    tenant.finalize(body).await.token();
}
