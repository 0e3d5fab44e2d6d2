-- What crews remember: short texts in namespaces, found by nearness of meaning. A search looks at a few namespaces, each
-- of which holds some thousand rows at most, so it scans them all and needs no approximate index.
CREATE TABLE memories (
    org_id    text NOT NULL,
    namespace text NOT NULL,
    id        text NOT NULL,
    text      text NOT NULL,
    trusted   boolean NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    embedding vector(384) NOT NULL,
    PRIMARY KEY (org_id, namespace, id)
) WITH (toast_tuple_target = 4080);
CREATE INDEX memories_by_age ON memories (org_id, namespace, at);
SELECT isolate_tenants('memories');
