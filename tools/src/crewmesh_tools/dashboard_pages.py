"""What Grafana's dashboards show: every page, row and panel, each query with the legend of its lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Panel:
    """``shows``: a graph of Prometheus' metrics; or, as wide as the page, lines of Loki or a list of Tempo's traces."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    shows: Literal["graph", "logs", "traces"] = "graph"


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Page:
    """``asks``: what somebody who opens it fills in, by the name that queries have for it."""

    uid: str
    title: str
    rows: Sequence[Row]
    asks: Mapping[str, str] = field(default_factory=dict[str, str])


_REACHABLE = Panel("Reachable", {'up{job=~"services|sidecars|control-plane"}': "{{job}} {{app}}"})
_REQUESTS = Panel("Requests", {"app:http_requests:rate5m": "{{app}}"}, "reqps")
_ERRORS = Panel("Share of 5xx", {"app:http_errors:ratio_rate5m": "{{app}}"}, "percentunit")
_P99 = Panel("Public answers, p99", {"app:http_seconds:p99_5m": "{{app}}"}, "s")
_STARTED = Panel("Started", {"mesh:runs_started:rate5m": "started"}, "ops")
_FINISHED = Panel("Finished", {"mesh:runs_finished:rate5m": "{{status}}"}, "ops")
_DUE = Panel("Due and not yet taken", {"crewmesh_workflow_due_runs": "{{app}}"})
_SPENT = Panel("Spent within an hour", {"mesh:cost_dollars:increase1h": "US dollars"}, "currencyUSD")
_POOL = Panel(
    "Model calls", {"sum(crewmesh_model_calls_running)": "running", "sum(crewmesh_model_calls_waiting)": "waiting"}
)
_WRONG = Panel(
    "Lines that somebody should see", {'{service_name=~".+", level=~"error|critical|fatal"}': ""}, shows="logs"
)
_DEAD = Panel("New dead letters in 15 minutes", {"app:dead_letters:increase15m": "{{app}} {{topic}}"})

OVERVIEW = Page(
    "overview",
    "Overview",
    [
        Row(
            "Do people get answers?",
            [
                Panel(
                    "Share of failures through the gateway (objective: 0.1 %)",
                    {
                        "gateway:http_errors:ratio_rate1h": "1 hour",
                        "gateway:http_errors:ratio_rate6h": "6 hours",
                        "gateway:http_errors:ratio_rate3d": "3 days",
                    },
                    "percentunit",
                ),
                _REQUESTS,
                _P99,
            ],
        ),
        Row(
            "Does work get done?",
            [_FINISHED, _DUE, Panel("Crew runs", {"mesh:crew_runs:rate5m": "{{kind}} {{outcome}}"}, "ops")],
        ),
        Row("What does it need?", [_POOL, _SPENT, _DEAD]),
        Row("Is everything there?", [_REACHABLE, _ERRORS]),
    ],
)

RUNS = Page(
    "runs",
    "Runs and workflows",
    [
        Row(
            "Runs",
            [
                _STARTED,
                _FINISHED,
                _DUE,
                Panel("Share that failed, 15 minutes", {"mesh:runs_failed:ratio_rate15m": "failed"}, "percentunit"),
                Panel("Steps, p99", {"mesh:step_seconds:p99_5m": "{{kind}}"}, "s"),
                Panel("Advanced where they started", {"crewmesh_workflow_inline_slots_in_use": "{{app}}"}),
                Panel(
                    "Retries and lost leases",
                    {
                        "increase(crewmesh_workflow_step_retries_total[5m])": "retries {{kind}}",
                        "increase(crewmesh_workflow_leases_lost_total[5m])": "lost leases",
                    },
                ),
                Panel(
                    "Forgotten, their time being over", {"increase(crewmesh_workflow_runs_purged_total[1h])": "runs"}
                ),
                Panel("Requests that left the mesh", {"mesh:deliveries:rate5m": "{{outcome}}"}, "ops"),
            ],
        ),
        Row("What went wrong", [_WRONG]),
    ],
)

RUN = Page(
    "run",
    "One run",
    [
        Row(
            "Of a workflow, or of a crew",
            [
                Panel("Traces", {'{ span.run = "$run" || span.crew_run = "$run" }': ""}, shows="traces"),
                Panel("Logs", {'{service_name=~".+"} | run="$run" or crew_run="$run"': ""}, shows="logs"),
            ],
        ),
    ],
    asks={"run": "Run"},
)

