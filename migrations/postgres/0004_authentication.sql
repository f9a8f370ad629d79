-- What authentications leave behind, transactions, and the wrapped root secret. The same tables, columns and names as migrations/sqlite.

-- Challenges that no row was kept for, once they are used: each is good once. Kept until it has expired.
CREATE TABLE used_challenges (
    tenant_id  uuid   NOT NULL,
    challenge  bytea  NOT NULL CHECK (length(challenge) = 32),
    expires_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, challenge)
);

CREATE INDEX used_challenges_by_expiry ON used_challenges (expires_at);

-- What people are asked to confirm. A row is its own ceremony: it is confirmed, or refused, by whoever brings its challenge first.
CREATE TABLE transactions (
    id                uuid   NOT NULL PRIMARY KEY,
    tenant_id         uuid   NOT NULL,
    -- The application's name for it.
    identifier        text   COLLATE "C" NOT NULL CHECK (length(identifier) BETWEEN 1 AND 128),
    user_id           text   COLLATE "C" NOT NULL,
    -- JSON, in the form that the challenge has the hash of.
    data              text   NOT NULL,
    state             text   NOT NULL CHECK (state IN ('pending', 'confirmed', 'refused')),
    challenge         bytea  NOT NULL CHECK (length(challenge) = 64),
    user_verification text   NOT NULL CHECK (user_verification IN ('required', 'preferred', 'discouraged')),
    expires_at        bigint NOT NULL,
    created_at        bigint NOT NULL,
    updated_at        bigint NOT NULL,
    UNIQUE (tenant_id, identifier),
    UNIQUE (tenant_id, challenge),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, user_id)
);

CREATE INDEX transactions_by_user ON transactions (tenant_id, user_id, created_at, id);

-- What a transaction was confirmed with, byte by byte, with the key that verifies it: it outlives the credential.
CREATE TABLE transaction_evidence (
    transaction_id     uuid    NOT NULL PRIMARY KEY REFERENCES transactions (id) ON DELETE CASCADE,
    credential_id      bytea   NOT NULL CHECK (length(credential_id) BETWEEN 1 AND 1023),
    -- COSE_Key, counter and BE as they were stored when the signature was judged.
    public_key         bytea   NOT NULL CHECK (length(public_key) > 0),
    sign_count         bigint  NOT NULL CHECK (sign_count BETWEEN 0 AND 4294967295),
    backup_eligible    boolean NOT NULL,
    rp_id              text    NOT NULL CHECK (rp_id <> ''),
    client_data_json   bytea   NOT NULL CHECK (length(client_data_json) > 0),
    authenticator_data bytea   NOT NULL CHECK (length(authenticator_data) > 0),
    signature          bytea   NOT NULL CHECK (length(signature) > 0),
    -- The token's jti, which is the id of the audit event too.
    token_id           uuid    NOT NULL,
    confirmed_at       bigint  NOT NULL
);

-- The deployment's root secret: which one it is, and it itself wrapped, once for each token that can open it.
CREATE TABLE root_secret (
    id          bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    -- Derived from the secret; tells nothing else of it.
    fingerprint bytea  NOT NULL CHECK (length(fingerprint) = 16),
    created_at  bigint NOT NULL
);

CREATE TABLE root_secret_envelopes (
    token_serial text   COLLATE "C" NOT NULL PRIMARY KEY,
    -- SubjectPublicKeyInfo of the token's key whose signature opens it.
    public_key   bytea  NOT NULL CHECK (length(public_key) > 0),
    -- Nonce, ciphertext and tag of AES-256-GCM.
    envelope     bytea  NOT NULL CHECK (length(envelope) = 60),
    created_at   bigint NOT NULL
);

-- Browsers ask an RP ID's own host what belongs to it. Empty where a server of the version before made the tenant.
ALTER TABLE tenants ADD COLUMN rp_id text COLLATE "C" NOT NULL DEFAULT '';
-- Not where a name has a U+0000 in it, which no JSON function of PostgreSQL reads.
UPDATE tenants SET rp_id = COALESCE(CAST(config AS json) #>> '{webauthn,relying_party,id}', '') WHERE position('\u0000' IN config) = 0;
CREATE INDEX tenants_by_rp_id ON tenants (rp_id);
