-- People with passwords, organizations with plans and settings, roles, teams, and keys that act for people or for nobody.

ALTER TABLE organizations
    ADD COLUMN status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'deleting')),
    -- When a deleted organization is forgotten for good.
    ADD COLUMN delete_after timestamptz,
    ADD COLUMN plan text NOT NULL DEFAULT 'free',
    -- Where its data is to be kept; a flag that operators place the organization by.
    ADD COLUMN residency text CHECK (length(residency) BETWEEN 2 AND 40),
    -- From which addresses members may come; empty: from everywhere.
    ADD COLUMN allowlist cidr[] NOT NULL DEFAULT '{}',
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();

-- An installation's first owner has no address and no password until they are given.
ALTER TABLE users
    ADD COLUMN email text,
    ADD COLUMN email_verified_at timestamptz,
    ADD COLUMN password_hash text,
    ADD COLUMN password_changed_at timestamptz,
    ADD COLUMN totp_secret bytea,
    ADD COLUMN totp_confirmed_at timestamptz,
    ADD COLUMN totp_last_step bigint,
    -- The organization that a new session begins in.
    ADD COLUMN last_org_id text;
CREATE UNIQUE INDEX users_by_email ON users (lower(email));

-- What has no organization is seen by the system alone, never in an organization's transaction.
CREATE FUNCTION only_for_the_system(private_table regclass) RETURNS void
LANGUAGE plpgsql AS $function$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', private_table);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', private_table);
    EXECUTE format(
        $policy$CREATE POLICY system ON %s USING ((SELECT current_setting('app.org_id', true)) = '*')$policy$,
        private_table
    );
END
$function$;

-- One login on one device. Refresh tokens follow each other in it; a used one that comes back ends it.
CREATE TABLE sessions (
    id text PRIMARY KEY,
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    org_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_because text,
    address text,
    agent text,
    refresh_sha256 bytea NOT NULL UNIQUE,
    previous_sha256 bytea,
    refreshed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sessions_of_a_user ON sessions (user_id);
CREATE INDEX sessions_by_previous_token ON sessions (previous_sha256);
CREATE INDEX sessions_expire ON sessions (expires_at);
SELECT only_for_the_system('sessions');

-- owner, admin, editor, viewer, or the id of a custom role.
ALTER TABLE memberships DROP CONSTRAINT memberships_role_check;
CREATE TABLE roles (
    id text PRIMARY KEY,
    org_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    about text NOT NULL DEFAULT '',
    permissions text[] NOT NULL,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (org_id, name)
);
SELECT isolate_tenants('roles');

CREATE TABLE teams (
    id text PRIMARY KEY,
    org_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (org_id, name),
    UNIQUE (org_id, id)
);
SELECT isolate_tenants('teams');

CREATE TABLE team_members (
    org_id text NOT NULL,
    team_id text NOT NULL,
    user_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (team_id, user_id),
    FOREIGN KEY (org_id, team_id) REFERENCES teams (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, user_id) REFERENCES memberships (org_id, user_id) ON DELETE CASCADE
);
CREATE INDEX teams_of_a_member ON team_members (org_id, user_id);
SELECT isolate_tenants('team_members');

-- Somebody that is nobody: acts by keys alone, with a role of its own.
CREATE TABLE service_accounts (
    id text PRIMARY KEY,
    org_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    role text NOT NULL,
    created_by text NOT NULL,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (org_id, name),
    UNIQUE (org_id, id)
);
SELECT isolate_tenants('service_accounts');

-- A key acts for a member or for a service account, within what that one may do at the time.
ALTER TABLE api_keys
    ALTER COLUMN user_id DROP NOT NULL,
    ADD COLUMN service_account_id text,
    ADD COLUMN created_by text,
    ADD COLUMN rotated_from text,
    ADD CONSTRAINT api_keys_act_for_one CHECK (num_nonnulls(user_id, service_account_id) = 1),
    ADD CONSTRAINT api_keys_of_a_service_account FOREIGN KEY (org_id, service_account_id)
        REFERENCES service_accounts (org_id, id) ON DELETE CASCADE;
CREATE INDEX api_keys_by_service_account ON api_keys (org_id, service_account_id);
