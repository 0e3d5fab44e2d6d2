"""What the workflow service can be told."""

from __future__ import annotations

from crewmesh_kit.settings import PublicUrl, ServiceSettings, SettingsGroup
from pydantic import Field


class EngineSettings(SettingsGroup):
    inline_slots: int = Field(
        default=32,
        ge=0,
        le=1_000,
        description="Runs this replica advances right after starting them; one counts ten seconds at most. 0: never.",
    )
    inline_queue: int = Field(
        default=500,
        ge=0,
        le=100_000,
        description="Runs that may wait here for such a slot, two seconds at most; the others go to Dapr.",
    )
    organization_runs: int = Field(
        default=1_000, ge=1, le=1_000_000, description="Runs of one organization that are at work at a time."
    )
    organization_queue: int = Field(
        default=10_000, ge=0, le=10_000_000, description="Runs of one organization that may queue; more are refused."
    )
    lease_seconds: float = Field(
        default=15.0, ge=1, le=300, description="A worker that is silent this long has lost its run to another."
    )
    alarm_seconds: float = Field(
        default=30.0, ge=5, le=600, description="A Dapr driver must have taken its run within this time."
    )
    sweep_seconds: float = Field(default=1.0, ge=0.05, le=60, description="How often due runs are looked for.")
    schedule_retry_seconds: float = Field(
        default=2.0, ge=0.1, le=60, description="Pause after Dapr could not be asked to drive a run."
    )


class StreamSettings(SettingsGroup):
    poll_seconds: float = Field(
        default=1.0, ge=0.05, le=30, description="How often a stream looks for news when no signal came."
    )
    batch: int = Field(default=500, ge=1, le=5_000, description="Events a stream reads at a time.")


class RetentionSettings(SettingsGroup):
    days: int = Field(
        default=30,
        ge=1,
        le=3_650,
        description="Runs are forgotten so long after their end, unless their workflow's settings say otherwise.",
    )
    purge_seconds: float = Field(
        default=300.0, ge=0.05, le=86_400, description="How often runs whose time is over are looked for."
    )


class WorkflowSettings(ServiceSettings):
    public_url: PublicUrl = Field(
        default="",
        description="Where people reach the API, such as https://crewmesh.example.org; addresses that are handed out "
        "begin with it. Empty: they begin with their path.",
    )
    engine: EngineSettings = EngineSettings()
    stream: StreamSettings = StreamSettings()
    retention: RetentionSettings = RetentionSettings()
