-- The whole language: drafts and versions, every trigger, runs that wait, nested steps, and what people decide.

-- version is the newest published one (0: none yet). The draft is what an editor works on (none: nothing else than what is
-- published); draft_revision is part of its ETag. applied: files brought it, so files may take it away.
ALTER TABLE workflows
    ADD COLUMN slug text,
    ADD COLUMN status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'archived')),
    ADD COLUMN draft jsonb,
    ADD COLUMN draft_revision integer NOT NULL DEFAULT 1,
    ADD COLUMN applied boolean NOT NULL DEFAULT false,
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
CREATE UNIQUE INDEX workflows_by_slug ON workflows (org_id, slug) WHERE status <> 'archived';

ALTER TABLE workflow_versions
    ADD COLUMN message text NOT NULL DEFAULT '',
    ADD COLUMN published_by text NOT NULL DEFAULT '';

-- The triggers of the published version. key keeps a trigger what it is from version to version: its token, its next_at.
-- next_at: when a cron trigger is due. target: whose runs' ends are waited for.
ALTER TABLE triggers
    ALTER COLUMN event_type DROP NOT NULL,
    ADD COLUMN key text NOT NULL DEFAULT '0',
    ADD COLUMN kind text NOT NULL DEFAULT 'event',
    ADD COLUMN config jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN enabled boolean NOT NULL DEFAULT true,
    ADD COLUMN next_at timestamptz,
    ADD COLUMN target text;
CREATE INDEX triggers_due ON triggers (next_at) WHERE next_at IS NOT NULL AND enabled;
CREATE INDEX triggers_by_target ON triggers (org_id, target) WHERE target IS NOT NULL;

-- queued: not begun, there is a limit. running: a worker has it, or is due to take it (due_at). waiting: nothing can be
-- done before due_at, or before something arrives. arrivals counts what arrived: a worker that gives the run away checks
-- that it has seen all. asked: what its worker is asked to do with it. failure: why it is failing, while compensations
-- and the failure handler are still to be done. keep_until: when it may be purged.
ALTER TABLE runs
    DROP CONSTRAINT runs_status_check,
    DROP CONSTRAINT runs_check,
    DROP CONSTRAINT runs_check1,
    ADD COLUMN asked text CHECK (asked IN ('pause', 'cancel')),
    ADD COLUMN arrivals integer NOT NULL DEFAULT 0,
    ADD COLUMN priority smallint NOT NULL DEFAULT 5,
    ADD COLUMN test boolean NOT NULL DEFAULT false,
    ADD COLUMN origin text NOT NULL DEFAULT 'event',
    ADD COLUMN started_by text NOT NULL DEFAULT '',
    ADD COLUMN source_run text,
    ADD COLUMN parent_run text,
    ADD COLUMN parent_path text,
    ADD COLUMN parent_told boolean NOT NULL DEFAULT false,
    ADD COLUMN samples jsonb,
    ADD COLUMN response jsonb,
    ADD COLUMN failure jsonb,
    ADD COLUMN deadline_at timestamptz,
    ADD COLUMN keep_until timestamptz;
ALTER TABLE runs
    ADD CONSTRAINT runs_status CHECK (status IN ('queued', 'running', 'waiting', 'paused', 'completed', 'failed', 'cancelled')),
    ADD CONSTRAINT runs_end CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    ADD CONSTRAINT runs_due_at CHECK (CASE WHEN status = 'running' THEN due_at IS NOT NULL
                                           WHEN status <> 'waiting' THEN due_at IS NULL END);
DROP INDEX runs_due;
CREATE INDEX runs_due ON runs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX runs_queued ON runs (org_id, workflow_id, priority DESC, id) WHERE status = 'queued';
CREATE INDEX runs_at_work ON runs (org_id, workflow_id) WHERE status = 'running';
CREATE INDEX runs_live_by_version ON runs (workflow_id, workflow_version) WHERE finished_at IS NULL;
CREATE INDEX runs_to_tell ON runs (id) WHERE parent_run IS NOT NULL AND finished_at IS NOT NULL AND NOT parent_told;
CREATE INDEX runs_kept ON runs (keep_until) WHERE keep_until IS NOT NULL;
-- What is looked for by people: only runs that have it pay for it.
CREATE INDEX runs_with_error ON runs (org_id, id) WHERE error IS NOT NULL;
CREATE INDEX runs_by_parent ON runs (parent_run) WHERE parent_run IS NOT NULL;
CREATE INDEX runs_by_source ON runs (source_run) WHERE source_run IS NOT NULL;
CREATE INDEX runs_of_drafts ON runs (workflow_id, workflow_version) WHERE workflow_version < 0;

