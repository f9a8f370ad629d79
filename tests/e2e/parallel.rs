//! Many ceremonies at once, one posted many times, and what becomes of those that nobody ends.

use futures::future::join_all;

use crate::{
    engines,
    support::{
        authenticator::Format,
        keys::Algorithm,
        server::{Server, TenantSpec},
    },
};

engines! { equal_requests_yield_one_token, different_requests_all_succeed, ended_ceremonies_are_swept }

async fn equal_requests_yield_one_token(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let mut stored = 0;
    for posts in [2, 16] {
        for round in 0..5 {
            let body = tenant.draft(&format!("u{posts}-{round}"), Format::PackedSelf, Algorithm::Es256).await.body().to_string();
            let answers = join_all((0..posts).map(|_| tenant.finalize(body.clone()))).await;
            let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
            assert_eq!(good.len(), 1, "{answers:?}");
            good[0].token();
            for answer in bad {
                assert_eq!(answer.problem(400, "received challenge does not match with any stored one"), "");
            }
            stored += 1;
            assert_eq!(server.count("credentials").await, stored);
            assert_eq!(server.count("audit_events WHERE event_type = 'webauthn_registration_final_succeeded'").await, stored);
        }
    }
}

async fn different_requests_all_succeed(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let drafts = join_all((0..16).map(|n| {
        let tenant = tenant.clone();
        async move { tenant.draft(&format!("u{n}"), Format::None, Algorithm::Es256).await }
    }))
    .await;
    let answers = join_all(drafts.iter().map(|draft| tenant.finalize(draft.body().to_string()))).await;
    let tokens: std::collections::HashSet<_> = answers.iter().map(super::support::api::Answer::token).collect();
    assert_eq!(tokens.len(), 16);
    assert_eq!(server.count("credentials").await, 16);
}

async fn ended_ceremonies_are_swept(mut server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let kept = tenant.draft("kept", Format::None, Algorithm::Es256).await.body().to_string();
    server.execute("UPDATE ceremonies SET expires_at = expires_at - 3500000").await;
    let expired = tenant.finalize(kept.clone()).await;
    assert_eq!(expired.problem(400, "failed to validate attestation"), "Session has Expired");
    let swept = tenant.draft("swept", Format::None, Algorithm::Es256).await.body().to_string();
    assert_eq!(server.execute("UPDATE ceremonies SET expires_at = expires_at - 7200000 WHERE user_id = 'swept'").await, 1);
    server.terminate();
    server.restart().await;
    for _ in 0..200 {
        if server.count("ceremonies").await == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let tenant = tenant.at(server.api());
    tenant.finalize(swept).await.problem(400, "received challenge does not match with any stored one");
    // Who is late by less than an hour is told so.
    assert_eq!(tenant.finalize(kept).await.problem(400, "failed to validate attestation"), "Session has Expired");
}
