-- For how many days an organization wants its data of one kind kept, where it said so.
CREATE TABLE retention_policies (
    org_id text NOT NULL,
    kind text NOT NULL,
    days integer NOT NULL CHECK (days >= 1),
    PRIMARY KEY (org_id, kind)
);
SELECT isolate_tenants('retention_policies');
