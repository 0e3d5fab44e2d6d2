-- Agents, crews and prompt templates as records with a history. The present version stands in the table itself, those
-- before it in the table of its history. What is archived gives its name back: it goes by its id from then on.

ALTER TABLE crews
    ADD COLUMN message text NOT NULL DEFAULT '',
    ADD COLUMN changed_by text NOT NULL DEFAULT '',
    ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN archived_at timestamptz;
UPDATE crews SET changed_at = created_at;

CREATE TABLE crew_history (
    org_id text NOT NULL,
    record_id text NOT NULL REFERENCES crews (id) ON DELETE CASCADE,
    version integer NOT NULL,
    definition jsonb NOT NULL,
    message text NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (record_id, version)
);
SELECT isolate_tenants('crew_history');

CREATE TABLE agents (
    org_id text NOT NULL,
    name text NOT NULL,
    id text NOT NULL UNIQUE,
    version integer NOT NULL DEFAULT 1,
    definition jsonb NOT NULL,
    message text NOT NULL DEFAULT '',
    changed_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    PRIMARY KEY (org_id, name)
);
SELECT isolate_tenants('agents');

CREATE TABLE agent_history (
    org_id text NOT NULL,
    record_id text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    version integer NOT NULL,
    definition jsonb NOT NULL,
    message text NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (record_id, version)
);
SELECT isolate_tenants('agent_history');

CREATE TABLE prompt_templates (
    org_id text NOT NULL,
    name text NOT NULL,
    id text NOT NULL UNIQUE,
    version integer NOT NULL DEFAULT 1,
    definition jsonb NOT NULL,
    message text NOT NULL DEFAULT '',
    changed_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    PRIMARY KEY (org_id, name)
);
SELECT isolate_tenants('prompt_templates');

CREATE TABLE prompt_template_history (
    org_id text NOT NULL,
    record_id text NOT NULL REFERENCES prompt_templates (id) ON DELETE CASCADE,
    version integer NOT NULL,
    definition jsonb NOT NULL,
    message text NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (record_id, version)
);
SELECT isolate_tenants('prompt_template_history');
