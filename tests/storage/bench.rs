//! A store to test, and things to put into it.

use passkey_hsm::{
    domain::{
        Aaguid, ApiKey, ApiKeyHash, ApiKeyId, ApiKeyRecord, AttestationFormat, AttestationRecord, AttestationTrust, AttestationType,
        AuditEvent, AuditEventId, AuditEventType, AuthenticationEvidence, BackupFlags, Ceremony, Challenge, CredentialId, CredentialUse,
        KeyEvidence, KeyId, KeyPlan, KeyState, MetadataBlob, MetadataEntry, MetadataHead, NewCredential, NewTransaction, Operation,
        RegistrationEvidence, RequestMeta, Rng, SigningAlgorithm, SigningKey, StatusReport, SystemRng, Tenant, TenantConfig, TenantId,
        TenantSettings, Timestamp, TransactionData, TransactionRowId, User, UserVerification,
    },
    storage::{Answered, AuthenticationUnit, Engine, RegistrationCommit, Store},
};
use sqlx::{AssertSqlSafe, Connection};

use crate::postgres::Server;

/// When everything happens, in milliseconds, unless a test says otherwise.
pub const NOW: i64 = 1_700_000_000_000;

/// A store in a database of its own.
pub struct Bench {
    pub store: Store,
    pub url: String,
    /// Where an SQLite file is; removed with the bench.
    pub dir: tempfile::TempDir,
}

impl Bench {
    pub async fn sqlite() -> Self {
        let bench = Self::empty_sqlite().await;
        bench.store.migrate().await.unwrap();
        bench
    }

    pub async fn empty_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("test.db").display());
        Self { store: Store::open(&url, 4).await.unwrap(), url, dir }
    }

    pub async fn postgres() -> Self {
        Self::at(Server::shared().database().await).await
    }

    pub async fn empty_postgres() -> Self {
        Self::at(Server::shared().empty_database().await).await
    }

    async fn at(url: String) -> Self {
        Self { store: Store::open(&url, 8).await.unwrap(), url, dir: tempfile::tempdir().unwrap() }
    }

    /// Runs statements behind the store's back, constraints of values not checked.
    pub async fn sql(&self, postgres: &str, sqlite: &str) {
        match self.store.engine() {
            Engine::Sqlite => {
                let mut conn = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
                let sql = format!("PRAGMA busy_timeout = 5000; PRAGMA ignore_check_constraints = ON; {sqlite}");
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
                conn.close().await.unwrap();
            }
            Engine::Postgres => {
                let mut conn = Server::connect(&self.url).await;
                sqlx::raw_sql(AssertSqlSafe(postgres.to_owned())).execute(&mut conn).await.unwrap();
                conn.close().await.unwrap();
            }
        }
    }

    /// The number of rows of a table.
    pub async fn count(&self, table: &str) -> i64 {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        match self.store.engine() {
            Engine::Sqlite => {
                let mut conn = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap()
            }
            Engine::Postgres => sqlx::query_scalar(sql).fetch_one(&mut Server::connect(&self.url).await).await.unwrap(),
        }
    }

    /// How the database would run a query, with its bare tables: PostgreSQL is told to use an index where it can.
    pub async fn plan(&self, sqlite: &str) -> String {
        let lines: Vec<String> = match self.store.engine() {
            Engine::Sqlite => {
                let mut conn = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
                let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sqlite}"));
                sqlx::query_as::<_, (i64, i64, i64, String)>(sql).fetch_all(&mut conn).await.unwrap().into_iter().map(|row| row.3).collect()
            }
            Engine::Postgres => {
                let mut conn = Server::connect(&self.url).await;
                sqlx::raw_sql("SET enable_seqscan = off; SET enable_bitmapscan = off").execute(&mut conn).await.unwrap();
                let sql = AssertSqlSafe(format!("EXPLAIN {}", sqlite.replace("'x'", "'00000000-0000-0000-0000-000000000000'")));
                sqlx::query_scalar(sql).fetch_all(&mut conn).await.unwrap()
            }
        };
        lines.join("\n")
    }

    /// A tenant with an active key.
    pub async fn tenant(&self) -> (Tenant, SigningKey) {
        let (tenant, pending) = (tenant(), KeyId::random(&SystemRng));
        let pending = pending_key(tenant.id, pending);
        self.store.begin_tenant(&tenant, &pending).await.unwrap();
        let key = activated(&pending);
        assert!(self.store.complete_tenant(tenant.id, &key, None, &[]).await.unwrap());
        (tenant, key)
    }

    /// A registration under way.
    pub async fn ceremony(&self, tenant: TenantId) -> Ceremony {
        let ceremony = ceremony(tenant, "ann");
        self.store.begin_registration(&user(tenant, "ann"), &ceremony, &event(tenant)).await.unwrap();
        ceremony
    }

    /// Registers a credential as it is.
    pub async fn register(&self, key: &SigningKey, n: &NewCredential) {
        let c = self.ceremony(n.tenant_id).await;
        let committed = self.store.commit_registration(&c, n, key.id, &event(n.tenant_id)).await.unwrap();
        assert_eq!(committed, RegistrationCommit::Committed);
    }

    /// A tenant with an active key, and a credential whose counter is 7.
    pub async fn in_use(&self) -> (Tenant, SigningKey, NewCredential) {
        let (tenant, key) = self.tenant().await;
        let n = NewCredential { sign_count: 7, ..credential(tenant.id) };
        self.register(&key, &n).await;
        (tenant, key, n)
    }

    /// A transaction under way; its user must be there.
    pub async fn begun(&self, tenant: TenantId) -> NewTransaction {
        let transaction = transaction(tenant, &TransactionRowId::random(&SystemRng).to_string());
        assert!(self.store.begin_transaction(&transaction, &event(tenant)).await.unwrap());
        transaction
    }

    /// Whether a ceremony is still under way.
    pub async fn is_open(&self, c: &Ceremony) -> bool {
        self.store.ceremony(c.tenant_id, c.operation, &c.challenge).await.unwrap().is_some()
    }
}

