"""What every alert is tried with: series on which it fires, and some on which it does not.

Values are written as promtool reads them: ``0+60x30`` begins at 0 and adds 60 in each of 30 more minutes.
"""

from __future__ import annotations

from dataclasses import dataclass

Series = dict[str, str]

_REQUESTS = 'crewmesh_http_requests_total{app="gateway",route="/v1/runs",status="%s"}'
_SECONDS = 'crewmesh_http_request_seconds_bucket{app="gateway",route="/v1/runs",le="%s"}'
_ENDED = 'crewmesh_workflow_runs_finished_total{status="%s"}'
_CREWS = 'crewmesh_crew_runs_total{kind="crew",outcome="%s"}'
_ASKED = 'crewmesh_model_attempts_total{model="m",outcome="%s"}'
_CONTROL_PLANE = 'up{job="control-plane",app="%s"}'
_FREE = 'node_filesystem_avail_bytes{instance="host",mountpoint="/",fstype="ext4"}'
_SIZE = 'node_filesystem_size_bytes{instance="host",mountpoint="/",fstype="ext4"}'
_BACKUP = "crewmesh_backup_last_success_timestamp_seconds"


@dataclass(frozen=True)
class Case:
    """At ``minute`` the alert fires on the one and not on the other."""

    fires: Series
    quiet: Series
    minute: int = 30


def _answers(wrong: int, minutes: int) -> Series:
    """Of 1000 requests a minute, so many are answered with 500."""
    return {_REQUESTS % 200: f"0+{1000 - wrong}x{minutes}", _REQUESTS % 500: f"0+{wrong}x{minutes}"}


def _up(job: str, value: int) -> Series:
    return {f'up{{job="{job}",app="workflow"}}': f"{value}x60"}


def _gauge(name: str, value: int, minutes: int = 60) -> Series:
    return {name: f"{value}x{minutes}"}


def _counter(name: str, each_minute: float) -> Series:
    return {name: f"0+{each_minute}x60"}


def _control_plane(*apps: str) -> Series:
    return {_CONTROL_PLANE % app: "1x60" for app in apps}


