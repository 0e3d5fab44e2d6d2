-- What agents did with tools, what their runs have seen, and what the organization says of both.

-- One row per use that is over. The key is that of the use itself, the same after every crash: a turn that is played
-- again finds here what a tool gave, and nothing is done twice.
CREATE TABLE tool_uses (
    org_id text NOT NULL,
    key text NOT NULL,
    crew_run text NOT NULL REFERENCES crew_runs ON DELETE CASCADE,
    agent text NOT NULL,
    tool text NOT NULL,
    arguments jsonb NOT NULL,
    status text NOT NULL CHECK (status IN ('done', 'failed', 'invalid', 'rejected', 'forbidden')),
    result text NOT NULL,
    -- The question that a person answered before it.
    question text,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, key)
);
CREATE INDEX tool_uses_of_a_crew_run ON tool_uses (crew_run);
SELECT isolate_tenants('tool_uses');

-- What a run has seen so far: words of strangers, private data. It only grows.
CREATE TABLE crew_run_taints (
    org_id text NOT NULL,
    crew_run text NOT NULL REFERENCES crew_runs ON DELETE CASCADE,
    untrusted boolean NOT NULL DEFAULT false,
    private boolean NOT NULL DEFAULT false,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, crew_run)
);
SELECT isolate_tenants('crew_run_taints');

CREATE TABLE policies (
    org_id text NOT NULL,
    name text NOT NULL,
    id text NOT NULL UNIQUE,
    version integer NOT NULL DEFAULT 1,
    tag text NOT NULL,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, name)
);
SELECT isolate_tenants('policies');