-- path: where in the run the step is: node, loop[3].node, node!undo, !failure.node. finished: the number of the event that
-- told its end, for variables are set in that order. rounds: how many rounds of a while were begun.
ALTER TABLE steps RENAME COLUMN node_id TO path;
ALTER TABLE steps
    DROP CONSTRAINT steps_status_check,
    ADD COLUMN finished integer,
    ADD COLUMN rounds integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT steps_status CHECK (status IN ('running', 'waiting', 'completed', 'skipped', 'failed', 'cancelled'));

-- What a waiting step waits for. id names it to people (approvals, forms, steps with an unknown outcome).
-- verdict: what people decided, when they did. announced: whether the event that tells of the question has left.
CREATE TABLE waits (
    run_id text NOT NULL,
    path text NOT NULL,
    org_id text NOT NULL,
    id text NOT NULL UNIQUE,
    kind text NOT NULL CHECK (kind IN ('timer', 'event', 'approval', 'input', 'outcome', 'child')),
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed')),
    request jsonb NOT NULL DEFAULT '{}',
    event_type text,
    event_key text,
    until timestamptz,
    escalate_at timestamptz,
    verdict text,
    decided_at timestamptz,
    announced boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, path)
);
CREATE INDEX waits_for_events ON waits (org_id, md5(event_type)) WHERE status = 'open' AND event_type IS NOT NULL;
CREATE INDEX waits_for_people ON waits (org_id, id) WHERE kind IN ('approval', 'input', 'outcome');
CREATE INDEX waits_to_escalate ON waits (escalate_at) WHERE status = 'open' AND escalate_at IS NOT NULL;
CREATE INDEX waits_to_announce ON waits (id) WHERE NOT announced AND kind IN ('approval', 'input', 'outcome');
SELECT isolate_tenants('waits');

-- What came from outside for a wait. The first counts.
CREATE TABLE arrivals (
    wait_id text PRIMARY KEY,
    run_id text NOT NULL,
    path text NOT NULL,
    org_id text NOT NULL,
    data jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX arrivals_by_run ON arrivals (run_id);
SELECT isolate_tenants('arrivals');

-- What people said about a wait, one row each and proposal: who changes what is to be approved proposes anew (data), and
-- what was said about the proposal before does not count any more.
CREATE TABLE decisions (
    wait_id text NOT NULL,
    org_id text NOT NULL,
    run_id text NOT NULL REFERENCES runs ON DELETE CASCADE,
    subject text NOT NULL,
    proposal integer NOT NULL DEFAULT 1,
    approved boolean NOT NULL,
    comment text,
    data jsonb,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (wait_id, subject, proposal)
);
CREATE INDEX decisions_by_run ON decisions (run_id);
SELECT isolate_tenants('decisions');

-- Links to a decision that were used, for each works once.
CREATE TABLE used_links (
    nonce text PRIMARY KEY,
    org_id text NOT NULL,
    run_id text NOT NULL REFERENCES runs ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX used_links_by_run ON used_links (run_id);
SELECT isolate_tenants('used_links');

-- The ends of runs that triggers wait for; written with the end, turned into runs by the sweeper of triggers.
CREATE TABLE ended_runs (
    run_id text NOT NULL,
    trigger_id text NOT NULL,
    org_id text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, trigger_id)
);
SELECT isolate_tenants('ended_runs');

-- Of triggers: generations of a webhook's secret and address, which follow from them and are stored nowhere.
-- Kind 'wait' is no trigger of the definition: it says that runs of the workflow wait for events of a type.
ALTER TABLE triggers
    ADD COLUMN secret_generation smallint NOT NULL DEFAULT 1,
    ADD COLUMN address_generation smallint NOT NULL DEFAULT 1,
    ADD COLUMN secret_rotated_at timestamptz;
CREATE UNIQUE INDEX triggers_by_key ON triggers (workflow_id, key);

-- Events that runs may wait for, kept for a day, so that one that comes before the wait for it is not lost.
CREATE TABLE recent_events (
    org_id text NOT NULL,
    event_key text NOT NULL,
    type text NOT NULL,
    event jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, event_key)
);
CREATE INDEX recent_events_by_type ON recent_events (org_id, md5(type), at);
CREATE INDEX recent_events_by_age ON recent_events (at);
SELECT isolate_tenants('recent_events');

-- Which run got which event, so that the next wait of the same run does not get it again.
CREATE TABLE delivered_events (
    org_id text NOT NULL,
    run_id text NOT NULL,
    event_key text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, event_key)
);
CREATE INDEX delivered_events_by_age ON delivered_events (at);
SELECT isolate_tenants('delivered_events');

-- look_at: when to look among the recent events again; none: whatever could have been missed has been seen.
ALTER TABLE waits ADD COLUMN look_at timestamptz DEFAULT now();
CREATE INDEX waits_to_look ON waits (look_at) WHERE status = 'open' AND event_type IS NOT NULL AND look_at IS NOT NULL;
