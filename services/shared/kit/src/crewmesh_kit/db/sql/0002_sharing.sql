-- Who may see, use and change a single resource of a service, beyond what roles say for all of them.

-- restricted: only the grants count, and what owners and admins may do. Without a row: not restricted, no grants.
CREATE TABLE resource_access (
    org_id text NOT NULL,
    kind text NOT NULL,
    resource_id text NOT NULL,
    restricted boolean NOT NULL DEFAULT false,
    version integer NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, kind, resource_id)
);
SELECT isolate_tenants('resource_access');

-- grantee: user:…, team:…, role:…, service-account:… or workflow:… Each level holds the ones before it.
CREATE TABLE resource_grants (
    org_id text NOT NULL,
    kind text NOT NULL,
    resource_id text NOT NULL,
    grantee text NOT NULL,
    level text NOT NULL CHECK (level IN ('view', 'run', 'edit')),
    PRIMARY KEY (org_id, kind, resource_id, grantee),
    FOREIGN KEY (org_id, kind, resource_id) REFERENCES resource_access ON DELETE CASCADE
);
SELECT isolate_tenants('resource_grants');
