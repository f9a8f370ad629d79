-- What is kept of attestation: the finding with each credential, what the client sent, and what statements may lead to.
-- The same tables, columns and names as migrations/postgres.

-- JSON: what the statement was found to be, and the path that it led along. attestation_trust is its `trust`, for people's queries.
-- {} is what a server of the version before leaves here while this version is already in use: the two older columns say what it knew.
ALTER TABLE credentials ADD COLUMN attestation_record TEXT NOT NULL DEFAULT '{}';

UPDATE credentials SET attestation_record =
    '{"format":"'
    || CASE WHEN attestation_type IN ('packed', 'tpm', 'android-key', 'android-safetynet', 'fido-u2f', 'apple', 'compound')
        THEN attestation_type ELSE 'none' END
    || '","type":"' || CASE attestation_trust WHEN 'none' THEN 'none' WHEN 'self' THEN 'self' ELSE 'basic' END
    || '","trust":"' || attestation_trust || '"}';

-- For what metadata says of a model. U2F authenticators have no AAGUID: their certificates have to be looked at.
CREATE INDEX credentials_by_aaguid ON credentials (aaguid, tenant_id, id);
CREATE INDEX credentials_of_u2f ON credentials (tenant_id, id) WHERE attestation_type = 'fido-u2f';

-- What the client sent when a credential was made, byte by byte: who doubts a finding verifies it again.
CREATE TABLE credential_evidence (
    tenant_id          BLOB    NOT NULL,
    credential_id      BLOB    NOT NULL,
    -- The relying party's id at that time.
    rp_id              TEXT    NOT NULL CHECK (rp_id <> ''),
    client_data_json   BLOB    NOT NULL CHECK (length(client_data_json) > 0),
    attestation_object BLOB    NOT NULL CHECK (length(attestation_object) > 0),
    PRIMARY KEY (tenant_id, credential_id),
    FOREIGN KEY (tenant_id, credential_id) REFERENCES credentials (tenant_id, id) ON DELETE CASCADE
) STRICT;

-- The FIDO metadata BLOB in use. One row at most; its number only grows.
CREATE TABLE metadata_blob (
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    no          INTEGER NOT NULL CHECK (no >= 0),
    next_update INTEGER NOT NULL,
    imported_at INTEGER NOT NULL
) STRICT;

-- Its entries, in its order.
CREATE TABLE metadata_entries (
    position INTEGER NOT NULL PRIMARY KEY CHECK (position >= 0),
    -- That of the entry, for people's queries; U2F models have none.
    aaguid   BLOB    CHECK (length(aaguid) = 16),
    -- JSON.
    entry    TEXT    NOT NULL
) STRICT;

-- Imported certificates that attestation chains may lead to, by the name of their set.
CREATE TABLE trust_anchors (
    set_name TEXT    NOT NULL CHECK (length(set_name) BETWEEN 1 AND 64 AND set_name <> 'mds'),
    -- SHA-256 of der.
    sha256   BLOB    NOT NULL CHECK (length(sha256) = 32),
    der      BLOB    NOT NULL CHECK (length(der) > 0),
    added_at INTEGER NOT NULL,
    PRIMARY KEY (set_name, sha256)
) STRICT;

-- One row: counts the changes of the metadata and of the anchors, so that every replica notices them.
CREATE TABLE trust_revision (
    id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL CHECK (revision >= 0)
) STRICT;

INSERT INTO trust_revision (id, revision) VALUES (1, 0);
