-- What a turn was reminded of, so that a turn that is played again is reminded of the same.
CREATE TABLE reminders (
    org_id text NOT NULL,
    crew_run text NOT NULL,
    path text NOT NULL,
    recollections jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, crew_run, path)
);
CREATE INDEX reminders_by_age ON reminders (org_id, at);
SELECT isolate_tenants('reminders');

-- What people think of what a run gave. One word per person and run; the last counts.
CREATE TABLE feedback (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    crew_run text NOT NULL,
    about text NOT NULL,
    rating smallint NOT NULL CHECK (rating BETWEEN 1 AND 5),
    comment text NOT NULL DEFAULT '',
    by text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (org_id, crew_run, by)
);
CREATE INDEX feedback_about ON feedback (org_id, about);
SELECT isolate_tenants('feedback');

-- What is to be done otherwise, in people's words. ``about``: the crew or agent it is told, by its id. ``trusted``: by
-- somebody who may change that crew or agent; others' words are told it as what they are.
CREATE TABLE insights (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    about text NOT NULL,
    text text NOT NULL,
    trusted boolean NOT NULL,
    feedback text REFERENCES feedback (id) ON DELETE CASCADE,
    by text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (feedback)
);
CREATE INDEX insights_about ON insights (org_id, about, id DESC);
SELECT isolate_tenants('insights');
