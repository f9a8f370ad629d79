-- The life of signing keys under command: when each may do what, who changed it, which servers there are; administrators, approvals, and the
-- end of tenants. The same tables, columns and names as migrations/postgres.

ALTER TABLE signing_keys ADD COLUMN origin TEXT NOT NULL DEFAULT 'generated' CHECK (origin IN ('generated', 'adopted'));
-- What the scheduler does with it by itself: nothing, publish it as the standby, or publish it and have it sign as soon as it may.
ALTER TABLE signing_keys ADD COLUMN plan TEXT NOT NULL DEFAULT 'none' CHECK (plan IN ('none', 'publish', 'activate'));
-- Fixed when it is published: from then on no verifier has a JWKS without it.
ALTER TABLE signing_keys ADD COLUMN usable_from INTEGER;
-- Fixed when it begins to sign: when its successor is due.
ALTER TABLE signing_keys ADD COLUMN rotate_from INTEGER;
-- Fixed when it ceases to sign: until then its last tokens are verified, and its rotation can be undone.
ALTER TABLE signing_keys ADD COLUMN withdraw_from INTEGER;
ALTER TABLE signing_keys ADD COLUMN keep_private_until INTEGER;
-- When it left the JWKS.
ALTER TABLE signing_keys ADD COLUMN withdrawn_at INTEGER;
-- The intent to destroy its private half; private_destroyed_at is the fact.
ALTER TABLE signing_keys ADD COLUMN destroying_at INTEGER;
-- An administrator asked for it: the key is 'destroyed' in the end, not just without its private half.
ALTER TABLE signing_keys ADD COLUMN destroying_by_command INTEGER NOT NULL DEFAULT 0 CHECK (destroying_by_command IN (0, 1));
-- The key that signed before it: the one that a rollback brings back.
ALTER TABLE signing_keys ADD COLUMN predecessor BLOB;
-- Of key_revision when the row last changed: what a server has not seen yet.
ALTER TABLE signing_keys ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
-- Of key_revision when it came into the JWKS: what every server must have seen before it signs.
ALTER TABLE signing_keys ADD COLUMN published_revision INTEGER NOT NULL DEFAULT 0;
-- What the admin API calls it where it was asked for there: one space of names with the tenant's API keys.
ALTER TABLE signing_keys ADD COLUMN name TEXT;

CREATE UNIQUE INDEX signing_keys_by_name ON signing_keys (tenant_id, name) WHERE name IS NOT NULL;

-- One key is in the making for a tenant at a time, however many servers think that it lacks one.
CREATE UNIQUE INDEX signing_keys_one_pending ON signing_keys (tenant_id) WHERE state = 'pending';
CREATE INDEX signing_keys_by_revision ON signing_keys (revision);
CREATE INDEX signing_keys_by_time ON signing_keys (created_at);
CREATE INDEX signing_keys_to_activate ON signing_keys (usable_from) WHERE state = 'published';
CREATE INDEX signing_keys_to_rotate ON signing_keys (rotate_from) WHERE state = 'active';
CREATE INDEX signing_keys_to_withdraw ON signing_keys (withdraw_from) WHERE withdrawn_at IS NULL;
CREATE INDEX signing_keys_to_destroy ON signing_keys (keep_private_until) WHERE private_destroyed_at IS NULL;

-- One row: counts the changes of signing keys.
CREATE TABLE key_revision (
    id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL CHECK (revision >= 0)
) STRICT;

INSERT INTO key_revision (id, revision) VALUES (1, 0);

-- The servers that there are, as long as they say so.
CREATE TABLE replicas (
    id           BLOB   NOT NULL PRIMARY KEY,
    host         TEXT   NOT NULL,
    pid          INTEGER NOT NULL,
    version      TEXT   NOT NULL,
    started_at   INTEGER NOT NULL,
    seen_at      INTEGER NOT NULL,
    -- Its JWKS have every change up to this one.
    key_revision INTEGER NOT NULL
) STRICT;

