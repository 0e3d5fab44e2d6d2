-- Keys are listed, renamed and rotated.

ALTER TABLE api_keys ADD COLUMN version integer NOT NULL DEFAULT 1;
CREATE INDEX api_keys_of_an_organization ON api_keys (org_id, id);
CREATE INDEX service_accounts_of_an_organization ON service_accounts (org_id, id);
