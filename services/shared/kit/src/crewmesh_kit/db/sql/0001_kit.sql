-- What every service's schema holds for the kit itself, and the one way to make a table a tenant table.

-- Services call this in their migrations: SELECT isolate_tenants('documents');
-- The table needs a column org_id. The settings are read once per statement, not once per row.
CREATE FUNCTION isolate_tenants(tenant_table regclass) RETURNS void
LANGUAGE plpgsql AS $function$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tenant_table);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', tenant_table);
    EXECUTE format(
        $policy$CREATE POLICY one_organization ON %s USING (
            org_id = (SELECT current_setting('app.org_id', true))
            OR (SELECT current_setting('app.org_id', true)) = '*'
        )$policy$,
        tenant_table
    );
END
$function$;

-- Events that are committed together with what they tell, until the relay has published them.
CREATE TABLE outbox (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id text NOT NULL,
    topic text NOT NULL,
    event text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_due ON outbox (due_at, position);
SELECT isolate_tenants('outbox');

-- Which events a consumer has dealt with. No tenant data: sources and ids only.
CREATE TABLE inbox (
    consumer text NOT NULL,
    -- Part of the key, so that no organization's event hides another's; empty where an event has none.
    org_id text NOT NULL,
    event_key text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, org_id, event_key)
);
CREATE INDEX inbox_seen_at ON inbox (seen_at);

-- What was asked under an Idempotency-Key, and what was answered.
CREATE TABLE idempotency (
    org_id text NOT NULL,
    scope text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    holder text,
    lease_until timestamptz,
    status integer,
    body jsonb,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, scope, key)
);
CREATE INDEX idempotency_at ON idempotency (at);
SELECT isolate_tenants('idempotency');

-- Events that could not be handled. A message that names no organization is seen by operators only.
CREATE TABLE dead_letters (
    id text PRIMARY KEY,
    org_id text,
    topic text NOT NULL,
    event jsonb,
    raw text,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    redriven_at timestamptz
);
CREATE INDEX dead_letters_by_organization ON dead_letters (org_id, id);
SELECT isolate_tenants('dead_letters');
