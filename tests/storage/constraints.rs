//! What the databases themselves refuse, whoever asks: the constraints on attestation's tables.

use passkey_hsm::{domain::NewCredential, storage::Engine};
use sqlx::{AssertSqlSafe, Connection};

use crate::{
    bench::{Bench, blob, credential, evidence},
    postgres::Server,
};

on_both_engines! {
    there_is_one_blob_and_its_number_is_one,
    an_entry_has_its_place,
    an_anchor_is_named_and_there,
    there_is_one_revision,
    evidence_is_whole_and_of_a_credential,
    a_credential_has_a_record,
    a_used_challenge_has_32_bytes_and_is_there_once,
    a_transaction_is_whole_and_of_a_user,
    a_confirmation_is_whole_and_of_a_transaction,
}

/// Runs a statement in the words of SQLite, where bytes are `x'..'`.
async fn run(b: &Bench, sql: &str) -> Result<(), String> {
    match b.store.engine() {
        Engine::Sqlite => {
            let mut conn = sqlx::SqliteConnection::connect(&b.url).await.unwrap();
            let sql = AssertSqlSafe(format!("PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000; {sql}"));
            sqlx::raw_sql(sql).execute(&mut conn).await.map_err(|error| error.to_string())?;
        }
        Engine::Postgres => {
            let mut conn = Server::connect(&b.url).await;
            let sql = AssertSqlSafe(sql.replace("x'", r"'\x"));
            sqlx::raw_sql(sql).execute(&mut conn).await.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// That the good statement passes, and each that a replacement of words makes of it is refused, for the reason given.
async fn refuses(b: &Bench, good: &str, undo: &str, bad: &[(&str, &str, &str)]) {
    for (word, other, why) in bad {
        assert!(good.contains(word), "{word}");
        let Err(error) = run(b, &good.replacen(word, other, 1)).await else { panic!("{word} {other} passed") };
        let error = error.to_lowercase();
        assert!(why.split('|').any(|why| error.contains(why)), "{word} {other}: {error}");
    }
    run(b, good).await.unwrap();
    run(b, undo).await.unwrap();
}

const CHECK: &str = "check";
const NULL: &str = "null";
const UNIQUE: &str = "unique";

async fn there_is_one_blob_and_its_number_is_one(b: Bench) {
    let good = "INSERT INTO metadata_blob (id, no, next_update, imported_at) VALUES (1, 20, 30, 40)";
    let bad = [("(1,", "(2,", CHECK), ("(1,", "(0,", CHECK), ("20", "-1", CHECK), ("20", "NULL", NULL), ("30", "NULL", NULL)];
    refuses(&b, good, "DELETE FROM metadata_blob", &bad).await;
    b.store.replace_metadata(&blob(1, 1)).await.unwrap();
    assert!(run(&b, good).await.unwrap_err().to_lowercase().contains(UNIQUE));
}

async fn an_entry_has_its_place(b: Bench) {
    let good = "INSERT INTO metadata_entries (position, aaguid, entry) VALUES (1, NULL, 'e')";
    let bad = [("1", "-1", CHECK), ("'e'", "NULL", NULL), ("NULL", "x'00'", "check|invalid input syntax for type uuid|type uuid")];
    refuses(&b, good, "DELETE FROM metadata_entries", &bad).await;
}

async fn an_anchor_is_named_and_there(b: Bench) {
    let good = format!("INSERT INTO trust_anchors (set_name, sha256, der, added_at) VALUES ('a', x'{}', x'30', 7)", "5e".repeat(32));
    let long = format!("'{}'", "a".repeat(65));
    let bad = [
        ("'a'", "''", CHECK),
        ("'a'", "'mds'", CHECK),
        ("'a'", &long, CHECK),
        ("x'5e", "x'", CHECK),
        ("x'5e", "x'5e5e", CHECK),
        ("x'30'", "x''", CHECK),
        ("7", "NULL", NULL),
    ];
    refuses(&b, &good, "DELETE FROM trust_anchors", &bad).await;
}

async fn there_is_one_revision(b: Bench) {
    run(&b, "DELETE FROM trust_revision").await.unwrap();
    let good = "INSERT INTO trust_revision (id, revision) VALUES (1, 0)";
    let bad = [("(1,", "(2,", CHECK), (" 0)", " -1)", CHECK), (" 0)", " NULL)", NULL)];
    refuses(&b, good, "UPDATE trust_revision SET revision = 5", &bad).await;
    assert!(run(&b, good).await.unwrap_err().to_lowercase().contains(UNIQUE));
}

async fn evidence_is_whole_and_of_a_credential(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let n = credential(tenant.id);
    b.register(&key, &n).await;
    b.register(&key, &NewCredential { evidence: Some(evidence()), ..credential(tenant.id) }).await;
    let good = "INSERT INTO credential_evidence (tenant_id, credential_id, rp_id, client_data_json, attestation_object)
        SELECT c.tenant_id, c.id, 'rp', x'01', x'02' FROM credentials c WHERE NOT EXISTS (
            SELECT 1 FROM credential_evidence e WHERE e.credential_id = c.id)";
    let bad = [
        ("'rp'", "''", CHECK),
        ("'rp'", "NULL", NULL),
        ("x'01'", "x''", CHECK),
        ("x'02'", "x''", CHECK),
        (" c.id,", " x'ff',", "foreign key"),
    ];
    refuses(&b, good, "DELETE FROM credential_evidence", &bad).await;
}

async fn a_credential_has_a_record(b: Bench) {
    let (tenant, key) = b.tenant().await;
    b.register(&key, &credential(tenant.id)).await;
    let good = "UPDATE credentials SET attestation_record = '{}'";
    refuses(&b, good, "SELECT 1", &[("'{}'", "NULL", NULL), ("attestation_record = '{}'", "attestation_trust = 'some'", CHECK)]).await;
}

async fn a_used_challenge_has_32_bytes_and_is_there_once(b: Bench) {
    let (tenant, challenge) = ("5e".repeat(16), "5e".repeat(32));
    let good = format!("INSERT INTO used_challenges (expires_at, tenant_id, challenge) VALUES (7, x'{tenant}', x'{challenge}')");
    let long = format!("x'{challenge}5e'");
    let bad = [("7", "NULL", NULL), (&format!("x'{challenge}'"), &*long, CHECK), (&format!("x'{challenge}'"), "x''", CHECK)];
    let good = good.replace(&format!("x'{tenant}'"), &uuid(&b, &tenant));
    refuses(&b, &good, "SELECT 1", &bad).await;
    assert!(run(&b, &good).await.unwrap_err().to_lowercase().contains(UNIQUE));
}

/// A UUID as the engine writes one, out of the words of SQLite.
fn uuid(b: &Bench, hex: &str) -> String {
    match b.store.engine() {
        Engine::Sqlite => format!("x'{hex}'"),
        Engine::Postgres => format!("'{hex}'"),
    }
}

async fn a_transaction_is_whole_and_of_a_user(b: Bench) {
    let (tenant, _) = b.tenant().await;
    b.ceremony(tenant.id).await;
    let row = uuid(&b, &"5e".repeat(16));
    let good = format!(
        "INSERT INTO transactions (id, tenant_id, identifier, user_id, data, state, challenge, user_verification, expires_at, created_at,
            updated_at)
        SELECT {row}, tenant_id, 'name', 'ann', 'data', 'pending', x'{}', 'required', 60, 70, 80 FROM users",
        "5e".repeat(64)
    );
    let long = format!("'{}'", "n".repeat(129));
    let bad = [
        ("'name'", "''", CHECK),
        ("'name'", &*long, CHECK),
        ("'ann'", "'bob'", "foreign key"),
        ("'data'", "NULL", NULL),
        ("'pending'", "'lost'", CHECK),
        ("x'5e5e", "x'5e", CHECK),
        ("'required'", "'maybe'", CHECK),
        ("60", "NULL", NULL),
        ("70", "NULL", NULL),
        ("80", "NULL", NULL),
    ];
    refuses(&b, &good, "SELECT 1", &bad).await;
    for (word, other) in [(&*row, uuid(&b, &"5f".repeat(16))), ("'name'", "'other'".to_owned()), ("x'5e5e", "x'5f5e".to_owned())] {
        assert!(run(&b, &good.replacen(word, &other, 1)).await.unwrap_err().to_lowercase().contains(UNIQUE));
    }
}

async fn a_confirmation_is_whole_and_of_a_transaction(b: Bench) {
    let (tenant, ..) = b.in_use().await;
    b.begun(tenant.id).await;
    let token = uuid(&b, &"5e".repeat(16));
    let good = format!(
        "INSERT INTO transaction_evidence (transaction_id, credential_id, public_key, sign_count, backup_eligible, rp_id, client_data_json,
            authenticator_data, signature, token_id, confirmed_at)
        SELECT t.id, x'01', x'02', 30, e.eligible, 'rp', x'03', x'04', x'05', {token}, 60
        FROM transactions t JOIN (SELECT backup_eligible AS eligible FROM credentials) e ON TRUE"
    );
    let bad = [
        ("t.id", &*token, "foreign key"),
        ("x'01'", "x''", CHECK),
        ("x'02'", "x''", CHECK),
        ("x'03'", "x''", CHECK),
        ("x'04'", "x''", CHECK),
        ("x'05'", "x''", CHECK),
        ("30", "-1", CHECK),
        ("30", "4294967296", CHECK),
        ("e.eligible", "NULL", NULL),
        ("'rp'", "''", CHECK),
        ("60", "NULL", NULL),
    ];
    refuses(&b, &good, "DELETE FROM transaction_evidence", &bad).await;
    run(&b, &good).await.unwrap();
    assert!(run(&b, &good).await.unwrap_err().to_lowercase().contains(UNIQUE));
    run(&b, "DELETE FROM transactions").await.unwrap();
    assert_eq!(b.count("transaction_evidence").await, 0);
}
