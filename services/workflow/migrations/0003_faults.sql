-- How often the engine itself broke down over a run. Such a run is tried again, but not for ever.
ALTER TABLE runs ADD COLUMN faults integer NOT NULL DEFAULT 0;
