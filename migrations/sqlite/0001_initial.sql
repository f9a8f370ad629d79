-- The tables of passkey-hsm. The same tables, columns and names as migrations/postgres; here with SQLite's types:
-- UUIDs are BLOBs of 16 bytes, instants INTEGER milliseconds since the Unix epoch, booleans INTEGER 0 or 1.

CREATE TABLE tenants (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    display_name TEXT    NOT NULL,
    -- 'creating' until its first signing key exists on the token; no request sees it before.
    state        TEXT    NOT NULL CHECK (state IN ('creating', 'active')),
    config       TEXT    NOT NULL,
    settings     TEXT    NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    tenant_id  BLOB    NOT NULL REFERENCES tenants (id),
    name       TEXT    NOT NULL,
    -- SHA-256 of the key, which nobody stores.
    hash       BLOB    NOT NULL CHECK (length(hash) = 32),
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    UNIQUE (tenant_id, hash),
    UNIQUE (tenant_id, name)
) STRICT;

-- A row outlives its key: an id (kid) is never used again, so rows are never deleted.
CREATE TABLE signing_keys (
    id                   BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    tenant_id            BLOB    NOT NULL REFERENCES tenants (id),
    algorithm            TEXT    NOT NULL CHECK (algorithm IN ('ES256', 'ES384', 'RS256', 'PS256', 'EdDSA')),
    rsa_bits             INTEGER,
    state                TEXT    NOT NULL
        CHECK (state IN ('pending', 'published', 'active', 'suspended', 'retiring', 'retired', 'compromised', 'destroyed')),
    public_key           BLOB,
    cka_id               BLOB,
    token_serial         TEXT,
    evidence_record      TEXT,
    evidence_signature   BLOB,
    created_at           INTEGER NOT NULL,
    published_at         INTEGER,
    activated_at         INTEGER,
    deactivated_at       INTEGER,
    private_destroyed_at INTEGER,
    CHECK ((rsa_bits IS NOT NULL) = (algorithm IN ('RS256', 'PS256'))),
    CHECK ((evidence_record IS NULL) = (evidence_signature IS NULL)),
    -- An intent that came to nothing goes from pending to destroyed; every other state is that of a key on a token.
    CHECK (state IN ('pending', 'destroyed') OR (public_key IS NOT NULL AND cka_id IS NOT NULL AND token_serial IS NOT NULL)),
    CHECK (state <> 'active' OR activated_at IS NOT NULL)
) STRICT;

CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (tenant_id) WHERE state = 'active';
CREATE INDEX signing_keys_by_tenant ON signing_keys (tenant_id, created_at);

CREATE TABLE users (
    tenant_id    BLOB    NOT NULL REFERENCES tenants (id),
    user_id      TEXT    NOT NULL CHECK (length(CAST(user_id AS BLOB)) BETWEEN 1 AND 64),
    name         TEXT    NOT NULL,
    display_name TEXT    NOT NULL,
    icon         TEXT,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE ceremonies (
    tenant_id         BLOB    NOT NULL,
    operation         TEXT    NOT NULL CHECK (operation IN ('registration', 'mfa_registration', 'login', 'mfa_login', 'transaction')),
    challenge         BLOB    NOT NULL CHECK (length(challenge) BETWEEN 16 AND 64),
    user_id           TEXT    NOT NULL,
    user_verification TEXT    NOT NULL CHECK (user_verification IN ('required', 'preferred', 'discouraged')),
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, operation, challenge),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, user_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX ceremonies_by_expiry ON ceremonies (expires_at);

CREATE TABLE credentials (
    tenant_id         BLOB    NOT NULL,
    -- Chosen by the authenticator, so unique within a tenant at most.
    id                BLOB    NOT NULL CHECK (length(id) BETWEEN 1 AND 1023),
    user_id           TEXT    NOT NULL,
    name              TEXT,
    public_key        BLOB    NOT NULL,
    attestation_type  TEXT    NOT NULL,
    attestation_trust TEXT    NOT NULL CHECK (attestation_trust IN ('none', 'self', 'untrusted', 'trusted')),
    aaguid            BLOB    NOT NULL CHECK (length(aaguid) = 16),
    sign_count        INTEGER NOT NULL CHECK (sign_count BETWEEN 0 AND 4294967295),
    -- A JSON array of strings.
    transports        TEXT    NOT NULL,
    backup_eligible   INTEGER NOT NULL CHECK (backup_eligible IN (0, 1)),
    backup_state      INTEGER NOT NULL CHECK (backup_state IN (0, 1)),
    user_verified     INTEGER NOT NULL CHECK (user_verified IN (0, 1)),
    is_mfa            INTEGER NOT NULL CHECK (is_mfa IN (0, 1)),
    created_at        INTEGER NOT NULL,
    last_used_at      INTEGER,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, user_id),
    CHECK (backup_eligible = 1 OR backup_state = 0)
) STRICT;

CREATE INDEX credentials_by_user ON credentials (tenant_id, user_id, is_mfa, created_at);

-- No foreign key: the trail outlives its tenant, its users and their credentials.
CREATE TABLE audit_events (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    tenant_id      BLOB    NOT NULL CHECK (length(tenant_id) = 16),
    event_type     TEXT    NOT NULL,
    error          TEXT,
    request_id     TEXT    NOT NULL,
    source_ip      TEXT    NOT NULL,
    user_agent     TEXT    NOT NULL,
    actor_user_id  TEXT,
    credential_id  BLOB,
    transaction_id TEXT,
    created_at     INTEGER NOT NULL
) STRICT;

CREATE INDEX audit_events_by_time ON audit_events (tenant_id, created_at);
