-- The tables of passkey-hsm. The same tables, columns and names as migrations/sqlite; here with PostgreSQL's types:
-- instants are bigint milliseconds since the Unix epoch. Keys that are texts compare byte by byte (COLLATE "C"), as they do in SQLite.

CREATE TABLE tenants (
    id           uuid   NOT NULL PRIMARY KEY,
    display_name text   NOT NULL,
    -- 'creating' until its first signing key exists on the token; no request sees it before.
    state        text   NOT NULL CHECK (state IN ('creating', 'active')),
    config       text   NOT NULL,
    settings     text   NOT NULL,
    created_at   bigint NOT NULL
);

CREATE TABLE api_keys (
    id         uuid   NOT NULL PRIMARY KEY,
    tenant_id  uuid   NOT NULL REFERENCES tenants (id),
    name       text   COLLATE "C" NOT NULL,
    -- SHA-256 of the key, which nobody stores.
    hash       bytea  NOT NULL CHECK (length(hash) = 32),
    created_at bigint NOT NULL,
    revoked_at bigint,
    UNIQUE (tenant_id, hash),
    UNIQUE (tenant_id, name)
);

-- A row outlives its key: an id (kid) is never used again, so rows are never deleted.
CREATE TABLE signing_keys (
    id                   uuid   NOT NULL PRIMARY KEY,
    tenant_id            uuid   NOT NULL REFERENCES tenants (id),
    algorithm            text   NOT NULL CHECK (algorithm IN ('ES256', 'ES384', 'RS256', 'PS256', 'EdDSA')),
    rsa_bits             bigint,
    state                text   NOT NULL
        CHECK (state IN ('pending', 'published', 'active', 'suspended', 'retiring', 'retired', 'compromised', 'destroyed')),
    public_key           bytea,
    cka_id               bytea,
    token_serial         text,
    evidence_record      text,
    evidence_signature   bytea,
    created_at           bigint NOT NULL,
    published_at         bigint,
    activated_at         bigint,
    deactivated_at       bigint,
    private_destroyed_at bigint,
    CHECK ((rsa_bits IS NOT NULL) = (algorithm IN ('RS256', 'PS256'))),
    CHECK ((evidence_record IS NULL) = (evidence_signature IS NULL)),
    -- An intent that came to nothing goes from pending to destroyed; every other state is that of a key on a token.
    CHECK (state IN ('pending', 'destroyed') OR (public_key IS NOT NULL AND cka_id IS NOT NULL AND token_serial IS NOT NULL)),
    CHECK (state <> 'active' OR activated_at IS NOT NULL)
);

CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (tenant_id) WHERE state = 'active';
CREATE INDEX signing_keys_by_tenant ON signing_keys (tenant_id, created_at);

CREATE TABLE users (
    tenant_id    uuid   NOT NULL REFERENCES tenants (id),
    user_id      text   COLLATE "C" NOT NULL CHECK (octet_length(user_id) BETWEEN 1 AND 64),
    name         text   NOT NULL,
    display_name text   NOT NULL,
    icon         text,
    created_at   bigint NOT NULL,
    updated_at   bigint NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
);

CREATE TABLE ceremonies (
    tenant_id         uuid   NOT NULL,
    operation         text   NOT NULL CHECK (operation IN ('registration', 'mfa_registration', 'login', 'mfa_login', 'transaction')),
    challenge         bytea  NOT NULL CHECK (length(challenge) BETWEEN 16 AND 64),
    user_id           text   COLLATE "C" NOT NULL,
    user_verification text   NOT NULL CHECK (user_verification IN ('required', 'preferred', 'discouraged')),
    created_at        bigint NOT NULL,
    expires_at        bigint NOT NULL,
    PRIMARY KEY (tenant_id, operation, challenge),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, user_id) ON DELETE CASCADE
);

CREATE INDEX ceremonies_by_expiry ON ceremonies (expires_at);

CREATE TABLE credentials (
    tenant_id         uuid    NOT NULL,
    -- Chosen by the authenticator, so unique within a tenant at most.
    id                bytea   NOT NULL CHECK (length(id) BETWEEN 1 AND 1023),
    user_id           text    COLLATE "C" NOT NULL,
    name              text,
    public_key        bytea   NOT NULL,
    attestation_type  text    NOT NULL,
    attestation_trust text    NOT NULL CHECK (attestation_trust IN ('none', 'self', 'untrusted', 'trusted')),
    aaguid            uuid    NOT NULL,
    sign_count        bigint  NOT NULL CHECK (sign_count BETWEEN 0 AND 4294967295),
    -- A JSON array of strings.
    transports        text    NOT NULL,
    backup_eligible   boolean NOT NULL,
    backup_state      boolean NOT NULL,
    user_verified     boolean NOT NULL,
    is_mfa            boolean NOT NULL,
    created_at        bigint  NOT NULL,
    last_used_at      bigint,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, user_id),
    CHECK (backup_eligible OR NOT backup_state)
);

CREATE INDEX credentials_by_user ON credentials (tenant_id, user_id, is_mfa, created_at);

-- No foreign key: the trail outlives its tenant, its users and their credentials.
CREATE TABLE audit_events (
    id             uuid   NOT NULL PRIMARY KEY,
    tenant_id      uuid   NOT NULL,
    event_type     text   NOT NULL,
    error          text,
    request_id     text   NOT NULL,
    source_ip      text   NOT NULL,
    user_agent     text   NOT NULL,
    actor_user_id  text   COLLATE "C",
    credential_id  bytea,
    transaction_id text,
    created_at     bigint NOT NULL
);

CREATE INDEX audit_events_by_time ON audit_events (tenant_id, created_at);
