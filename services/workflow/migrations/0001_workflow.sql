-- Definitions, triggers, runs and their journal.

-- The newest version of each workflow; seed names what we ourselves put there, once per organization.
CREATE TABLE workflows (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    seed text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (org_id, seed)
);
CREATE INDEX workflows_by_organization ON workflows (org_id, id);
SELECT isolate_tenants('workflows');

-- Immutable: a run goes on with the version it started with.
CREATE TABLE workflow_versions (
    workflow_id text NOT NULL REFERENCES workflows ON DELETE CASCADE,
    version integer NOT NULL,
    org_id text NOT NULL,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workflow_id, version)
);
SELECT isolate_tenants('workflow_versions');

CREATE TABLE triggers (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    workflow_id text NOT NULL,
    workflow_version integer NOT NULL,
    event_type text NOT NULL,
    event_source text,
    FOREIGN KEY (workflow_id, workflow_version) REFERENCES workflow_versions ON DELETE CASCADE
);
-- By hash, for a type may be longer than an index entry.
CREATE INDEX triggers_by_type ON triggers (org_id, md5(event_type));
SELECT isolate_tenants('triggers');

-- due_at: when somebody must look at the run unless it has moved by then. It is the lease of the worker that advances
-- it, the wake-up of a sleeping run, and the alarm of the watchdog. epoch fences workers: whoever takes the run raises it.
-- scheduled counts the Dapr instances that were asked for; driver is the one of them that took the run last (0: none).
-- Commits leave due_at alone while the lease lasts, so that they touch no index and stay within the page.
CREATE TABLE runs (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    workflow_id text NOT NULL,
    workflow_version integer NOT NULL,
    status text NOT NULL CHECK (status IN ('running', 'completed', 'failed')),
    trigger jsonb NOT NULL,
    output jsonb,
    error jsonb,
    epoch integer NOT NULL,
    scheduled integer NOT NULL DEFAULT 0,
    driver integer NOT NULL DEFAULT 0,
    due_at timestamptz,
    seq integer NOT NULL,
    traceparent text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK ((status = 'running') = (due_at IS NOT NULL)),
    CHECK ((status = 'running') = (finished_at IS NULL))
) WITH (fillfactor = 60);
CREATE INDEX runs_due ON runs (due_at) WHERE status = 'running';
CREATE INDEX runs_by_organization ON runs (org_id, id);
CREATE INDEX runs_by_workflow ON runs (org_id, workflow_id, id);
SELECT isolate_tenants('runs');

-- Steps and events are written by one statement together with their run, so foreign keys would only cost time.
CREATE TABLE steps (
    run_id text NOT NULL,
    node_id text NOT NULL,
    org_id text NOT NULL,
    position integer NOT NULL,
    status text NOT NULL CHECK (status IN ('running', 'completed', 'skipped', 'failed')),
    attempt integer NOT NULL,
    input jsonb,
    output jsonb,
    port text,
    error jsonb,
    retry_at timestamptz,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (run_id, node_id)
) WITH (fillfactor = 70);
SELECT isolate_tenants('steps');

-- What happened, in order, without gaps: streams follow it by seq.
CREATE TABLE run_events (
    run_id text NOT NULL,
    seq integer NOT NULL,
    org_id text NOT NULL,
    type text NOT NULL,
    data jsonb NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (run_id, seq)
);
SELECT isolate_tenants('run_events');

-- One run per workflow and event, however often the event arrives. event_key is a hash of its source and id.
CREATE TABLE event_starts (
    org_id text NOT NULL,
    event_key text NOT NULL,
    workflow_id text NOT NULL,
    run_id text NOT NULL,
    PRIMARY KEY (org_id, event_key, workflow_id)
);
SELECT isolate_tenants('event_starts');
