-- Somebody who belongs to no organization can be logged in.
ALTER TABLE sessions ALTER COLUMN org_id DROP NOT NULL;
