-- Knowledge bases hold documents, documents are cut into chunks, chunks are what is searched.
-- References carry the organization with them, so that no row can ever point into another organization.

CREATE TABLE knowledge_bases (
    id          text PRIMARY KEY,
    org_id      text NOT NULL,
    name        text NOT NULL,
    description text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (org_id, name),
    UNIQUE (org_id, id)
);

CREATE TABLE documents (
    id           text PRIMARY KEY,
    org_id       text NOT NULL,
    base_id      text NOT NULL,
    title        text NOT NULL,
    text         text NOT NULL,
    content_hash bytea NOT NULL,
    chunk_count  integer NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (base_id, content_hash),
    UNIQUE (base_id, id),
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, base_id) REFERENCES knowledge_bases (org_id, id) ON DELETE CASCADE
);

-- No approximate index on embedding: a search looks at one base, and post-filtering an index over all of them would miss
-- most of its rows. An exact scan of one base is faster up to some 20,000 chunks. The same holds for the words.
CREATE TABLE chunks (
    id          text PRIMARY KEY,
    org_id      text NOT NULL,
    base_id     text NOT NULL,
    document_id text NOT NULL,
    position    integer NOT NULL,
    start       integer NOT NULL,
    text        text NOT NULL,
    words       tsvector NOT NULL,
    embedding   vector(384),
    UNIQUE (document_id, position),
    FOREIGN KEY (org_id, base_id) REFERENCES knowledge_bases (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, document_id) REFERENCES documents (org_id, id) ON DELETE CASCADE
) WITH (toast_tuple_target = 4080); -- a row is some 3 kB; the scan must not fetch every vector from a second table

CREATE INDEX chunks_of_a_base ON chunks (base_id);
-- The work that is left, in the order in which it is done.
CREATE INDEX chunks_without_vector ON chunks (position, id) WHERE embedding IS NULL;
CREATE INDEX chunks_without_vector_of_a_document ON chunks (document_id) WHERE embedding IS NULL;

SELECT isolate_tenants('knowledge_bases');
SELECT isolate_tenants('documents');
SELECT isolate_tenants('chunks');
