-- What the knowledge service is still to be asked to forget: all that a crew or an agent remembers, or of a run what its
-- turns left there (``run``; empty: all). It is asked at once, and once more when all that was on its way has arrived.
CREATE TABLE memories_to_forget (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id text NOT NULL,
    about text NOT NULL,
    run text NOT NULL DEFAULT '',
    times_left smallint NOT NULL DEFAULT 2,
    due_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX memories_to_forget_due ON memories_to_forget (due_at);
SELECT isolate_tenants('memories_to_forget');

-- Whatever deletes them (people, retention, an organization's end): what they left in memory goes too.
CREATE FUNCTION forget_memories_of_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO memories_to_forget (org_id, about) VALUES (OLD.org_id, TG_ARGV[0] || ':' || OLD.id);
    RETURN NULL;
END $$;
CREATE TRIGGER forget_memories AFTER UPDATE OF archived_at ON crews
    FOR EACH ROW WHEN (OLD.archived_at IS NULL AND NEW.archived_at IS NOT NULL)
    EXECUTE FUNCTION forget_memories_of_record('crew');
CREATE TRIGGER forget_memories AFTER UPDATE OF archived_at ON agents
    FOR EACH ROW WHEN (OLD.archived_at IS NULL AND NEW.archived_at IS NOT NULL)
    EXECUTE FUNCTION forget_memories_of_record('agent');

CREATE FUNCTION forget_memories_of_chat() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO memories_to_forget (org_id, about, run)
    VALUES (OLD.org_id, coalesce('crew:' || OLD.crew_id, 'agent:' || OLD.agent_id), OLD.id);
    RETURN NULL;
END $$;
CREATE TRIGGER forget_memories AFTER DELETE ON crew_runs
    FOR EACH ROW WHEN (OLD.kind = 'chat' AND (OLD.crew_id IS NOT NULL OR OLD.agent_id IS NOT NULL))
    EXECUTE FUNCTION forget_memories_of_chat();

-- What was worked for a conversation goes with it, also when it goes because of its age.
DELETE FROM crew_runs WHERE conversation IS NOT NULL
    AND NOT EXISTS (SELECT FROM conversations WHERE conversations.id = crew_runs.conversation);
ALTER TABLE crew_runs ADD FOREIGN KEY (conversation) REFERENCES conversations ON DELETE CASCADE;

-- The policies that held when a turn began. What it shows its model follows from them however often it is played.
CREATE TABLE turn_policies (
    org_id text NOT NULL,
    place text NOT NULL,
    crew_run text NOT NULL REFERENCES crew_runs ON DELETE CASCADE,
    policies jsonb NOT NULL,
    PRIMARY KEY (org_id, place)
);
CREATE INDEX turn_policies_of_a_crew_run ON turn_policies (crew_run);
SELECT isolate_tenants('turn_policies');

-- How many runs of an organization wait to be begun is counted whenever one is begun.
CREATE INDEX crew_runs_queued ON crew_runs (org_id) WHERE status = 'queued';
