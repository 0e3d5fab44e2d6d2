-- Models and aliases of organizations, beside those that are built in and those of the deployment.

CREATE TABLE models (
    org_id text NOT NULL,
    name text NOT NULL,
    id text NOT NULL UNIQUE,
    version integer NOT NULL DEFAULT 1,
    -- As it was sent: what is left out comes from the model it stands in for.
    definition jsonb NOT NULL,
    price_version integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, name)
);
SELECT isolate_tenants('models');

-- Every price there ever was, so that what a call cost stays explained. Outlives the model.
CREATE TABLE model_prices (
    org_id text NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    prices jsonb NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, name, version)
);
SELECT isolate_tenants('model_prices');

CREATE TABLE model_aliases (
    org_id text NOT NULL,
    name text NOT NULL,
    id text NOT NULL UNIQUE,
    version integer NOT NULL DEFAULT 1,
    -- Names of models and aliases, in the order they are asked.
    models text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, name)
);
SELECT isolate_tenants('model_aliases');
