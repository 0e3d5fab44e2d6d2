-- Crews and what they were asked to do.

CREATE TABLE crews (
    org_id text NOT NULL,
    name text NOT NULL,
    id text NOT NULL UNIQUE,
    version integer NOT NULL DEFAULT 1,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, name)
);

SELECT isolate_tenants('crews');

-- One row per kickoff that ended, well or badly. It names the crew and does not refer to it: what was done stays known.
CREATE TABLE kickoffs (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    crew text NOT NULL,
    idempotency_key text NOT NULL,
    requested_by text NOT NULL,
    status text NOT NULL CHECK (status IN ('completed', 'failed')),
    inputs jsonb NOT NULL,
    text text,
    messages jsonb NOT NULL,
    error text,
    model text NOT NULL,
    requests integer NOT NULL,
    prompt_tokens integer NOT NULL,
    completion_tokens integer NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL
);

CREATE INDEX kickoffs_of_a_crew ON kickoffs (org_id, crew, id DESC);
-- The last word on "a retry never pays twice".
CREATE UNIQUE INDEX kickoffs_completed_once ON kickoffs (org_id, idempotency_key) WHERE status = 'completed';

SELECT isolate_tenants('kickoffs');
