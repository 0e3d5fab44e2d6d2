-- Who there is: organizations, people, which people belong to which organization, and the keys that act for them.

CREATE TABLE organizations (
    id text PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE organizations FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON organizations
    USING (id = current_setting('app.org_id', true) OR current_setting('app.org_id', true) = '*');

-- A person may belong to several organizations.
CREATE TABLE users (
    id text PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE memberships (
    org_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'editor', 'viewer')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, user_id)
);

CREATE INDEX memberships_of_a_user ON memberships (user_id);

SELECT isolate_tenants('memberships');

-- People are seen by the organizations they belong to; the memberships that are looked at here are themselves filtered.
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY colleagues ON users
    USING (
        current_setting('app.org_id', true) = '*'
        OR EXISTS (SELECT FROM memberships WHERE memberships.user_id = users.id)
    );

-- Of a key only its prefix and the SHA-256 of its secret are kept.
CREATE TABLE api_keys (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    user_id text NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    prefix text NOT NULL UNIQUE,
    secret_sha256 bytea NOT NULL CHECK (length(secret_sha256) = 32),
    permissions text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz,
    -- A key acts for a member: when the membership ends, so do its keys.
    FOREIGN KEY (org_id, user_id) REFERENCES memberships (org_id, user_id) ON DELETE CASCADE
);

CREATE INDEX api_keys_of_a_member ON api_keys (org_id, user_id);

SELECT isolate_tenants('api_keys');
