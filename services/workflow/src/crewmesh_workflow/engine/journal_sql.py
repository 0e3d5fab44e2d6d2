"""The journal's statements. One statement writes the commits of many runs at once.

Kept short by leaving out what is only there for the reader: psycopg does not remember how to send a statement of more
than 4096 characters, and would take it apart anew each time.

Each takes a run's row only if epoch and sequence are still what its worker knows, and writes everything else beside the
rows it took. All times are the database's.
"""

from __future__ import annotations

from typing import LiteralString

# What follows needs a CTE ``run``: id, org_id, workflow_id, status, over, and ``before``, the sequence before.
_STEPS_AND_EVENTS: LiteralString = """
step AS (
    INSERT INTO steps (run_id, path, org_id, position, status, attempt, input, output, port, error, retry_at, rounds,
                       finished, started_at, finished_at)
    SELECT run.id, s.path, run.org_id, s.number, s.status, s.attempt, s.input, s.output, s.port, s.error,
           now() + s.retry_in * interval '1s', s.rounds, s.finished, now(),
           CASE WHEN s.finished > 0 THEN now() END
    FROM run JOIN jsonb_to_recordset(%(steps)s)
         AS s(run text, path text, number int, status text, attempt int, input jsonb, output jsonb, port text,
              error jsonb, retry_in float, rounds int, finished int) ON s.run = run.id
    ON CONFLICT (run_id, path) DO UPDATE SET
        status = excluded.status, attempt = excluded.attempt, input = coalesce(excluded.input, steps.input),
        output = excluded.output, port = excluded.port, error = excluded.error, retry_at = excluded.retry_at,
        rounds = excluded.rounds, finished = excluded.finished, finished_at = excluded.finished_at
), event AS (
    INSERT INTO run_events (run_id, seq, org_id, type, data, at)
    SELECT run.id, run.before + e.n, run.org_id, e.type, e.data, now()
    FROM run JOIN jsonb_to_recordset(%(events)s) AS e(run text, n int, type text, data jsonb) ON e.run = run.id
    WHERE e.type <> 'run.paused' OR run.status = 'paused'
)
"""
_OUTSIDE: LiteralString = """
, told AS (
    INSERT INTO outbox (org_id, topic, event)
    SELECT run.org_id, o.topic, o.event
    FROM run JOIN jsonb_to_recordset(%(outbox)s) AS o(run text, topic text, event text) ON o.run = run.id
), wait AS (
    INSERT INTO waits (run_id, path, org_id, id, kind, request, event_type, event_key, until, escalate_at)
    SELECT run.id, w.path, run.org_id, w.id, w.kind, w.request, w.event_type, w.event_key,
           now() + w.seconds * interval '1s', now() + w.escalate_in * interval '1s'
    FROM run JOIN jsonb_to_recordset(%(waits)s)
         AS w(run text, path text, id text, kind text, request jsonb, event_type text, event_key text, seconds float,
              escalate_in float) ON w.run = run.id
    ON CONFLICT (run_id, path) DO UPDATE SET
        id = excluded.id, kind = excluded.kind, status = 'open', request = excluded.request, until = excluded.until,
        escalate_at = excluded.escalate_at, event_type = excluded.event_type, event_key = excluded.event_key,
        created_at = now(), look_at = now(), verdict = NULL, decided_at = NULL, announced = false
), closed AS (
    UPDATE waits SET status = 'closed'
    FROM run JOIN jsonb_to_recordset(%(closed)s) AS c(run text, path text) ON c.run = run.id
    WHERE waits.run_id = run.id AND waits.path = c.path
), ended AS (
    INSERT INTO ended_runs (run_id, trigger_id, org_id)
    SELECT run.id, t.id, run.org_id FROM run
    JOIN triggers t ON t.org_id = run.org_id AND t.target = run.workflow_id AND t.enabled
    WHERE run.over AND NOT run.test AND t.config -> 'statuses' ? run.status
    ON CONFLICT DO NOTHING
)
"""
# A rest is refused, and the run stays with its worker, when something arrived that the worker has not seen, or when the
# run is asked for something else than what it obeys.
# By their ids, and with 'running' out of the planner's sight: else it may look through all runs that are at work, which
# takes the longer the more they are.
_TAKE_ROWS: LiteralString = """
WITH given AS (
    SELECT *, 'running' AS held FROM jsonb_to_recordset(%(runs)s)
        AS g(run text, epoch int, seq int, count int, status text, rests boolean, obeyed text, due_in float,
             new_driver int, arrivals int, output jsonb, error jsonb, failure jsonb, response jsonb,
             keep_days int, over boolean)
), run AS (
    UPDATE runs r SET
        seq = r.seq + g.count,
        status = CASE WHEN g.rests AND (r.asked IS DISTINCT FROM g.obeyed OR r.arrivals <> g.arrivals)
                      THEN 'running' ELSE g.status END,
        due_at = CASE WHEN g.status = 'running'
                           OR g.rests AND (r.asked IS DISTINCT FROM g.obeyed OR r.arrivals <> g.arrivals)
                      THEN r.due_at ELSE now() + g.due_in * interval '1s' END,
        scheduled = r.scheduled + g.new_driver,
        driver = CASE WHEN g.new_driver = 1 THEN r.scheduled + 1 ELSE r.driver END,
        asked = CASE WHEN g.status = 'paused' THEN nullif(r.asked, 'pause') WHEN NOT g.over THEN r.asked END,
        output = g.output, error = g.error, failure = coalesce(g.failure, r.failure),
        response = coalesce(r.response, g.response), finished_at = CASE WHEN g.over THEN now() END,
        keep_until = now() + g.keep_days * interval '1d'
    FROM given g
    WHERE r.id = ANY(ARRAY(SELECT run FROM given))
        AND r.id = g.run AND r.epoch = g.epoch AND r.seq = g.seq AND r.status = g.held
    RETURNING r.id, org_id, workflow_id, r.status, asked, r.arrivals, driver, test, g.seq AS before, over
),"""
_GIVE: LiteralString = "SELECT id, status, asked, arrivals, driver FROM run"


