-- Agents at work: a crew, one agent, or the answer in a chat; each turn written down where it was paid for.

CREATE TABLE crew_runs (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('crew', 'agent', 'chat')),
    -- What works, by name; and by id, to know who may see it. What is done stays known when they are gone.
    name text NOT NULL,
    crew_id text,
    agent_id text,
    version integer NOT NULL,
    -- Under which it was asked for: the same key is the same run.
    key text NOT NULL,
    fingerprint text NOT NULL,
    -- The definition as it was when the run began, and what it was asked.
    work jsonb NOT NULL,
    charge jsonb NOT NULL,
    requested_by text NOT NULL,
    started_by text NOT NULL,
    conversation text,
    -- Whether it was asked with words of strangers, as when a workflow hands an incoming mail to it.
    untrusted boolean NOT NULL DEFAULT false,
    status text NOT NULL CHECK (status IN ('queued', 'working', 'waiting', 'completed', 'failed', 'cancelled')),
    stop_asked boolean NOT NULL DEFAULT false,
    -- How many decisions it was told. One that came while it was driven makes it due again.
    told integer NOT NULL DEFAULT 0,
    outcome jsonb,
    error jsonb,
    usage jsonb NOT NULL DEFAULT '{}',
    -- Of the last message.
    seq bigint NOT NULL DEFAULT 0,
    -- Rises whenever somebody takes the run; whoever holds an older one cannot write.
    epoch integer NOT NULL DEFAULT 0,
    -- How often it was taken since something was written last: a run that kills whoever takes it is given up.
    fruitless integer NOT NULL DEFAULT 0,
    -- When somebody must look at the run unless it has moved by then: the lease of whoever drives it, too.
    due_at timestamptz,
    traceparent text,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    ended_at timestamptz
);
CREATE UNIQUE INDEX crew_runs_once ON crew_runs (org_id, key);
CREATE INDEX crew_runs_due ON crew_runs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX crew_runs_newest ON crew_runs (org_id, id DESC);
CREATE INDEX crew_runs_of_one ON crew_runs (org_id, name, id DESC);
CREATE INDEX crew_runs_by_age ON crew_runs (org_id, ended_at) WHERE ended_at IS NOT NULL;
SELECT isolate_tenants('crew_runs');

-- The journal: what is here is never asked again.
CREATE TABLE crew_turns (
    crew_run text NOT NULL REFERENCES crew_runs ON DELETE CASCADE,
    org_id text NOT NULL,
    path text NOT NULL,
    said jsonb NOT NULL,
    usage jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (crew_run, path)
);
SELECT isolate_tenants('crew_turns');

-- Every word between agents, people and tools; and what became of the run, in the same order.
CREATE TABLE crew_messages (
    crew_run text NOT NULL REFERENCES crew_runs ON DELETE CASCADE,
    org_id text NOT NULL,
    seq bigint NOT NULL,
    -- The same for the same message after every crash.
    ref text NOT NULL,
    kind text NOT NULL
        CHECK (kind IN ('instruction', 'answer', 'tool', 'question', 'decision', 'note', 'status')),
    sender text NOT NULL,
    receiver text NOT NULL,
    task text NOT NULL,
    text text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (crew_run, seq)
);
CREATE UNIQUE INDEX crew_messages_once ON crew_messages (crew_run, ref);
SELECT isolate_tenants('crew_messages');

CREATE TABLE crew_questions (
    crew_run text NOT NULL REFERENCES crew_runs ON DELETE CASCADE,
    org_id text NOT NULL,
    id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('tool', 'budget')),
    title text NOT NULL,
    agent text NOT NULL,
    tool text,
    arguments jsonb,
    asked_at timestamptz NOT NULL DEFAULT now(),
    approved boolean,
    -- With what it is to be done instead.
    edited jsonb,
    decided_by text,
    decided_at timestamptz,
    PRIMARY KEY (crew_run, id)
);
SELECT isolate_tenants('crew_questions');

-- What was done before there were turns: with its result, and without a definition, for it will not be driven again.
INSERT INTO crew_runs (id, org_id, kind, name, crew_id, version, key, fingerprint, work, charge, requested_by, started_by,
    status, outcome, error, usage, created_at, started_at, ended_at)
SELECT 'crun_' || substr(k.id, 6), k.org_id, 'crew', k.crew, c.id, coalesce(c.version, 1), k.id, '',
    jsonb_build_object('of', 'crew', 'inputs', k.inputs), '{}', k.requested_by, k.requested_by, k.status,
    CASE k.status WHEN 'completed' THEN jsonb_build_object('text', k.text, 'data', NULL, 'said', k.messages) END,
    CASE k.status WHEN 'failed' THEN jsonb_build_object('headers', '{}'::jsonb, 'problem', jsonb_build_object(
        'type', 'https://crewmesh.dev/problems/crew-failed', 'title', 'Crew failed', 'status', 502,
        'detail', coalesce(k.error, ''), 'retryable', false)) END,
    jsonb_build_object('model', k.model, 'requests', k.requests, 'prompt_tokens', k.prompt_tokens,
        'completion_tokens', k.completion_tokens),
    k.started_at, k.started_at, k.ended_at
FROM kickoffs k LEFT JOIN crews c ON c.org_id = k.org_id AND c.name = k.crew;
DROP TABLE kickoffs;
