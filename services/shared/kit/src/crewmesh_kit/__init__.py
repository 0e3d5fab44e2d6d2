"""How every Crewmesh service runs: app factory, errors, settings, Dapr, database, telemetry. No domain words."""
