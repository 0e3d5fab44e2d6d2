-- Organizations that several hands change, and invitations to them.

ALTER TABLE organizations ADD COLUMN version integer NOT NULL DEFAULT 1;
CREATE INDEX organizations_to_erase ON organizations (delete_after) WHERE status = 'deleting';

-- Of the link that is mailed only the SHA-256 of its token is kept.
CREATE TABLE invitations (
    id text PRIMARY KEY,
    org_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    email text NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
    role text NOT NULL,
    teams text[] NOT NULL DEFAULT '{}',
    token_sha256 bytea NOT NULL UNIQUE CHECK (length(token_sha256) = 32),
    -- A member or a service account.
    invited_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    accepted_at timestamptz,
    accepted_by text REFERENCES users (id) ON DELETE SET NULL,
    revoked_at timestamptz
);
-- One open invitation per address.
CREATE UNIQUE INDEX invitations_open ON invitations (org_id, lower(email))
    WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX invitations_by_address ON invitations (org_id, lower(email));
SELECT isolate_tenants('invitations');
