-- Every organization has the plan that the installation gives to those that were given none.
ALTER TABLE organizations ALTER COLUMN plan SET DEFAULT 'default';
UPDATE organizations SET plan = 'default';
ALTER TABLE organizations
    ADD CONSTRAINT organizations_plan_is_known CHECK (plan IN ('default', 'free', 'pro', 'team', 'enterprise'));
