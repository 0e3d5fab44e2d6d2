-- An organization's accounts at providers of models.

-- What its secrets are sealed with, wrapped by the master key; without the row nothing of them can be read any more.
CREATE TABLE data_keys (
    org_id text PRIMARY KEY,
    wrapped_secret bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

SELECT isolate_tenants('data_keys');

CREATE TABLE provider_accounts (
    org_id text NOT NULL,
    name text NOT NULL,
    id text NOT NULL UNIQUE,
    version integer NOT NULL DEFAULT 1,
    kind text NOT NULL,
    base_url text NOT NULL,
    options jsonb NOT NULL,
    -- The key itself, sealed for this row, and what of it may be shown.
    sealed_api_key bytea,
    key_ends_in text,
    key_set_at timestamptz,
    -- Or the name of a secret that the deployment gives.
    key_secret text,
    most_at_once integer,
    requests_per_minute integer,
    tokens_per_minute integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, name),
    CHECK (sealed_api_key IS NULL OR key_secret IS NULL)
);

SELECT isolate_tenants('provider_accounts');
