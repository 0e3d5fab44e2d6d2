-- A step has one row in waits, whatever it waits for by now. What it asked people before stays here, with what they said:
-- first whether it may be done, then what came of it, then the same of the next attempt.
CREATE TABLE past_questions (
    id text PRIMARY KEY,
    run_id text NOT NULL REFERENCES runs ON DELETE CASCADE,
    path text NOT NULL,
    org_id text NOT NULL,
    kind text NOT NULL,
    status text NOT NULL,
    request jsonb NOT NULL,
    until timestamptz,
    escalate_at timestamptz,
    verdict text,
    decided_at timestamptz,
    created_at timestamptz NOT NULL
);
CREATE INDEX past_questions_by_run ON past_questions (run_id);
CREATE INDEX past_questions_by_organization ON past_questions (org_id, id);
SELECT isolate_tenants('past_questions');

-- By the database, so that no code that replaces a row has to think of it, the last release's neither.
CREATE FUNCTION keep_past_question() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    INSERT INTO past_questions (id, run_id, path, org_id, kind, status, request, until, escalate_at, verdict,
                                decided_at, created_at)
    VALUES (OLD.id, OLD.run_id, OLD.path, OLD.org_id, OLD.kind, OLD.status, OLD.request, OLD.until, OLD.escalate_at,
            OLD.verdict, OLD.decided_at, OLD.created_at);
    RETURN NULL;
END
$function$;
CREATE TRIGGER keep_past_question AFTER UPDATE OF id ON waits
    FOR EACH ROW WHEN (OLD.id <> NEW.id AND OLD.kind IN ('approval', 'input', 'outcome'))
    EXECUTE FUNCTION keep_past_question();
