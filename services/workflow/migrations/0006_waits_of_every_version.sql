-- Runs of every version may come to a wait, for old runs are done again with their version. Here are the types of events
-- that versions before the newest wait for, and that publishing a newer one took away.
INSERT INTO triggers (id, org_id, workflow_id, workflow_version, key, kind, event_type)
SELECT 'trg_' || md5(workflow_id || ' ' || type), org_id, workflow_id, max(version),
       'wait:' || encode(sha256(convert_to(type, 'UTF8')), 'hex'), 'wait', type
FROM (SELECT org_id, workflow_id, version,
             jsonb_path_query(definition,
                              '$.** ? (@.kind == "wait_event").type ? (@.type() == "string")') #>> '{}' AS type
      FROM workflow_versions WHERE version > 0) AS waited
GROUP BY org_id, workflow_id, type
ON CONFLICT (workflow_id, key) DO NOTHING;
