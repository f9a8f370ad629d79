//! Making the tables, and what the two engines' tables have in common.

use std::path::Path;

use futures::future::join_all;
use passkey_hsm::storage::{Error, Store};
use sqlx::migrate::Migrator;

use crate::bench::{Bench, assert_same, event, tenant};

mod sqlite {
    use super::*;

    #[tokio::test]
    async fn are_applied_once() {
        applied_once(Bench::empty_sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn are_applied_once_by_several_processes() {
        applied_once_together(Bench::empty_sqlite().await).await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test]
    async fn are_applied_once() {
        applied_once(Bench::empty_postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn are_applied_once_by_several_processes() {
        applied_once_together(Bench::empty_postgres().await).await;
    }
}

/// The migrations of a version before, up to one of them.
async fn up_to(last: &str, engine: &str) -> Migrator {
    let (source, some) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine), tempfile::tempdir().unwrap());
    for file in std::fs::read_dir(source).unwrap().map(Result::unwrap) {
        let name = file.file_name().into_string().unwrap();
        if name[..4] <= *last {
            std::fs::copy(file.path(), some.path().join(name)).unwrap();
        }
    }
    Migrator::new(some.path()).await.unwrap()
}

/// The same literals on both engines, but for bytes.
async fn insert(b: &Bench, sql: &str) {
    let postgres = sql.replace("u'", "'").replace("x'", r"'\x");
    b.sql(&postgres, &sql.replace("u'", "x'").replace("TRUE", "1").replace("FALSE", "0")).await;
}

/// A database of the version before, whose keys have no dates of their life.
mod from_0004 {
    use passkey_hsm::domain::{KeyId, KeyPlan, KeyState, SystemRng};
    use sqlx::Connection;

    use super::*;
    use crate::key_bench::in_the_place_of;

    #[tokio::test]
    async fn sqlite() {
        let b = Bench::empty_sqlite().await;
        let mut conn = sqlx::SqliteConnection::connect(&b.url).await.unwrap();
        up_to("0004", "sqlite").await.run(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        keeps_its_keys(b).await;
    }

    #[tokio::test]
    async fn postgres() {
        let b = Bench::empty_postgres().await;
        up_to("0004", "postgres").await.run(&mut crate::postgres::Server::connect(&b.url).await).await.unwrap();
        keeps_its_keys(b).await;
    }

    /// A tenant with an active key, as a server of the version before writes it.
    async fn older_tenant(b: &Bench) -> KeyId {
        let (id, kid, config) =
            (tenant().id.as_uuid().simple(), KeyId::random(&SystemRng), serde_json::to_string(&tenant().config).unwrap());
        let columns = "id, display_name, state, config, rp_id, settings, created_at";
        insert(b, &format!("INSERT INTO tenants ({columns}) VALUES (u'{id}', 'Ours', 'active', '{config}', 'example.org', '{{}}', 1)"))
            .await;
        let columns = "id, tenant_id, algorithm, state, public_key, cka_id, token_serial, created_at, published_at, activated_at";
        let key = kid.as_uuid().simple();
        insert(
            b,
            &format!("INSERT INTO signing_keys ({columns}) VALUES (u'{key}', u'{id}', 'ES256', 'active', x'30', x'31', 's', 1, 2, 2)"),
        )
        .await;
        let columns = "id, tenant_id, event_type, request_id, source_ip, user_agent, created_at";
        insert(b, &format!("INSERT INTO audit_events ({columns}) VALUES (u'{key}', u'{id}', 'tenant_created', 'r', 'i', 'u', 1)")).await;
        kid
    }

    async fn keeps_its_keys(b: Bench) {
        let before = older_tenant(&b).await;
        assert_eq!(b.store.migrate().await.unwrap(), [5]);
        // Servers of the version before run on until they are replaced.
        let after = older_tenant(&b).await;
        for kid in [before, after] {
            let key = b.key(kid).await;
            assert_eq!((key.state, key.plan, key.rotate_from, key.in_jwks()), (KeyState::Active, KeyPlan::None, None, true));
            assert_eq!(b.store.audit_events(key.tenant_id, 9).await.unwrap()[0].key_id, None);
            let due = b.store.due_keys(std::time::Duration::ZERO, 9, None).await.unwrap();
            assert!(due.lacking_standby.contains(&key.tenant_id) && due.to_rotate.is_empty());
            let standby = b.standby(key.tenant_id).await;
            b.changed(&standby, in_the_place_of(kid)).await;
            assert_eq!(b.key(kid).await.state, KeyState::Retiring);
        }
    }
}

/// A database whose tenants have no RP ID in a column.
mod from_0003 {
    use sqlx::Connection;

    use super::*;

    #[tokio::test]
    async fn sqlite() {
        let b = Bench::empty_sqlite().await;
        let mut conn = sqlx::SqliteConnection::connect(&b.url).await.unwrap();
        up_to("0003", "sqlite").await.run(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        finds_its_tenants(b).await;
    }

    #[tokio::test]
    async fn postgres() {
        let b = Bench::empty_postgres().await;
        up_to("0003", "postgres").await.run(&mut crate::postgres::Server::connect(&b.url).await).await.unwrap();
        finds_its_tenants(b).await;
    }

    async fn finds_its_tenants(b: Bench) {
        let config = serde_json::to_string(&tenant().config).unwrap();
        assert!(config.contains("\"Example\""), "{config}");
        let other = config.replace("\"example.org\"", "\"other.example\"").replace("\"Example\"", r#""'\"\\ü\n""#);
        // Neither of them stops a server from starting.
        let (odd, without) = (config.replace("\"Example\"", r#""a\u0000b""#), "{}".to_owned());
        for (at, (state, config)) in
            [("active", config), ("active", other), ("creating", odd), ("creating", without)].into_iter().enumerate()
        {
            let (id, config) = (tenant().id.as_uuid().simple(), config.replace('\'', "''"));
            insert(&b, &format!("INSERT INTO tenants VALUES (u'{id}', 'Ours {at}', '{state}', '{config}', '{{}}', {at})")).await;
        }
        assert_eq!(b.store.migrate().await.unwrap(), [4, 5]);
        for (rp_id, name) in [("example.org", "Ours 0"), ("other.example", "Ours 1")] {
            let found = b.store.tenants_of_rp_id(rp_id, 9).await.unwrap();
            assert_eq!(found.iter().map(|t| t.display_name.as_str()).collect::<Vec<_>>(), [name]);
        }
        // As a server of the version before writes one that is still running.
        let config = serde_json::to_string(&tenant().config).unwrap();
        let columns = "id, display_name, state, config, settings, created_at";
        let id = tenant().id.as_uuid().simple();
        insert(&b, &format!("INSERT INTO tenants ({columns}) VALUES (u'{id}', 'Late', 'active', '{config}', '{{}}', 9)")).await;
        assert_eq!(b.store.tenants_of_rp_id("example.org", 9).await.unwrap().len(), 1);
        assert!(b.store.tenants_of_rp_id("", 9).await.unwrap().is_empty());
        let late = b.store.tenants().await.unwrap().pop().unwrap();
        assert!(b.store.update_tenant(late.id, None, Some(&late.config), None, &[event(late.id)]).await.unwrap());
        assert_eq!(b.store.tenants_of_rp_id("example.org", 9).await.unwrap().len(), 2);
    }
}

/// A database of the first version, with what that version wrote.
mod from_0001 {
    use passkey_hsm::domain::{AttestationFormat as F, AttestationRecord, AttestationTrust as W, AttestationType as T};
    use sqlx::Connection;

    use super::*;

    #[tokio::test]
    async fn sqlite() {
        let b = Bench::empty_sqlite().await;
        let mut conn = sqlx::SqliteConnection::connect(&b.url).await.unwrap();
        up_to("0001", "sqlite").await.run(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        keeps_what_is_there(b).await;
    }

    #[tokio::test]
    async fn postgres() {
        let b = Bench::empty_postgres().await;
        up_to("0001", "postgres").await.run(&mut crate::postgres::Server::connect(&b.url).await).await.unwrap();
        keeps_what_is_there(b).await;
    }

    async fn keeps_what_is_there(b: Bench) {
        let tenant = tenant();
        let (id, config) = (tenant.id.as_uuid().simple(), serde_json::to_string(&tenant.config).unwrap());
        insert(&b, &format!("INSERT INTO tenants VALUES (u'{id}', 'Ours', 'active', '{config}', '{{}}', 1)")).await;
        insert(&b, &format!("INSERT INTO users VALUES (u'{id}', 'ann', 'a', 'b', NULL, 1, 1)")).await;
        let before = [
            ("none", "none", (F::None, T::None, W::None)),
            ("packed", "self", (F::Packed, T::SelfAttestation, W::SelfAttestation)),
            ("packed", "untrusted", (F::Packed, T::Basic, W::Untrusted)),
            ("fido-u2f", "trusted", (F::FidoU2f, T::Basic, W::Trusted)),
            // No version ever wrote such a one; it must not be in the way.
            (r#""sealed"#, "untrusted", (F::None, T::Basic, W::Untrusted)),
        ];
        for (n, (format, trust, _)) in before.iter().enumerate() {
            insert(&b, &format!(
                "INSERT INTO credentials VALUES (u'{id}', x'0{n}', 'ann', NULL, x'a5', '{format}', '{trust}', u'{aaguid}', 7, '[]', TRUE, FALSE, TRUE, FALSE, 3, 4)",
                aaguid = "fbfc3007154e4ecc8c0b6e020557d7bd"
            ))
            .await;
        }
        assert_eq!(b.store.migrate().await.unwrap(), [2, 3, 4, 5]);
        assert_same(&b.store.tenants_of_rp_id("example.org", 9).await.unwrap()[0].config, &tenant.config);

        let ann = "ann".parse().unwrap();
        let after = b.store.user_credentials(tenant.id, &ann, false).await.unwrap();
        assert_eq!(after.len(), before.len());
        for (stored, (format, _, expected)) in after.iter().zip(before) {
            let (record_format, attestation_type, trust) = expected;
            assert_eq!(stored.data.attestation_type, format);
            let record = AttestationRecord { format: record_format, attestation_type, trust, ..AttestationRecord::none() };
            assert_eq!(stored.data.attestation, record);
            assert_eq!((stored.data.sign_count, stored.last_used_at.unwrap().as_millis()), (7, 4));
        }
        assert_eq!(b.count("credentials WHERE attestation_record = '{}'").await, 0, "each was written");
        let model = after[0].data.aaguid;
        assert_eq!(b.store.credentials_by_aaguid(model, None, 9).await.unwrap().len(), before.len());
        assert_eq!(b.store.u2f_credentials(None, 9).await.unwrap().len(), 1);
        assert!(b.store.registration_evidence(tenant.id, None, 9).await.unwrap().is_empty());
        assert_eq!(b.store.trust_revision().await.unwrap(), 0);
        assert!(b.store.metadata().await.unwrap().is_none());
    }
}

mod refused {
    use super::*;

    on_both_engines! { a_newer_database, a_changed_migration }

    async fn a_newer_database(b: Bench) {
        let insert = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', TRUE,";
        b.sql(&format!(r"{insert} '\x00', 0)"), &format!("{insert} x'00', 0)")).await;
        assert!(matches!(b.store.pending_migrations().await, Err(Error::NewerDatabase(9999))));
        assert!(matches!(b.store.migrate().await, Err(Error::NewerDatabase(9999))));
    }

    async fn a_changed_migration(b: Bench) {
        b.sql(r"UPDATE _sqlx_migrations SET checksum = '\x00'", "UPDATE _sqlx_migrations SET checksum = x'00'").await;
        assert!(matches!(b.store.migrate().await, Err(Error::Database(_))));
    }
}

async fn applied_once(b: Bench) {
    let pending = b.store.pending_migrations().await.unwrap();
    assert!(!pending.is_empty());
    assert_eq!(b.store.pending_migrations().await.unwrap(), pending, "asking changes nothing");
    assert_eq!(b.store.migrate().await.unwrap(), pending);
    assert!(b.store.pending_migrations().await.unwrap().is_empty());
    b.store.append_audit(&event(tenant().id)).await.unwrap();
    assert!(b.store.migrate().await.unwrap().is_empty());
    assert_eq!(b.count("audit_events").await, 1);
}

async fn applied_once_together(b: Bench) {
    let stores = join_all((0..4).map(|_| Store::open(&b.url, 2))).await;
    for migrated in join_all(stores.iter().map(|s| s.as_ref().unwrap().migrate())).await {
        migrated.unwrap();
    }
    assert_eq!(b.count("_sqlx_migrations").await, i64::try_from(migrations_in_the_source()).unwrap());
    assert!(b.store.pending_migrations().await.unwrap().is_empty());
}

fn migrations_in_the_source() -> usize {
    let count = |engine: &str| std::fs::read_dir(format!("{}/migrations/{engine}", env!("CARGO_MANIFEST_DIR"))).unwrap().count();
    assert_eq!(count("sqlite"), count("postgres"));
    count("sqlite")
}

#[tokio::test]
async fn both_engines_have_the_same_columns() {
    use std::collections::BTreeSet;

    use sqlx::Connection;

    type Columns = BTreeSet<(String, String, bool)>;

    let (s, p) = (Bench::sqlite().await, Bench::postgres().await);
    let mut conn = sqlx::SqliteConnection::connect(&s.url).await.unwrap();
    let sqlite: Columns = sqlx::query_as::<_, (String, String, bool)>(
        // A trigger sees to the ids of users: SQLite adds no column that is not null and has no constant for its default.
        r#"SELECT t.name, c.name, c."notnull" OR (t.name = 'users' AND c.name = 'id') FROM sqlite_schema t JOIN pragma_table_info(t.name) c
        WHERE t.type = 'table' AND t.name NOT LIKE '\_sqlx%' ESCAPE '\' AND t.name NOT LIKE 'sqlite%'"#,
    )
    .fetch_all(&mut conn)
    .await
    .unwrap()
    .into_iter()
    .collect();
    let mut conn = crate::postgres::Server::connect(&p.url).await;
    let postgres: Columns = sqlx::query_as::<_, (String, String, bool)>(
        r"SELECT CAST(table_name AS text), CAST(column_name AS text), is_nullable = 'NO' FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT LIKE '\_sqlx%'",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap()
    .into_iter()
    .collect();
    assert!(sqlite.len() > 50, "{sqlite:?}");
    assert_eq!(sqlite, postgres);
}