CASES: dict[str, Case] = {
    "ServiceDown": Case(_up("services", 0), _up("services", 1)),
    "SidecarDown": Case(_up("sidecars", 0), _up("sidecars", 1)),
    "ControlPlaneDown": Case(_up("control-plane", 0), _up("control-plane", 1)),
    "ControlPlaneMissing": Case(
        _control_plane("sentry", "placement"), _control_plane("sentry", "placement", "scheduler")
    ),
    "NoWorkers": Case(
        _gauge("dapr_placement_actor_runtimes_total", 0), _gauge("dapr_placement_actor_runtimes_total", 1)
    ),
    "SchedulerAlone": Case(
        _gauge("dapr_scheduler_sidecars_connected", 0), _gauge("dapr_scheduler_sidecars_connected", 5)
    ),
    "StoreDown": Case(
        {'pg_up{app="postgres"}': "1x60", 'redis_up{app="valkey"}': "0x60"},
        {'pg_up{app="postgres"}': "1x60", 'redis_up{app="valkey"}': "1x60"},
    ),
    "ErrorBudgetBurnsFast": Case(_answers(20, 120), _answers(10, 120), minute=90),
    # A burst that is over keeps the long window high; the short one lets the alert end.
    "ErrorBudgetBurns": Case(
        _answers(8, 400),
        {_REQUESTS % 200: "0+992x300 297600+1000x100", _REQUESTS % 500: "0+8x300 2400x100"},
        minute=380,
    ),
    "ErrorBudgetLeaks": Case(
        _answers(2, 800), {_REQUESTS % 200: "0+10000x800", _REQUESTS % 500: "0+5x800"}, minute=780
    ),
    "ManyErrors": Case(_answers(30, 60), _answers(10, 60)),
    "SlowAnswers": Case(
        {_SECONDS % 2.5: "0+50x60", _SECONDS % 5: "0+60x60", _SECONDS % "+Inf": "0+60x60"},
        {_SECONDS % 2.5: "0+60x60", _SECONDS % 5: "0+60x60", _SECONDS % "+Inf": "0+60x60"},
    ),
    "RunsFail": Case(
        {_ENDED % "failed": "0+3x60", _ENDED % "completed": "0+7x60"},
        {_ENDED % "failed": "0+1x60", _ENDED % "completed": "0+9x60"},
        minute=45,
    ),
    "RunsOverdue": Case(_gauge("crewmesh_workflow_due_runs", 51), _gauge("crewmesh_workflow_due_runs", 50)),
    "ModelCallsWait": Case(_gauge("crewmesh_model_calls_waiting", 51), _gauge("crewmesh_model_calls_waiting", 50)),
    # What somebody cancelled does not count.
    "ModelFails": Case(
        {_ASKED % "busy": "0+6x60", _ASKED % "ok": "0+4x60"},
        {_ASKED % "busy": "0+4x60", _ASKED % "ok": "0+6x60", _ASKED % "cancelled": "0+90x60"},
        minute=45,
    ),
    "CrewRunsFail": Case(
        {_CREWS % "failed": "0+3x60", _CREWS % "completed": "0+7x60"},
        {_CREWS % "failed": "0+1x60", _CREWS % "completed": "0+9x60", _CREWS % "waiting": "0+9x60"},
    ),
    "AgentsForget": Case(
        _counter('crewmesh_memory_failures_total{app="agent-crew",what="recall"}', 1),
        _counter('crewmesh_memory_failures_total{app="agent-crew",what="recall"}', 0.5),
    ),
    "LedgerMismatch": Case(_gauge("crewmesh_budget_ledger_mismatch", 1), _gauge("crewmesh_budget_ledger_mismatch", 0)),
    "BackgroundTaskFails": Case(
        _counter('crewmesh_background_failures_total{app="workflow",task="relay"}', 1),
        _counter('crewmesh_background_failures_total{app="workflow",task="relay"}', 0.2),
    ),
    "EventsStayInTheOutbox": Case(
        _counter('dapr_component_pubsub_egress_bulk_count{app="workflow",topic="t",success="false"}', 1),
        _counter('dapr_component_pubsub_egress_bulk_count{app="workflow",topic="t",success="true"}', 1),
    ),
    # The first one counts: a counter that begins at 1 has not increased.
    "DeadLetters": Case(
        {'dapr_component_pubsub_ingress_count{app="gateway",topic="runs.dead",status="success"}': "_x20 1x40"},
        {'dapr_component_pubsub_ingress_count{app="gateway",topic="runs.dead",status="success"}': "1x60"},
    ),
    "CircuitOpen": Case(
        _gauge('dapr_resiliency_cb_state{app="workflow",target="knowledge",status="open"}', 1),
        _gauge('dapr_resiliency_cb_state{app="workflow",target="knowledge",status="open"}', 0),
    ),
    "CallsRefused": Case(
        _counter('dapr_runtime_acl_app_policy_action_blocked_total{app="knowledge",src_app_id="gateway"}', 1),
        _counter('dapr_runtime_acl_app_policy_action_blocked_total{app="knowledge",src_app_id="gateway"}', 0),
    ),
    "AuthorityRunsOut": Case(
        _gauge("dapr_sentry_issuercert_expiry_timestamp", 13 * 86400, 120),
        _gauge("dapr_sentry_issuercert_expiry_timestamp", 15 * 86400, 120),
        minute=90,
    ),
    "BackupTooOld": Case(_gauge(_BACKUP, 0, 1800), {_BACKUP: "0x700 42000x1100"}, minute=1700),
    "BackupUnknown": Case({}, _gauge(_BACKUP, 0, 1800), minute=1500),
    "DiskFills": Case({_FREE: "9x60", _SIZE: "100x60"}, {_FREE: "11x60", _SIZE: "100x60"}),
}
