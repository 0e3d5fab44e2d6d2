"""The durable workflow engine: definitions, triggers, runs, journal."""