AGENTS = Page(
    "agents",
    "Agents and money",
    [
        Row(
            "Crews and agents",
            [
                Panel("Crew runs", {"mesh:crew_runs:rate5m": "{{kind}} {{outcome}}"}, "ops"),
                Panel(
                    "At work",
                    {"sum(crewmesh_crew_runs_working)": "crew runs", "sum(crewmesh_turns_running)": "turns of agents"},
                ),
                Panel("Turns", {"mesh:turns:rate5m": "{{outcome}}"}, "ops"),
                Panel("A turn, p99", {"mesh:turn_seconds:p99_5m": "p99"}, "s"),
                Panel("Tools", {"mesh:tool_uses:rate5m": "{{kind}} {{outcome}}"}, "ops"),
                Panel("A tool, p99", {"mesh:tool_seconds:p99_5m": "{{kind}}"}, "s"),
            ],
        ),
        Row(
            "Models",
            [
                Panel("Requests to model servers", {"mesh:model_attempts:rate5m": "{{model}} {{outcome}}"}, "reqps"),
                Panel(
                    "Share that failed, 15 minutes", {"model:attempts_failed:ratio_rate15m": "{{model}}"}, "percentunit"
                ),
                Panel("A request, p99", {"model:call_seconds:p99_5m": "{{model}}"}, "s"),
                Panel("Until the first word, median", {"model:first_word_seconds:p50_5m": "{{model}}"}, "s"),
                _POOL,
                Panel("Waiting for a place, p99", {"mesh:model_wait_seconds:p99_5m": "p99"}, "s"),
            ],
        ),
        Row(
            "Money",
            [
                _SPENT,
                Panel("Tokens", {"mesh:tokens:rate5m": "{{model}} {{kind}}"}),
                Panel(
                    "Refused by budgets; balances that do not add up",
                    {
                        "sum by (problem) (increase(crewmesh_budget_refusals_total[15m]))": "refused: {{problem}}",
                        "max(crewmesh_budget_ledger_mismatch)": "do not add up",
                    },
                ),
            ],
        ),
    ],
)

EVENTS = Page(
    "events",
    "Events",
    [
        Row(
            "Outbox and topics",
            [
                Panel("Published", {"topic:events_published:rate5m": "{{app}} {{topic}}"}, "ops"),
                Panel(
                    "Refused by the broker (they stay in the outbox)",
                    {"topic:events_refused:rate5m": "{{app}} {{topic}}"},
                    "ops",
                ),
                Panel("Handled", {"topic:events_handled:rate5m": "{{app}} {{topic}} {{status}}"}, "ops"),
                _DEAD,
                Panel(
                    "Background tasks that failed",
                    {"increase(crewmesh_background_failures_total[5m])": "{{app}} {{task}}"},
                ),
                Panel("Background work in hand", {"crewmesh_work_in_hand": "{{app}}"}),
            ],
        ),
    ],
)

MESH = Page(
    "mesh",
    "Dapr mesh",
    [
        Row(
            "Services: rate, errors, duration",
            [
                _REQUESTS,
                _ERRORS,
                _P99,
                Panel("Answers, median", {"app:http_seconds:p50_5m": "{{app}}"}, "s"),
                Panel("Being answered", {"crewmesh_http_requests_in_flight": "{{app}}"}),
            ],
        ),
        Row(
            "Sidecars",
            [
                _REACHABLE,
                Panel("Calls between apps", {"app:calls_sent:rate5m": "{{app}} → {{dst_app_id}}"}, "reqps"),
                Panel(
                    "Calls refused by an access list", {"app:calls_refused:rate5m": "{{src_app_id}} → {{app}}"}, "reqps"
                ),
            ],
        ),
        Row(
            "Control plane",
            [
                Panel(
                    "Sidecars that are connected",
                    {
                        "sum(dapr_placement_runtimes_total)": "to placement",
                        "sum(dapr_placement_actor_runtimes_total)": "with workers",
                        "sum(dapr_scheduler_sidecars_connected)": "to the scheduler",
                    },
                ),
                Panel(
                    "Until the authority runs out",
                    {"min(dapr_sentry_issuercert_expiry_timestamp) - time()": "left"},
                    "s",
                ),
                Panel("Certificates signed", {"increase(dapr_sentry_cert_sign_success_total[5m])": "signed"}),
            ],
        ),
    ],
)

