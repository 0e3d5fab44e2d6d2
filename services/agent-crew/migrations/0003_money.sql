-- What models cost, and the budgets that pay for it. Money is whole nano-dollars: nothing is ever rounded away.

-- One row per attempt to ask a model. It stands here, as reserved, before the provider hears of it.
CREATE TABLE model_calls (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    -- Under which it is asked once: all attempts to answer the same question have the same.
    key text NOT NULL,
    attempt integer NOT NULL,
    workflow text,
    run text,
    step text,
    crew_run text,
    crew text,
    agent text,
    conversation text,
    user_id text,
    key_id text,
    teams text[] NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    price_version text NOT NULL,
    input bigint NOT NULL,
    output bigint NOT NULL,
    cached bigint NOT NULL,
    written bigint NOT NULL,
    cost_nano bigint NOT NULL,
    reserved_nano bigint NOT NULL,
    latency_ms integer,
    outcome text NOT NULL CHECK (outcome IN ('reserved', 'ok', 'failed', 'unknown', 'cached', 'cancelled')),
    error text,
    at timestamptz NOT NULL,
    -- While it is reserved: when whoever asks is held to be gone, unless it has said something by then.
    until timestamptz,
    -- The balances that it was reserved in, and is settled in.
    balances bigint[] NOT NULL
);
CREATE INDEX model_calls_by_time ON model_calls (org_id, at, id);
-- Two never ask under the same key at the same time.
CREATE UNIQUE INDEX model_calls_under_way ON model_calls (org_id, key) WHERE outcome = 'reserved';
SELECT isolate_tenants('model_calls');

-- What was answered under a key. Whoever asks again under it gets this, and nothing is paid.
CREATE TABLE model_replies (
    org_id text NOT NULL,
    key text NOT NULL,
    call text NOT NULL,
    request_hash text NOT NULL,
    reply jsonb NOT NULL,
    cost_nano bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, key)
);
CREATE INDEX model_replies_by_age ON model_replies (org_id, at);
SELECT isolate_tenants('model_replies');

