"""What the agent-crew service can be told, beyond what every service can."""

from __future__ import annotations

from typing import Literal

from crewmesh_kit.outbound.mesh_ports import LOCAL_MESH_PORTS, refused_ports
from crewmesh_kit.settings import CommaSeparatedPorts, ServiceSettings, SettingsGroup
from pydantic import Field, SecretStr, field_validator

from crewmesh_agent_crew.catalogue.models import Capability, Prices

EMBEDDED_MODEL = "smollm2-135m-instruct"


class ModelSettings(SettingsGroup):
    """Any server that speaks OpenAI's chat completions; by default the embedded model."""

    url: str = Field(
        default="http://127.0.0.1:8090/v1",
        pattern=r"^https?://[^\s]+$",
        max_length=2_000,
        description="Base URL of an OpenAI-compatible API.",
    )
    name: str = Field(default=EMBEDDED_MODEL, min_length=1, max_length=200, description="Model to ask for at that URL.")
    api_key: SecretStr | None = Field(
        default=None, description="Key for that URL. Unset: the secret model-api-key of the secret store is used."
    )
    aliases: dict[str, str] = Field(
        default={},
        description="More models at that URL, by the name workflows ask for: fast → gpt-5-mini. As a JSON object.",
    )
    prices: dict[str, Prices] = Field(
        default={},
        description="What the models at that URL cost, in US dollars per million tokens, by the model's name there:"
        ' {"gpt-5-mini": {"input": "0.25", "output": "2"}}. As a JSON object. Unset: the price of the built-in model of'
        " that name, or nothing.",
    )
    context_tokens: int | None = Field(
        default=None,
        ge=1,
        description="How much the models at that URL can read and write in one call. Unset: as the built-in model of"
        " that name, or unknown.",
    )
    capabilities: frozenset[Capability] | None = Field(
        default=None,
        description="What the models at that URL can, as a JSON list. Unset: as the built-in model of that name, or"
        " everything; the embedded model sees no images.",
    )
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Most tokens in one answer, where a call does not say. Unset: 4096 or a quarter of what the model"
        " can read, whichever is less; 256 of the embedded model, which is slow.",
    )
    token_limit_parameter: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="How the server calls the token limit; newer OpenAI models want the latter."
    )
    temperature: float = Field(default=0.2, ge=0, le=2, description="How freely the model chooses its words.")
    timeout_seconds: float = Field(
        default=180.0, gt=0, le=3_600, description="How long one model call may take, all attempts included."
    )
    attempts: int = Field(
        default=5, ge=1, le=20, description="How often a call is tried while the model server is busy or away."
    )
    backoff_seconds: float = Field(
        default=0.5, gt=0, le=60, description="Wait before the second attempt; it doubles from there."
    )
    first_token_seconds: float = Field(
        default=120.0, gt=0, le=3_600, description="How long a streamed answer may take to begin."
    )
    failures_until_pause: int = Field(
        default=8,
        ge=1,
        le=1_000,
        description="Failures in a row after which a model at an account is left alone for a while.",
    )
    pause_seconds: float = Field(
        default=10.0,
        gt=0,
        le=600,
        description="How long it is left alone at first; twice as long each time that it still fails, up to 12 times.",
    )
    cache_seconds: int = Field(
        default=86_400,
        ge=0,
        le=2_592_000,
        description="How long the answer to a call that may be answered from the cache is kept. 0: not at all.",
    )
    trace_content: bool = Field(
        default=False, description="Whether traces hold what models were asked and answered. It may be private."
    )


class PoolSettings(SettingsGroup):
    """How many model calls there are at the same time, in one process of the service."""

    most_of_one_organization: int = Field(
        default=64, ge=1, le=10_000, description="Model calls of one organization at the same time."
    )
    most_at_one_account: int = Field(
        default=128, ge=1, le=10_000, description="Model calls at one account that sets no limit of its own."
    )
    most_waiting: int = Field(
        default=500,
        ge=0,
        le=100_000,
        description="Calls of one organization that may wait; more are answered with 503.",
    )


class ProvidersSettings(SettingsGroup):
    """Where the accounts lead that organizations have at providers of models."""

    private_addresses: bool = Field(
        default=False,
        description="Let accounts of organizations lead to this machine and to private networks, also without TLS. For"
        " installations that have their own model servers, and trust whoever may add accounts.",
    )
    mesh_ports: CommaSeparatedPorts = Field(
        default=LOCAL_MESH_PORTS,
        description="Ports of the mesh on this machine, comma separated: refused even when private addresses are not.",
    )
    secrets: dict[str, str] = Field(
        default={},
        description="Secrets of the secret store, named model-…, that organizations may use as keys, each with the one"
        " base URL it is sent to: model-openai → https://api.openai.com/v1. As a JSON object.",
    )

    @field_validator("secrets")
    @classmethod
    def _named_so(cls, secrets: dict[str, str]) -> dict[str, str]:
        wrong = [name for name in secrets if not name.startswith("model-")]
        if wrong:
            raise ValueError(f"names of such secrets begin with model-: {', '.join(wrong)}")
        return secrets


class ToolsSettings(SettingsGroup):
    """What agents are shown of what tools gave."""

    most_characters: int = Field(
        default=8_000, ge=100, le=200_000, description="Most characters of what a tool gave that a model is shown."
    )


class CrewRunSettings(SettingsGroup):
    """How crew runs are driven, in one process of the service."""

    most_working: int = Field(
        default=128, ge=1, le=10_000, description="Crew runs, chats included, that one process drives at the same time."
    )
    share: int = Field(
        default=64, ge=1, le=10_000, description="How many of them may be of one organization; its others wait."
    )
    most_queued: int = Field(
        default=10_000,
        ge=0,
        le=10_000_000,
        description="Crew runs of one organization that may wait to be begun; more are answered with 429.",
    )
    lease_seconds: float = Field(
        default=15.0, ge=0.5, le=300, description="How long after the death of its driver a run is taken by another."
    )
    beat_seconds: float = Field(
        default=5.0, gt=0, le=60, description="How often leases are extended and stops are looked for."
    )
    poll_seconds: float = Field(
        default=2.0, gt=0, le=60, description="How often runs that are due are looked for, beside news of them."
    )


class SpendingSettings(SettingsGroup):
    """What the ledger of model calls keeps."""

    reply_days: int = Field(
        default=30,
        ge=1,
        le=3_650,
        description="How long the answers of models are kept in the ledger. What is asked again after that, by a crew "
        "that waited for longer, is paid again.",
    )


class Settings(ServiceSettings):
    """Settings of the agent-crew service."""

    model: ModelSettings = ModelSettings()
    pool: PoolSettings = PoolSettings()
    providers: ProvidersSettings = ProvidersSettings()
    crew_runs: CrewRunSettings = CrewRunSettings()
    tools: ToolsSettings = ToolsSettings()
    spending: SpendingSettings = SpendingSettings()

    @property
    def refused_ports(self) -> frozenset[int]:
        return refused_ports(self, self.providers.mesh_ports)