def _short(statement: LiteralString) -> LiteralString:
    return " ".join(statement.split())


COMMIT = _short(_TAKE_ROWS + _STEPS_AND_EVENTS + _GIVE)
# Also for runs that end, wait, or tell something outside.
COMMIT_ALL = _short(_TAKE_ROWS + _STEPS_AND_EVENTS + _OUTSIDE + _GIVE)

# The claim on the occurrence comes first, so that a second delivery, even in parallel, starts nothing. The transaction
# may have waited for its turn at a limit, so a run's time is counted from here and not from where that began.
START: LiteralString = _short(
    """
WITH claimed AS (
    INSERT INTO event_starts (org_id, event_key, workflow_id, run_id)
    SELECT %(org)s, %(event_key)s, %(workflow)s, %(run)s WHERE %(event_key)s::text IS NOT NULL
    ON CONFLICT DO NOTHING RETURNING run_id
), run AS (
    INSERT INTO runs (id, org_id, workflow_id, workflow_version, status, trigger, output, error, failure, response,
                      epoch, scheduled, driver, due_at, seq, traceparent, finished_at, keep_until, priority, test,
                      samples, origin, started_by, source_run, parent_run, parent_path, created_at, deadline_at,
                      payer)
    SELECT %(run)s, %(org)s, %(workflow)s, %(version)s, %(status)s, %(trigger)s::jsonb, %(output)s::jsonb,
           %(error)s::jsonb, %(failure)s::jsonb, %(response)s::jsonb, 1, %(driver)s, %(driver)s,
           CASE WHEN %(status)s IN ('running', 'waiting') THEN clock_timestamp() + %(due_in)s * interval '1s' END,
           %(count)s, %(traceparent)s,
           CASE WHEN %(over)s THEN greatest(now(), %(started_at)s) END,
           greatest(now(), %(started_at)s) + %(keep_days)s * interval '1d',
           %(priority)s, %(test)s, %(samples)s::jsonb, %(origin)s, %(started_by)s, %(source_run)s, %(parent_run)s,
           %(parent_path)s, %(started_at)s, clock_timestamp() + %(timeout)s * interval '1s', %(payer)s::jsonb
    WHERE %(event_key)s::text IS NULL OR EXISTS (SELECT FROM claimed)
    RETURNING id, org_id, workflow_id, status, test, 0 AS before, finished_at IS NOT NULL AS over
),"""
    + _STEPS_AND_EVENTS
    + _OUTSIDE
    + "SELECT id FROM run"
)
STARTED_BEFORE = (
    "SELECT run_id FROM event_starts"
    " WHERE org_id = %(org)s AND event_key = %(event_key)s AND workflow_id = %(workflow)s"
)

