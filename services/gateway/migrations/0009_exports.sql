-- Exports of everything an organization owns: how far each has come, and the parts it is made of.
CREATE TABLE exports (
    id text PRIMARY KEY,
    org_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    requested_by text NOT NULL,
    status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'done', 'failed', 'expired')),
    -- Where to go on: the service that is asked, and the cursor behind its last page.
    service text,
    cursor text,
    rows bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    parts integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    expires_at timestamptz,
    -- When somebody else may take it up: the end of a lease, or of a pause after a failure.
    due_at timestamptz DEFAULT now()
);
CREATE INDEX exports_of_an_organization ON exports (org_id, id DESC);
CREATE UNIQUE INDEX exports_one_at_a_time ON exports (org_id) WHERE status IN ('queued', 'running');
CREATE INDEX exports_due ON exports (due_at) WHERE due_at IS NOT NULL;
SELECT isolate_tenants('exports');

-- Each part is a blob, compressed by itself; one behind the other they are the file.
CREATE TABLE export_parts (
    export_id text NOT NULL REFERENCES exports (id) ON DELETE CASCADE,
    org_id text NOT NULL,
    number integer NOT NULL,
    blob text NOT NULL,
    bytes integer NOT NULL,
    PRIMARY KEY (export_id, number)
);
SELECT isolate_tenants('export_parts');
