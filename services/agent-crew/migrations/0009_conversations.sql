-- Talking with an agent or a crew. A conversation is its owner's alone: the person or key that began it.

CREATE TABLE conversations (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    owner text NOT NULL,
    -- With whom, by name: the definition of the moment answers.
    agent text,
    crew text,
    title text NOT NULL DEFAULT '',
    -- Whether a person, or nobody yet, gave it its title.
    titled boolean NOT NULL DEFAULT false,
    settings jsonb NOT NULL DEFAULT '{}',
    archived boolean NOT NULL DEFAULT false,
    version integer NOT NULL DEFAULT 1,
    -- The last message of the branch that is shown.
    head text,
    -- Of the last event.
    seq bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    active_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((agent IS NULL) <> (crew IS NULL))
);
CREATE INDEX conversations_latest ON conversations (org_id, owner, active_at DESC, id DESC);
CREATE INDEX conversations_by_age ON conversations (org_id, active_at);
SELECT isolate_tenants('conversations');

-- A tree: what answers the same message, or continues the same answer differently, has the same parent.
CREATE TABLE conversation_messages (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    conversation text NOT NULL REFERENCES conversations ON DELETE CASCADE,
    -- Empty: it begins the conversation.
    parent text NOT NULL DEFAULT '',
    depth integer NOT NULL,
    role text NOT NULL CHECK (role IN ('user', 'assistant')),
    text text NOT NULL,
    attachments text[] NOT NULL DEFAULT '{}',
    status text NOT NULL CHECK (status IN ('working', 'done', 'failed', 'cancelled')),
    -- What answers, or answered.
    crew_run text,
    error jsonb,
    usage jsonb,
    -- The conversation's number when it was added: whoever has seen that number knows of it.
    added bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE INDEX conversation_messages_of_one ON conversation_messages (conversation, parent);
CREATE INDEX conversation_messages_of_a_run ON conversation_messages (crew_run) WHERE status = 'working';
-- One answer at a time.
CREATE UNIQUE INDEX conversation_messages_working ON conversation_messages (conversation) WHERE status = 'working';
SELECT isolate_tenants('conversation_messages');

-- What happened, in order, for whoever follows.
CREATE TABLE conversation_events (
    conversation text NOT NULL REFERENCES conversations ON DELETE CASCADE,
    org_id text NOT NULL,
    seq bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('message', 'done', 'failed', 'cancelled', 'changed')),
    message text,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (conversation, seq)
);
SELECT isolate_tenants('conversation_events');

CREATE TABLE conversation_attachments (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    conversation text NOT NULL REFERENCES conversations ON DELETE CASCADE,
    name text NOT NULL,
    media_type text NOT NULL,
    bytes integer NOT NULL,
    content bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conversation_attachments_of_one ON conversation_attachments (conversation);
SELECT isolate_tenants('conversation_attachments');

-- What was said up to a message, in short: for conversations that are longer than a model reads.
CREATE TABLE conversation_summaries (
    conversation text NOT NULL REFERENCES conversations ON DELETE CASCADE,
    org_id text NOT NULL,
    upto text NOT NULL,
    text text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (conversation, upto)
);
SELECT isolate_tenants('conversation_summaries');

CREATE INDEX crew_runs_of_a_conversation ON crew_runs (conversation) WHERE conversation IS NOT NULL;
