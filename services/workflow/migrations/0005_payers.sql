-- In whose name a run works: models that it asks are paid by their budgets. Those who started it, or their parents' run.
ALTER TABLE runs ADD COLUMN payer jsonb;
