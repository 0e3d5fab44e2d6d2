-- What people's accounts need beyond the people themselves. None of it belongs to one organization.

-- Mails on their way out. They carry links that let somebody in, so their text is encrypted; once sent they are gone.
CREATE TABLE mails (
    id text PRIMARY KEY,
    recipient text NOT NULL,
    sealed bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    -- Why the last attempt failed, and when it was the last of all.
    trouble text,
    gave_up_at timestamptz
);
CREATE INDEX mails_due ON mails (due_at) WHERE gave_up_at IS NULL;
SELECT only_for_the_system('mails');
-- What an organization does may send mails, though it never sees one.
CREATE POLICY anybody_writes ON mails FOR INSERT WITH CHECK (true);

-- What is done after the answer was given, so that the answer cannot tell whether there is such an account.
CREATE TABLE account_requests (
    id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('signup', 'resend', 'forgot', 'failed')),
    email text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    address text,
    agent text,
    created_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX account_requests_due ON account_requests (due_at, id);
SELECT only_for_the_system('account_requests');

-- Tokens that work once and not for long: of them only the hash is kept.
CREATE TABLE account_tokens (
    token_sha256 bytea PRIMARY KEY CHECK (length(token_sha256) = 32),
    purpose text NOT NULL CHECK (purpose IN ('signup', 'claim', 'reset', 'second-factor')),
    -- Nobody yet while somebody signs up.
    user_id text REFERENCES users (id) ON DELETE CASCADE,
    email text,
    detail jsonb NOT NULL DEFAULT '{}',
    tries integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX account_tokens_by_email ON account_tokens (purpose, lower(email));
CREATE INDEX account_tokens_of_a_user ON account_tokens (user_id, purpose);
CREATE INDEX account_tokens_expire ON account_tokens (expires_at);
SELECT only_for_the_system('account_tokens');

-- How often somebody failed, where or with what, by a hash of it; each runs empty with time.
CREATE TABLE attempts (
    mark bytea PRIMARY KEY CHECK (length(mark) = 32),
    level double precision NOT NULL DEFAULT 0,
    at timestamptz NOT NULL DEFAULT now(),
    -- A login succeeded with it; until then others' failures do not slow it down.
    trusted_until timestamptz
);
CREATE INDEX attempts_at ON attempts (at);
SELECT only_for_the_system('attempts');

-- In place of the second factor, once each.
CREATE TABLE recovery_codes (
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code_sha256 bytea NOT NULL CHECK (length(code_sha256) = 32),
    PRIMARY KEY (user_id, code_sha256)
);
SELECT only_for_the_system('recovery_codes');
