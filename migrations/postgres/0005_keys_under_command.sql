-- The life of signing keys under command: when each may do what, who changed it, which servers there are; administrators, approvals, and the
-- end of tenants. The same tables, columns and names as migrations/sqlite.

ALTER TABLE signing_keys ADD COLUMN origin text NOT NULL DEFAULT 'generated' CHECK (origin IN ('generated', 'adopted'));
-- What the scheduler does with it by itself: nothing, publish it as the standby, or publish it and have it sign as soon as it may.
ALTER TABLE signing_keys ADD COLUMN plan text NOT NULL DEFAULT 'none' CHECK (plan IN ('none', 'publish', 'activate'));
-- Fixed when it is published: from then on no verifier has a JWKS without it.
ALTER TABLE signing_keys ADD COLUMN usable_from bigint;
-- Fixed when it begins to sign: when its successor is due.
ALTER TABLE signing_keys ADD COLUMN rotate_from bigint;
-- Fixed when it ceases to sign: until then its last tokens are verified, and its rotation can be undone.
ALTER TABLE signing_keys ADD COLUMN withdraw_from bigint;
ALTER TABLE signing_keys ADD COLUMN keep_private_until bigint;
-- When it left the JWKS.
ALTER TABLE signing_keys ADD COLUMN withdrawn_at bigint;
-- The intent to destroy its private half; private_destroyed_at is the fact.
ALTER TABLE signing_keys ADD COLUMN destroying_at bigint;
-- An administrator asked for it: the key is 'destroyed' in the end, not just without its private half.
ALTER TABLE signing_keys ADD COLUMN destroying_by_command boolean NOT NULL DEFAULT false;
-- The key that signed before it: the one that a rollback brings back.
ALTER TABLE signing_keys ADD COLUMN predecessor uuid;
-- Of key_revision when the row last changed: what a server has not seen yet.
ALTER TABLE signing_keys ADD COLUMN revision bigint NOT NULL DEFAULT 0;
-- Of key_revision when it came into the JWKS: what every server must have seen before it signs.
ALTER TABLE signing_keys ADD COLUMN published_revision bigint NOT NULL DEFAULT 0;
-- What the admin API calls it where it was asked for there: one space of names with the tenant's API keys.
ALTER TABLE signing_keys ADD COLUMN name text;

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
    id       bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    revision bigint NOT NULL CHECK (revision >= 0)
);

INSERT INTO key_revision (id, revision) VALUES (1, 0);

-- The servers that there are, as long as they say so.
CREATE TABLE replicas (
    id           uuid   NOT NULL PRIMARY KEY,
    host         text   NOT NULL,
    pid          bigint NOT NULL,
    version      text   NOT NULL,
    started_at   bigint NOT NULL,
    seen_at      bigint NOT NULL,
    -- Its JWKS have every change up to this one.
    key_revision bigint NOT NULL
);

-- Who does what only one server may do at a time.
CREATE TABLE leases (
    name       text   COLLATE "C" NOT NULL PRIMARY KEY,
    holder     uuid   NOT NULL,
    expires_at bigint NOT NULL
);

-- What a vendor's tool says of a key, as it came.
CREATE TABLE key_attachments (
    key_id   uuid   NOT NULL REFERENCES signing_keys (id),
    name     text   COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    content  bytea  NOT NULL CHECK (length(content) BETWEEN 1 AND 1048576),
    added_at bigint NOT NULL,
    added_by text   NOT NULL,
    PRIMARY KEY (key_id, name)
);

-- Whoever may use the admin API, by a bearer token or by a client certificate. Rows are never deleted: the audit log names them.
CREATE TABLE admins (
    id           uuid   NOT NULL PRIMARY KEY,
    name         text   COLLATE "C" NOT NULL UNIQUE,
    kind         text   NOT NULL CHECK (kind IN ('token', 'certificate')),
    -- SHA-256 of the token's bytes, or of the certificate's DER.
    hash         bytea  NOT NULL UNIQUE CHECK (length(hash) = 32),
    role         text   NOT NULL CHECK (role IN ('admin', 'key-custodian', 'tenant-admin', 'auditor')),
    created_at   bigint NOT NULL,
    created_by   text   NOT NULL,
    expires_at   bigint,
    last_used_at bigint,
    revoked_at   bigint
);

-- The tenants that a tenant-admin is bound to.
CREATE TABLE admin_tenants (
    admin_id  uuid NOT NULL REFERENCES admins (id),
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    PRIMARY KEY (admin_id, tenant_id)
);

-- Acts that need a second administrator.
CREATE TABLE approvals (
    id                uuid   NOT NULL PRIMARY KEY,
    -- JSON: the whole act, done as it was asked for or not at all.
    act               text   NOT NULL,
    tenant_id         uuid,
    reason            text   NOT NULL,
    state             text   NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'done', 'failed')),
    requested_by      uuid   NOT NULL,
    requested_by_name text   NOT NULL,
    requested_at      bigint NOT NULL,
    expires_at        bigint NOT NULL,
    decided_by        uuid,
    decided_by_name   text,
    decided_at        bigint,
    -- What came of it, once it was done.
    outcome           text,
    CHECK (decided_by IS NULL OR decided_by <> requested_by)
);

CREATE INDEX approvals_by_time ON approvals (requested_at);

-- Who did it, where that is no user: an administrator, an operator at the command line, the scheduler. To which key, and why.
ALTER TABLE audit_events ADD COLUMN actor text;
ALTER TABLE audit_events ADD COLUMN key_id uuid;
ALTER TABLE audit_events ADD COLUMN reason text;
CREATE INDEX audit_events_of_all ON audit_events (created_at);
CREATE INDEX audit_events_by_key ON audit_events (key_id, created_at) WHERE key_id IS NOT NULL;

-- A tenant's end: out of sight at once, its keys and data gone after the grace period, the row and the audit trail kept.
ALTER TABLE tenants ADD COLUMN deleted_at bigint;
ALTER TABLE tenants ADD COLUMN purge_from bigint;
ALTER TABLE tenants ADD COLUMN purged_at bigint;
CREATE INDEX tenants_to_purge ON tenants (purge_from) WHERE purged_at IS NULL;
-- Copies of what the settings say: whether it keeps a standby, and what verifiers may still hold of settings that were changed.
ALTER TABLE tenants ADD COLUMN wants_standby boolean NOT NULL DEFAULT true;
ALTER TABLE tenants ADD COLUMN jwks_cached_until bigint NOT NULL DEFAULT 0;
ALTER TABLE tenants ADD COLUMN tokens_valid_until bigint NOT NULL DEFAULT 0;

-- The admin API's name for a user.
ALTER TABLE users ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid();
CREATE UNIQUE INDEX users_by_id ON users (id);
CREATE INDEX users_by_time ON users (tenant_id, created_at);