-- scope_id: whom it is for; without one, each of that kind has the whole limit for itself. switch_to: the model that is
-- asked instead once four fifths are spent.
CREATE TABLE budgets (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    name text NOT NULL,
    scope_kind text NOT NULL
        CHECK (scope_kind IN ('organization', 'team', 'workflow', 'agent', 'crew', 'run', 'user', 'key')),
    scope_id text,
    period text NOT NULL CHECK (period IN ('day', 'week', 'month', 'total')),
    limit_nano bigint NOT NULL CHECK (limit_nano >= 0),
    switch_to text,
    at_100 text NOT NULL CHECK (at_100 IN ('refuse', 'wait')),
    enabled boolean NOT NULL,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX budgets_of_an_organization ON budgets (org_id, id);
SELECT isolate_tenants('budgets');

-- One row per budget, whom it is for, and period. Whoever spends locks it; several are locked in the order of their ids.
-- extra: topped up. forgotten: spent by calls whose records are kept no more.
CREATE TABLE budget_balances (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id text NOT NULL,
    budget text NOT NULL REFERENCES budgets (id) ON DELETE CASCADE,
    scope_id text NOT NULL,
    period_start timestamptz NOT NULL,
    spent bigint NOT NULL DEFAULT 0,
    reserved bigint NOT NULL DEFAULT 0,
    extra bigint NOT NULL DEFAULT 0,
    forgotten bigint NOT NULL DEFAULT 0,
    warned_at timestamptz,
    used_up_at timestamptz,
    touched_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (budget, period_start, scope_id)
) WITH (fillfactor = 70);
SELECT isolate_tenants('budget_balances');

CREATE TABLE budget_top_ups (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    budget text NOT NULL REFERENCES budgets (id) ON DELETE CASCADE,
    scope_id text NOT NULL,
    period_start timestamptz NOT NULL,
    amount_nano bigint NOT NULL CHECK (amount_nano > 0),
    reason text NOT NULL,
    by text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX budget_top_ups_of_a_budget ON budget_top_ups (org_id, budget, id);
SELECT isolate_tenants('budget_top_ups');

-- Calendar periods in UTC. What has no period began when time did.
CREATE FUNCTION budget_period_start(p_period text) RETURNS timestamptz
LANGUAGE sql STABLE AS $function$
    SELECT CASE p_period WHEN 'total' THEN 'epoch'::timestamptz ELSE date_trunc(p_period, now(), 'UTC') END
$function$;

CREATE FUNCTION budget_limit(p_budget budgets, p_balance budget_balances) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $function$
    SELECT p_budget.limit_nano + p_balance.extra
$function$;

-- A budget and one balance of it, as whoever asked is told.
CREATE FUNCTION budget_as_told(p_what text, p_budget budgets, p_balance budget_balances) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $function$
    SELECT jsonb_build_object(
        'what', p_what, 'budget', p_budget.id, 'name', p_budget.name, 'scope_kind', p_budget.scope_kind,
        'scope_id', p_balance.scope_id, 'period', p_budget.period, 'period_start', p_balance.period_start,
        'limit', budget_limit(p_budget, p_balance), 'spent', p_balance.spent, 'reserved', p_balance.reserved,
        'at_100', p_budget.at_100
    )
$function$;

-- Reserves in every budget that pays for one of these, or in none. What it gives: the balances; or refused, with those
-- that have not enough left; or switch, with the model to ask instead. told: what happened to budgets for the first time.
CREATE FUNCTION reserve_in_budgets(
    p_org text, p_kinds text[], p_ids text[], p_worst bigint, p_may_switch boolean
) RETURNS jsonb
LANGUAGE plpgsql AS $function$
DECLARE
    matched record;
    budget budgets;
    balance budget_balances;
    balances bigint[] := '{}';
    refused jsonb := '[]';
    told jsonb := '[]';
    alias text;
BEGIN
    INSERT INTO budget_balances (org_id, budget, scope_id, period_start)
    SELECT b.org_id, b.id, c.id, budget_period_start(b.period)
    FROM budgets b JOIN unnest(p_kinds, p_ids) AS c (kind, id)
        ON c.kind = b.scope_kind AND c.id = coalesce(b.scope_id, c.id)
    WHERE b.org_id = p_org AND b.enabled AND NOT EXISTS (
        SELECT FROM budget_balances s
        WHERE s.budget = b.id AND s.scope_id = c.id AND s.period_start = budget_period_start(b.period)
    )
    ORDER BY b.id, c.id
    ON CONFLICT DO NOTHING;
    FOR matched IN
        SELECT b AS budget, s AS balance
        FROM budgets b
        JOIN unnest(p_kinds, p_ids) AS c (kind, id) ON c.kind = b.scope_kind AND c.id = coalesce(b.scope_id, c.id)
        JOIN budget_balances s
            ON s.budget = b.id AND s.scope_id = c.id AND s.period_start = budget_period_start(b.period)
        WHERE b.org_id = p_org AND b.enabled
        ORDER BY s.id FOR UPDATE OF s
    LOOP
        budget := matched.budget;
        balance := matched.balance;
        balances := balances || balance.id;
        -- What costs nothing is never refused.
        IF p_worst > 0 AND balance.spent + balance.reserved + p_worst > budget_limit(budget, balance) THEN
            refused := refused || budget_as_told('refused', budget, balance);
            alias := coalesce(alias, budget.switch_to);
        ELSIF p_worst > 0 AND balance.spent >= budget_limit(budget, balance) * 0.8 THEN
            alias := coalesce(alias, budget.switch_to);
        END IF;
    END LOOP;
    IF p_may_switch AND alias IS NOT NULL THEN
        RETURN jsonb_build_object('switch', alias);
    END IF;
    IF refused = '[]' THEN
        UPDATE budget_balances SET reserved = reserved + p_worst, touched_at = now() WHERE id = ANY(balances);
        RETURN jsonb_build_object('balances', to_jsonb(balances));
    END IF;
    FOR matched IN
        SELECT s.id, budget_as_told('used_up', b, s) AS told FROM budget_balances s JOIN budgets b ON b.id = s.budget
        WHERE s.id = ANY(balances) AND s.used_up_at IS NULL AND s.spent + p_worst > budget_limit(b, s)
    LOOP
        UPDATE budget_balances SET used_up_at = now() WHERE id = matched.id;
        told := told || matched.told;
    END LOOP;
    RETURN jsonb_build_object('refused', refused, 'told', told);
END
$function$;

-- Turns what was reserved into what it cost. Gives what happened to budgets for the first time.
CREATE FUNCTION settle_in_budgets(p_balances bigint[], p_reserved bigint, p_cost bigint) RETURNS jsonb
LANGUAGE plpgsql AS $function$
DECLARE
    budget budgets;
    balance budget_balances;
    told jsonb := '[]';
BEGIN
    FOR balance IN SELECT * FROM budget_balances WHERE id = ANY(p_balances) ORDER BY id FOR UPDATE LOOP
        SELECT * INTO budget FROM budgets WHERE id = balance.budget;
        balance.reserved := balance.reserved - p_reserved;
        balance.spent := balance.spent + p_cost;
        IF p_cost > 0 AND balance.used_up_at IS NULL THEN
            IF balance.spent >= budget_limit(budget, balance) THEN
                balance.used_up_at := now();
                told := told || budget_as_told('used_up', budget, balance);
            ELSIF balance.warned_at IS NULL AND balance.spent >= budget_limit(budget, balance) * 0.8 THEN
                balance.warned_at := now();
                told := told || budget_as_told('nearly_used', budget, balance);
            END IF;
        END IF;
        UPDATE budget_balances
        SET reserved = balance.reserved, spent = balance.spent, warned_at = balance.warned_at,
            used_up_at = balance.used_up_at, touched_at = now()
        WHERE id = balance.id;
    END LOOP;
    RETURN told;
END
$function$;

-- Nobody will ever know what became of it: money that may have been spent counts as spent.
CREATE FUNCTION give_up_model_call(p_id text) RETURNS jsonb
LANGUAGE plpgsql AS $function$
DECLARE
    begun model_calls;
BEGIN
    SELECT * INTO begun FROM model_calls WHERE id = p_id AND outcome = 'reserved' AND until < now() FOR UPDATE;
    IF NOT FOUND THEN
        RETURN '[]';
    END IF;
    UPDATE model_calls SET outcome = 'unknown', cost_nano = reserved_nano, until = NULL WHERE id = p_id;
    RETURN settle_in_budgets(begun.balances, begun.reserved_nano, begun.reserved_nano);
END
$function$;

-- The first of two transactions around a call. What it gives: done, with what was answered before; or under_way, when
-- somebody else is asking; or refused or switch, as budgets say; or balances: then it may be asked. Bears repetition.
CREATE FUNCTION begin_model_call(
    p_call jsonb, p_kinds text[], p_ids text[], p_seconds double precision, p_may_switch boolean
) RETURNS jsonb
LANGUAGE plpgsql AS $function$
DECLARE
    asked model_calls := jsonb_populate_record(NULL::model_calls, p_call);
    before model_calls;
    answered model_replies;
    told jsonb := '[]';
    reserved jsonb;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(asked.org_id || ' ' || asked.key, 0));
    -- In this order: what is not under way any more has its answer written down by now.
    SELECT * INTO before FROM model_calls WHERE org_id = asked.org_id AND key = asked.key AND outcome = 'reserved';
    IF before.id = asked.id THEN
        RETURN jsonb_build_object('balances', to_jsonb(before.balances), 'told', told);
    END IF;
    IF FOUND AND before.until >= now() THEN
        RETURN jsonb_build_object('under_way', before.id);
    END IF;
    SELECT * INTO answered FROM model_replies WHERE org_id = asked.org_id AND key = asked.key;
    IF FOUND THEN
        RETURN jsonb_build_object(
            'done', answered.reply, 'cost', answered.cost_nano, 'request_hash', answered.request_hash);
    END IF;
    IF before.id IS NOT NULL THEN
        told := give_up_model_call(before.id);
    END IF;
    reserved := reserve_in_budgets(asked.org_id, p_kinds, p_ids, asked.reserved_nano, p_may_switch);
    IF reserved ? 'balances' THEN
        asked.balances := ARRAY(SELECT value::bigint FROM jsonb_array_elements_text(reserved -> 'balances'));
        asked.attempt := greatest(asked.attempt, before.attempt + 1);
        asked.at := now();
        asked.until := now() + p_seconds * interval '1 second';
        asked.outcome := 'reserved';
        INSERT INTO model_calls SELECT asked.*;
    END IF;
    RETURN reserved || jsonb_build_object('told', told || coalesce(reserved -> 'told', '[]'));
END
$function$;

-- The second: what it cost, and what was answered, if anything. Bears repetition. What it gives: other, when something
-- else had been written down as the answer before; and told. Whoever was held to be gone may still say how it ended.
CREATE FUNCTION end_model_call(p_end jsonb, p_request_hash text, p_reply jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $function$
DECLARE
    ended model_calls := jsonb_populate_record(NULL::model_calls, p_end);
    begun model_calls;
    told jsonb := '[]';
    other model_replies;
BEGIN
    SELECT * INTO begun FROM model_calls WHERE id = ended.id FOR UPDATE;
    IF begun.outcome IN ('reserved', 'unknown') THEN
        UPDATE model_calls
        SET outcome = ended.outcome, cost_nano = ended.cost_nano, input = ended.input, output = ended.output,
            cached = ended.cached, written = ended.written, latency_ms = ended.latency_ms, error = ended.error,
            until = NULL
        WHERE id = begun.id;
        told := CASE begun.outcome
            WHEN 'reserved' THEN settle_in_budgets(begun.balances, begun.reserved_nano, ended.cost_nano)
            ELSE settle_in_budgets(begun.balances, 0, ended.cost_nano - begun.cost_nano)
        END;
    END IF;
    IF p_reply IS NOT NULL AND begun.id IS NOT NULL THEN
        INSERT INTO model_replies (org_id, key, call, request_hash, reply, cost_nano)
        VALUES (begun.org_id, begun.key, begun.id, p_request_hash, p_reply, ended.cost_nano)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            SELECT * INTO other FROM model_replies r
            WHERE r.org_id = begun.org_id AND r.key = begun.key AND r.call <> begun.id;
        END IF;
    END IF;
    RETURN jsonb_build_object('told', told)
        || CASE WHEN other.call IS NULL THEN '{}'
            ELSE jsonb_build_object('other', other.reply, 'cost', other.cost_nano) END;
END
$function$;
