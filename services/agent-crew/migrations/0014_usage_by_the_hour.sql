-- What model calls of hours that are over sum up to, so that usage need not read every call again.

-- When a call was added to the sums of its hour; unset: it is not in them.
ALTER TABLE model_calls ADD COLUMN summed_at timestamptz;
CREATE INDEX model_calls_not_summed ON model_calls (org_id, at) WHERE summed_at IS NULL;

-- Several rows may be of the same hour and names: what is added later stands in rows of its own. speeds: steps of
-- latency that calls were answered in, and of_speed how many in each; see usage/repository.py.
CREATE TABLE usage_hours (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id text NOT NULL,
    at timestamptz NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    workflow text,
    crew text,
    agent text,
    user_id text,
    key_id text,
    teams text[] NOT NULL,
    outcome text NOT NULL,
    calls bigint NOT NULL,
    input bigint NOT NULL,
    cached bigint NOT NULL,
    output bigint NOT NULL,
    cost_nano bigint NOT NULL,
    speeds integer[] NOT NULL,
    of_speed bigint[] NOT NULL
);
CREATE INDEX usage_hours_by_time ON usage_hours (org_id, at);
SELECT isolate_tenants('usage_hours');

-- A call that is in the sums is forgotten, or ends after all: its hour is summed up anew, later. Until then its calls
-- are read one by one. Whoever changes sums of an organization holds this lock.
CREATE FUNCTION usage_hour_changed() RETURNS trigger
LANGUAGE plpgsql AS $function$
DECLARE
    hour timestamptz := date_trunc('hour', OLD.at, 'UTC');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('usage of ' || OLD.org_id, 0));
    DELETE FROM usage_hours WHERE org_id = OLD.org_id AND at = hour;
    IF FOUND THEN
        UPDATE model_calls SET summed_at = NULL
        WHERE org_id = OLD.org_id AND at >= hour AND at < hour + interval '1 hour' AND summed_at IS NOT NULL;
    END IF;
    RETURN NULL;
END
$function$;
CREATE TRIGGER usage_hour_changed AFTER DELETE OR UPDATE OF outcome ON model_calls
    FOR EACH ROW WHEN (OLD.summed_at IS NOT NULL) EXECUTE FUNCTION usage_hour_changed();
