-- What is not wanted any more, by the idempotency key it was asked for under. Kept for a day, so that work which comes
-- later than its stop does not begin.
CREATE TABLE stops (
    org_id text NOT NULL,
    key text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, key)
);
CREATE INDEX stops_by_age ON stops (org_id, at);
SELECT isolate_tenants('stops');
