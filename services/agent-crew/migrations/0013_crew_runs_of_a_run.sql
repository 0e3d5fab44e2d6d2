-- What the steps of one run of a workflow set to work: what one of them has seen counts for the others.
CREATE INDEX crew_runs_of_a_run ON crew_runs (org_id, (charge->>'run')) WHERE charge->>'run' IS NOT NULL;
