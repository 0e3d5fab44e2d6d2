-- One row per attempt to send something out of the mesh. It is written before the bytes leave and completed afterwards;
-- a row that stays at 'sending' is an attempt whose outcome nobody saw, because the service died in the middle.
CREATE TABLE deliveries (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    run text,
    idempotency_key text NOT NULL,
    method text NOT NULL,
    -- Without the query, which may hold secrets.
    host text NOT NULL,
    path text NOT NULL,
    outcome text NOT NULL DEFAULT 'sending'
        CHECK (outcome IN ('sending', 'answered', 'refused', 'unavailable', 'blocked', 'unknown')),
    -- Whether the request may be sent again when nobody knows whether it took effect.
    repeatable boolean NOT NULL DEFAULT true,
    status integer,
    duration_ms integer,
    error text,
    at timestamptz NOT NULL DEFAULT now()
);
-- Ids are ordered by time. Outcome stands in no index, so that completing a row does not touch one.
CREATE INDEX deliveries_by_organization ON deliveries (org_id, id DESC);
CREATE INDEX deliveries_by_run ON deliveries (org_id, run, id DESC);
-- What must not be sent twice is looked for before it is sent. Few requests are of this kind, the others pay nothing.
CREATE INDEX deliveries_never_twice ON deliveries (org_id, idempotency_key, id DESC) WHERE NOT repeatable;
CREATE INDEX deliveries_by_age ON deliveries USING brin (at);
SELECT isolate_tenants('deliveries');
