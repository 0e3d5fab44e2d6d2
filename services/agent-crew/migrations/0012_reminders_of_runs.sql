-- What the turns of a run were reminded of is of no use without the run, and holds words of people: it goes with it.
DELETE FROM reminders WHERE NOT EXISTS (SELECT FROM crew_runs WHERE crew_runs.id = reminders.crew_run);
CREATE INDEX reminders_of_a_crew_run ON reminders (crew_run);
ALTER TABLE reminders ADD FOREIGN KEY (crew_run) REFERENCES crew_runs ON DELETE CASCADE;
