-- What model calls of days that are over sum up to, so that usage need not read every call again.

-- When a call was added to the sums of its day; unset: it is not in them.
ALTER TABLE model_calls ADD COLUMN summed_at timestamptz;
CREATE INDEX model_calls_not_summed ON model_calls (org_id, at) WHERE summed_at IS NULL;

-- Several rows may be of the same day and names: what is added later stands in rows of its own. speeds: steps of
-- latency that calls were answered in, and of_speed how many in each; see usage/repository.py.
CREATE TABLE usage_days (
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
CREATE INDEX usage_days_by_time ON usage_days (org_id, at);
SELECT isolate_tenants('usage_days');

-- A call that is in the sums is forgotten, or ends after all: its day is summed up anew, later. Until then its calls
-- are read one by one. Whoever changes sums of an organization holds this lock. One who forgets calls and one whose call
-- ends after days may wait for each other; the database turns one of them away, and it comes again.
CREATE FUNCTION usage_day_changed() RETURNS trigger
LANGUAGE plpgsql AS $function$
DECLARE
    day timestamptz := date_trunc('day', OLD.at, 'UTC');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('usage of ' || OLD.org_id, 0));
    DELETE FROM usage_days WHERE org_id = OLD.org_id AND at = day;
    IF FOUND THEN
        UPDATE model_calls SET summed_at = NULL
        WHERE org_id = OLD.org_id AND at >= day AND at < day + interval '1 day' AND summed_at IS NOT NULL;
    END IF;
    RETURN NULL;
END
$function$;
CREATE TRIGGER usage_day_changed AFTER DELETE OR UPDATE OF outcome ON model_calls
    FOR EACH ROW WHEN (OLD.summed_at IS NOT NULL) EXECUTE FUNCTION usage_day_changed();
