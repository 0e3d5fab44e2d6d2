-- The keys that access tokens are signed with. The private part is sealed under the secret session-master-key.
CREATE TABLE signing_keys (
    kid text PRIMARY KEY,
    public_jwk jsonb NOT NULL,
    sealed_jwk bytea NOT NULL,
    created_at timestamptz NOT NULL,
    -- Published before it signs, so that whoever keeps a copy of the published keys has it in time.
    signs_from timestamptz NOT NULL
);
SELECT only_for_the_system('signing_keys');