-- Who does what only one server may do at a time.
CREATE TABLE leases (
    name       TEXT   NOT NULL PRIMARY KEY,
    holder     BLOB   NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- What a vendor's tool says of a key, as it came.
CREATE TABLE key_attachments (
    key_id   BLOB   NOT NULL REFERENCES signing_keys (id),
    name     TEXT   NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    content  BLOB  NOT NULL CHECK (length(content) BETWEEN 1 AND 1048576),
    added_at INTEGER NOT NULL,
    added_by TEXT   NOT NULL,
    PRIMARY KEY (key_id, name)
) STRICT;

-- Whoever may use the admin API, by a bearer token or by a client certificate. Rows are never deleted: the audit log names them.
CREATE TABLE admins (
    id           BLOB   NOT NULL PRIMARY KEY,
    name         TEXT   NOT NULL UNIQUE,
    kind         TEXT   NOT NULL CHECK (kind IN ('token', 'certificate')),
    -- SHA-256 of the token's bytes, or of the certificate's DER.
    hash         BLOB  NOT NULL UNIQUE CHECK (length(hash) = 32),
    role         TEXT   NOT NULL CHECK (role IN ('admin', 'key-custodian', 'tenant-admin', 'auditor')),
    created_at   INTEGER NOT NULL,
    created_by   TEXT   NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER
) STRICT;

-- The tenants that a tenant-admin is bound to.
CREATE TABLE admin_tenants (
    admin_id  BLOB NOT NULL REFERENCES admins (id),
    tenant_id BLOB NOT NULL REFERENCES tenants (id),
    PRIMARY KEY (admin_id, tenant_id)
) STRICT;

-- Acts that need a second administrator.
CREATE TABLE approvals (
    id                BLOB   NOT NULL PRIMARY KEY,
    -- JSON: the whole act, done as it was asked for or not at all.
    act               TEXT   NOT NULL,
    tenant_id         BLOB,
    reason            TEXT   NOT NULL,
    state             TEXT   NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'done', 'failed')),
    requested_by      BLOB   NOT NULL,
    requested_by_name TEXT   NOT NULL,
    requested_at      INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    decided_by        BLOB,
    decided_by_name   TEXT,
    decided_at        INTEGER,
    -- What came of it, once it was done.
    outcome           TEXT,
    CHECK (decided_by IS NULL OR decided_by <> requested_by)
) STRICT;

CREATE INDEX approvals_by_time ON approvals (requested_at);

-- Who did it, where that is no user: an administrator, an operator at the command line, the scheduler. To which key, and why.
ALTER TABLE audit_events ADD COLUMN actor TEXT;
ALTER TABLE audit_events ADD COLUMN key_id BLOB;
ALTER TABLE audit_events ADD COLUMN reason TEXT;
CREATE INDEX audit_events_of_all ON audit_events (created_at);
CREATE INDEX audit_events_by_key ON audit_events (key_id, created_at) WHERE key_id IS NOT NULL;

-- A tenant's end: out of sight at once, its keys and data gone after the grace period, the row and the audit trail kept.
ALTER TABLE tenants ADD COLUMN deleted_at INTEGER;
ALTER TABLE tenants ADD COLUMN purge_from INTEGER;
ALTER TABLE tenants ADD COLUMN purged_at INTEGER;
CREATE INDEX tenants_to_purge ON tenants (purge_from) WHERE purged_at IS NULL;
-- Copies of what the settings say: whether it keeps a standby, and what verifiers may still hold of settings that were changed.
ALTER TABLE tenants ADD COLUMN wants_standby INTEGER NOT NULL DEFAULT 1 CHECK (wants_standby IN (0, 1));
ALTER TABLE tenants ADD COLUMN jwks_cached_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tenants ADD COLUMN tokens_valid_until INTEGER NOT NULL DEFAULT 0;

-- The admin API's name for a user.
ALTER TABLE users ADD COLUMN id BLOB NOT NULL DEFAULT x'';
UPDATE users SET id = randomblob(16);
-- The database makes it, as PostgreSQL's default does: here the default of a column that is added must be a constant.
CREATE TRIGGER users_have_ids AFTER INSERT ON users WHEN NEW.id = x'' BEGIN
    UPDATE users SET id = randomblob(16) WHERE tenant_id = NEW.tenant_id AND user_id = NEW.user_id;
END;
CREATE UNIQUE INDEX users_by_id ON users (id);
CREATE INDEX users_by_time ON users (tenant_id, created_at);
