"""Names of metrics that are not ours. Tests of the running mesh ask its programs for those of Dapr."""

from __future__ import annotations

# What daprd, placement, scheduler and sentry 1.18 tell, as far as it is asked for.
OF_DAPR = {
    "dapr_component_pubsub_egress_bulk_count",
    "dapr_component_pubsub_ingress_count",
    "dapr_placement_actor_runtimes_total",
    "dapr_placement_runtimes_total",
    "dapr_resiliency_cb_state",
    "dapr_runtime_acl_app_policy_action_blocked_total",
    "dapr_runtime_service_invocation_req_sent_total",
    "dapr_scheduler_sidecars_connected",
    "dapr_sentry_cert_sign_success_total",
    "dapr_sentry_issuercert_expiry_timestamp",
}
# Of programs that run in compose and Kubernetes only (Kong 3.9, postgres_exporter, redis_exporter, node_exporter), and
# of the file that the backup command writes. Taken from documentation and sources; no test here can ask them.
OF_OTHERS = {
    "crewmesh_backup_last_success_timestamp_seconds",
    "kong_http_requests_total",
    "kong_nginx_connections_total",
    "kong_request_latency_ms_bucket",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "pg_database_size_bytes",
    "pg_stat_activity_max_tx_duration",
    "pg_stat_database_blks_read",
    "pg_stat_database_deadlocks",
    "pg_stat_database_numbackends",
    "pg_stat_database_xact_commit",
    "pg_stat_database_xact_rollback",
    "pg_up",
    "redis_aof_last_write_status",
    "redis_commands_processed_total",
    "redis_connected_clients",
    "redis_evicted_keys_total",
    "redis_memory_max_bytes",
    "redis_memory_used_bytes",
    "redis_up",
}
