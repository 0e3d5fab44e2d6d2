-- Organizations that are about to be deleted, and since when; or that were and are not any more.
CREATE TABLE organization_statuses (
    org_id text PRIMARY KEY,
    status text NOT NULL CHECK (status IN ('active', 'deleting')),
    at timestamptz NOT NULL
);
SELECT isolate_tenants('organization_statuses');
