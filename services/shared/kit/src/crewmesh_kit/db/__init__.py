"""PostgreSQL as a service uses it: tenant transactions, migrations, outbox, inbox, idempotency."""
