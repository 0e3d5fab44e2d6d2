-- Runs that steps of others started and that have not ended: looked through again and again for those that nobody waits
-- for any more.
CREATE INDEX IF NOT EXISTS runs_live_children ON runs (id) WHERE parent_run IS NOT NULL AND finished_at IS NULL;
