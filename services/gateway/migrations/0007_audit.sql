-- The audit log: per organization one chain of lines, each sealed with a hash over itself and the hash before it.

-- Where each chain stands. What came up to the anchor is gone because its time was over; the chain begins behind it.
CREATE TABLE audit_heads (
    org_id text PRIMARY KEY REFERENCES organizations (id) ON DELETE CASCADE,
    seq bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (length(hash) = 32),
    anchor_seq bigint NOT NULL DEFAULT 0,
    anchor_hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (length(anchor_hash) = 32),
    CHECK (anchor_seq BETWEEN 0 AND seq)
);
SELECT isolate_tenants('audit_heads');

CREATE TABLE audit_events (
    org_id text NOT NULL REFERENCES audit_heads (org_id) ON DELETE CASCADE,
    -- The order of arrival, without gaps.
    seq bigint NOT NULL,
    id text NOT NULL,
    -- When it happened, and when the log heard of it.
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    actor text NOT NULL,
    acting_for text,
    action text NOT NULL,
    resource text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('done', 'denied')),
    -- JSON as text, for jsonb would change what the hash is made of.
    before text,
    after text,
    address text,
    agent text,
    trace text,
    previous bytea NOT NULL CHECK (length(previous) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (org_id, seq),
    UNIQUE (org_id, id)
);
CREATE INDEX audit_events_by_actor ON audit_events (org_id, actor, seq);
CREATE INDEX audit_events_by_action ON audit_events (org_id, action text_pattern_ops, seq);
CREATE INDEX audit_events_by_resource ON audit_events (org_id, resource, seq);
CREATE INDEX audit_events_by_time ON audit_events (org_id, at);
SELECT isolate_tenants('audit_events');

-- Lines are added, and leave at the old end when their time is over (the transaction says so), or with their organization.
CREATE FUNCTION audit_is_only_added_to() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF TG_OP = 'DELETE' AND TG_LEVEL = 'ROW' THEN
        -- Deeper than 1: the organization itself is deleted, and everything that is its.
        IF pg_trigger_depth() > 1 OR current_setting('app.audit_retention', true) = OLD.org_id THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'insufficient_privilege';
END
$function$;
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_is_only_added_to();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_only_added_to();
REVOKE UPDATE, TRUNCATE ON audit_events FROM CURRENT_USER;

-- A chain's end moves forward only, and so does its beginning.
CREATE FUNCTION audit_heads_move_forward() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF pg_trigger_depth() > 1 THEN
            RETURN OLD;
        END IF;
    ELSIF NEW.org_id = OLD.org_id AND NEW.seq >= OLD.seq AND NEW.anchor_seq >= OLD.anchor_seq THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'insufficient_privilege';
END
$function$;
CREATE TRIGGER move_forward BEFORE UPDATE OR DELETE ON audit_heads
    FOR EACH ROW EXECUTE FUNCTION audit_heads_move_forward();