# A driver may take the run when it had it last, or when nobody took it since the driver was asked for. Who drives it
# here may only in the second case, for otherwise its driver woke by itself and is at work; and takes a number of its
# own, so that no driver that slept can take it for its own again. A paused run that is moved to another version stays
# paused.
ACQUIRE = """
UPDATE runs SET epoch = epoch + 1, status = 'running', scheduled = scheduled + %(here)s,
    driver = CASE WHEN %(here)s = 1 THEN scheduled + 1 ELSE %(driver)s END,
    due_at = now() + %(lease)s * interval '1s'
WHERE id = %(run)s AND status IN ('running', 'waiting')
    AND (epoch = %(epoch)s OR (driver = %(driver)s AND %(here)s = 0))
RETURNING id, org_id, workflow_id, workflow_version, trigger, traceparent, epoch, seq, created_at, test, samples,
    arrivals, failure, asked, parent_run, payer,
    extract(epoch FROM deadline_at - clock_timestamp())::float8 AS left,
    coalesce((SELECT type FROM run_events WHERE run_id = runs.id AND type <> 'run.moved' ORDER BY run_events.seq DESC
              LIMIT 1) = 'run.paused', false) AS was_paused
"""
BROKE_DOWN = "UPDATE runs SET faults = faults + 1 WHERE id = %(run)s AND epoch = %(epoch)s RETURNING faults, seq"
STEPS = """
SELECT s.path, s.position, s.status, s.attempt, s.input, s.output, s.port, s.error, s.rounds, s.finished,
    extract(epoch FROM s.retry_at - clock_timestamp())::float8 AS retry_in,
    w.id AS wait_id, w.kind AS wait_kind, w.request AS wait_request, w.event_type, w.event_key,
    extract(epoch FROM w.until - clock_timestamp())::float8 AS wait_seconds
FROM steps s LEFT JOIN waits w ON w.run_id = s.run_id AND w.path = s.path AND s.status = 'waiting'
WHERE s.run_id = %(run)s ORDER BY s.position
"""
# Whose time is over. With the run's row held nothing can come for it in between: it came before, and the wait stays
# open, or it finds the wait closed. One that is closed already was so before its worker died.
HOLD = "SELECT id FROM runs WHERE id = %(run)s AND epoch = %(epoch)s FOR NO KEY UPDATE"
EXPIRE = """
UPDATE waits SET status = 'closed', until = least(until, clock_timestamp())
WHERE id = ANY(%(waits)s) AND EXISTS (SELECT FROM runs WHERE id = %(run)s AND epoch = %(epoch)s)
    AND (status = 'closed' OR NOT EXISTS (SELECT FROM arrivals WHERE wait_id = waits.id))
RETURNING path
"""
CHILDREN = "SELECT parent_path FROM runs WHERE parent_run = %(run)s"
ARRIVED = """
SELECT a.path, a.data FROM arrivals a JOIN waits w ON w.id = a.wait_id
WHERE a.run_id = %(run)s AND w.status = 'open'
"""
