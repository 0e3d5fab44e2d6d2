-- What crews did is kept as crew runs; policies that were made for it before hold on.
UPDATE retention_policies SET kind = 'crew-runs' WHERE kind = 'kickoffs';