pub fn at(offset: i64) -> Timestamp {
    Timestamp::from_millis(NOW + offset)
}

pub fn tenant() -> Tenant {
    let config = r#"{"cors": {"allowed_origins": ["https://example.org"], "allow_unsafe_wildcard": false},
        "webauthn": {"timeout": 60000, "relying_party": {"id": "example.org", "display_name": "Example", "origins": ["https://example.org"]}}}"#;
    Tenant {
        id: TenantId::random(&SystemRng),
        display_name: "Bücher & Söhne".to_owned(),
        config: serde_json::from_str::<TenantConfig>(config).unwrap(),
        settings: TenantSettings { issuer: Some("https://issuer.example".to_owned()), ..TenantSettings::default() },
        created_at: at(0),
    }
}

pub fn pending_key(tenant_id: TenantId, id: KeyId) -> SigningKey {
    SigningKey::intent(id, tenant_id, SigningAlgorithm::Rs256, Some(3072), KeyPlan::None, at(1))
}

/// The key as it is when its tenant is complete.
pub fn activated(pending: &SigningKey) -> SigningKey {
    SigningKey {
        state: KeyState::Active,
        public_key: Some(vec![0x30, 0x59]),
        cka_id: Some(pending.id.as_bytes().to_vec()),
        token_serial: Some("5f1e0a7700c4b2a1".to_owned()),
        evidence: Some(KeyEvidence { record: r#"{"local": true}"#.to_owned(), signature: vec![7; 64] }),
        published_at: Some(at(2)),
        activated_at: Some(at(2)),
        ..pending.clone()
    }
}

pub fn user(tenant_id: TenantId, id: &str) -> User {
    User {
        tenant_id,
        user_id: id.parse().unwrap(),
        name: format!("{id}@example.org"),
        display_name: "Ann Example".to_owned(),
        icon: None,
        created_at: at(0),
        updated_at: at(0),
    }
}

pub fn ceremony(tenant_id: TenantId, user: &str) -> Ceremony {
    Ceremony {
        tenant_id,
        operation: Operation::Registration,
        challenge: Challenge::random(&SystemRng),
        user_id: user.parse().unwrap(),
        user_verification: UserVerification::Preferred,
        created_at: at(0),
        expires_at: at(60_000),
    }
}

pub fn credential_id() -> CredentialId {
    let rng: &dyn Rng = &SystemRng;
    CredentialId::try_from(rng.bytes::<32>().as_slice()).unwrap()
}

pub fn credential(tenant_id: TenantId) -> NewCredential {
    NewCredential {
        tenant_id,
        id: credential_id(),
        user_id: "ann".parse().unwrap(),
        name: None,
        public_key: vec![0xa5, 0x01, 0x02],
        attestation_type: "packed".to_owned(),
        attestation: AttestationRecord {
            format: AttestationFormat::Packed,
            attestation_type: AttestationType::SelfAttestation,
            trust: AttestationTrust::SelfAttestation,
            ..AttestationRecord::none()
        },
        aaguid: "fbfc3007-154e-4ecc-8c0b-6e020557d7bd".parse::<Aaguid>().unwrap(),
        sign_count: u32::MAX,
        transports: vec!["usb".to_owned(), "nfc".to_owned()],
        backup: BackupFlags { eligible: true, state: false },
        user_verified: true,
        is_mfa: false,
        created_at: at(5),
        evidence: None,
    }
}

/// A use of the credential, with a challenge of its own and this counter.
pub fn login(key: &SigningKey, n: &NewCredential, sign_count: u32) -> AuthenticationUnit {
    let tenant_id = key.tenant_id;
    AuthenticationUnit {
        tenant_id,
        answered: Answered::Challenge { challenge: Challenge::random(&SystemRng), expires_at: at(60_000) },
        used: CredentialUse { credential: n.id.clone(), sign_count, backup_state: true, at: at(100), refuse_clone: false },
        key: key.id,
        event: AuditEvent { event_type: AuditEventType::AuthenticationFinalSucceeded, ..event(tenant_id) },
        clone_event: AuditEvent { event_type: AuditEventType::CloneSuspected, ..event(tenant_id) },
    }
}

/// A use of the credential that confirms this transaction.
pub fn confirmation(key: &SigningKey, n: &NewCredential, sign_count: u32, transaction: &NewTransaction) -> AuthenticationUnit {
    let answered = Answered::Transaction {
        row: transaction.row,
        challenge: transaction.challenge.clone(),
        evidence: authentication_evidence(n.id.clone()),
    };
    AuthenticationUnit { answered, ..login(key, n, sign_count) }
}

pub fn authentication_evidence(credential_id: CredentialId) -> AuthenticationEvidence {
    AuthenticationEvidence {
        credential_id,
        public_key: vec![0xa5, 0x01, 0x02],
        sign_count: u32::MAX,
        backup_eligible: true,
        rp_id: "example.org".to_owned(),
        client_data_json: b"{\"type\":\"webauthn.get\"}".to_vec(),
        authenticator_data: vec![0x5e; 37],
        signature: vec![0x30, 0x00, 0xff],
    }
}

/// What ann is asked to confirm until `at(60_000)`.
pub fn transaction(tenant_id: TenantId, id: &str) -> NewTransaction {
    let (id, data) = (id.parse().unwrap(), TransactionData::from_json("{\"to\": \"<B\u{fc}cher>\", \"amount\": 50.0}".as_bytes()).unwrap());
    NewTransaction {
        row: TransactionRowId::random(&SystemRng),
        tenant_id,
        challenge: Challenge::for_transaction(&SystemRng, &id, &data),
        id,
        user_id: "ann".parse().unwrap(),
        data,
        user_verification: UserVerification::Required,
        created_at: at(0),
        expires_at: at(60_000),
    }
}

pub fn evidence() -> RegistrationEvidence {
    RegistrationEvidence {
        rp_id: "example.org".to_owned(),
        client_data_json: b"{\"type\":\"webauthn.create\"}".to_vec(),
        attestation_object: vec![0xa3, 0x00, 0xff],
    }
}

/// A BLOB of this number with so many entries, each of which says in which BLOB it came.
pub fn blob(no: u64, entries: u32) -> MetadataBlob {
    let head = MetadataHead { no, next_update: at(86_400_000), imported_at: at(i64::try_from(no).unwrap()) };
    MetadataBlob { head, entries: (0..entries).map(|position| metadata_entry(no, position)).collect() }
}

/// Each third one is of a U2F model.
fn metadata_entry(no: u64, position: u32) -> MetadataEntry {
    let u2f = position % 3 == 2;
    MetadataEntry {
        aaguid: (!u2f).then(|| Aaguid::from_uuid(uuid::Uuid::from_u128(u128::from(position)))),
        key_identifiers: if u2f { vec![format!("{position:040x}")] } else { Vec::new() },
        description: format!("Schlüssel {position} of {no}"),
        attestation_types: vec![AttestationType::Basic],
        algorithms: vec![-7, -257],
        anchors: vec!["MAA=".to_owned()],
        status_reports: vec![StatusReport {
            status: "REVOKED".to_owned(),
            effective_date: Some("2026-01-02".to_owned()),
            sunset_date: Some("2027-01-02".to_owned()),
            authenticator_version: Some(u64::MAX),
            certificate: None,
            url: Some("https://example.org/\0".to_owned()),
        }],
    }
}

pub fn event(tenant_id: TenantId) -> AuditEvent {
    AuditEvent {
        id: AuditEventId::random(&SystemRng),
        tenant_id,
        event_type: AuditEventType::RegistrationFinalSucceeded,
        error: None,
        meta: RequestMeta::new("req-1", "192.0.2.1", "test"),
        actor_user_id: Some("ann".parse().unwrap()),
        credential_id: Some(credential_id()),
        transaction_id: None,
        actor: None,
        key_id: None,
        reason: None,
        created_at: at(9),
    }
}

pub fn api_key(tenant_id: TenantId, name: &str) -> (ApiKeyRecord, ApiKeyHash) {
    let record = ApiKeyRecord { id: ApiKeyId::random(&SystemRng), tenant_id, name: name.to_owned(), created_at: at(0), revoked_at: None };
    (record, ApiKey::random(&SystemRng).hash())
}

/// That two values are the same in everything they print.
#[track_caller]
pub fn assert_same(left: &impl std::fmt::Debug, right: &impl std::fmt::Debug) {
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}
