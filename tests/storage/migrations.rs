//! Making the tables, and what the two engines' tables have in common.

use futures::future::join_all;
use passkey_hsm::storage::{Error, Store};

use crate::bench::{Bench, event, tenant};

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
        r#"SELECT t.name, c.name, c."notnull" FROM sqlite_schema t JOIN pragma_table_info(t.name) c
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