EDGE = Page(
    "edge",
    "Edge",
    [
        Row(
            "Kong",
            [
                Panel("Requests", {"sum by (code) (rate(kong_http_requests_total[5m]))": "{{code}}"}, "reqps"),
                Panel(
                    "Answers, p99",
                    {"histogram_quantile(0.99, sum by (le) (rate(kong_request_latency_ms_bucket[5m])))": "p99"},
                    "ms",
                ),
                Panel("Connections", {"kong_nginx_connections_total": "{{state}}"}),
            ],
        ),
        Row(
            "Gateway",
            [
                Panel(
                    "Refused by a limit",
                    {"sum by (limit) (rate(crewmesh_limits_refused_total[5m]))": "{{limit}}"},
                    "reqps",
                ),
                Panel("Limits counted together with other replicas", {"crewmesh_limits_shared": "{{app}}"}),
                Panel(
                    "Counts that could not be exchanged",
                    {"increase(crewmesh_limits_exchange_failures_total[5m])": "{{app}}"},
                ),
            ],
        ),
    ],
)

STORES = Page(
    "stores",
    "Data stores",
    [
        Row(
            "PostgreSQL",
            [
                Panel("Connections", {"sum by (datname) (pg_stat_database_numbackends)": "{{datname}}"}),
                Panel(
                    "Transactions", {"sum by (datname) (rate(pg_stat_database_xact_commit[5m]))": "{{datname}}"}, "ops"
                ),
                Panel("Size", {"pg_database_size_bytes": "{{datname}}"}, "bytes"),
                Panel(
                    "Blocks that were not in memory",
                    {"sum by (datname) (rate(pg_stat_database_blks_read[5m]))": "{{datname}}"},
                    "ops",
                ),
                Panel(
                    "Longest open transaction",
                    {'max by (state) (pg_stat_activity_max_tx_duration{state!="idle"})': "{{state}}"},
                    "s",
                ),
                Panel(
                    "Rolled back; deadlocks",
                    {
                        "sum by (datname) (rate(pg_stat_database_xact_rollback[5m]))": "rolled back {{datname}}",
                        "sum by (datname) (increase(pg_stat_database_deadlocks[5m]))": "deadlocks {{datname}}",
                    },
                ),
            ],
        ),
        Row(
            "Valkey",
            [
                Panel(
                    "Memory", {"redis_memory_used_bytes": "used", "redis_memory_max_bytes": "where it refuses"}, "bytes"
                ),
                Panel("Clients", {"redis_connected_clients": "connected"}),
                Panel("Commands", {"rate(redis_commands_processed_total[5m])": "commands"}, "ops"),
                Panel(
                    "Thrown out for want of memory (must be none)", {"increase(redis_evicted_keys_total[5m])": "keys"}
                ),
                Panel("Log on disk: 1 is well", {"redis_aof_last_write_status": "last write"}),
            ],
        ),
        Row(
            "Disks and backups",
            [
                Panel(
                    "Free",
                    {
                        "node_filesystem_avail_bytes / node_filesystem_size_bytes": "{{instance}} {{mountpoint}}",
                    },
                    "percentunit",
                ),
                Panel(
                    "Since the last backup",
                    {"time() - max(crewmesh_backup_last_success_timestamp_seconds)": "age"},
                    "s",
                ),
            ],
        ),
    ],
)

CAPACITY = Page(
    "capacity",
    "Capacity",
    [
        Row(
            "Processes",
            [
                Panel("Memory", {'process_resident_memory_bytes{job="services"}': "{{app}}"}, "bytes"),
                Panel("Memory of the sidecars", {'process_resident_memory_bytes{job="sidecars"}': "{{app}}"}, "bytes"),
                Panel(
                    "CPU",
                    {'rate(process_cpu_seconds_total{job=~"services|sidecars|control-plane"}[5m])': "{{job}} {{app}}"},
                ),
                Panel("Open files", {'process_open_fds{job="services"}': "{{app}}"}),
            ],
        ),
        Row(
            "What fills first",
            [
                Panel("Crew runs per replica (64 unless set otherwise)", {"crewmesh_crew_runs_working": "{{app}}"}),
                _POOL,
                Panel("Requests and streams being answered", {"crewmesh_http_requests_in_flight": "{{app}}"}),
            ],
        ),
    ],
)

PAGES = (OVERVIEW, RUNS, RUN, AGENTS, EVENTS, MESH, EDGE, STORES, CAPACITY)
