"""What ``/v1/limits`` shows and takes."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.base import Contract, Reply
from pydantic import AfterValidator, ConfigDict, Field

from crewmesh_gateway.limits.allowlist import MOST_NETWORKS, canonical_networks

_LONGEST_NETWORK = 60

Networks = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=_LONGEST_NETWORK)], ...],
    Field(max_length=MOST_NETWORKS, description="In canonical CIDR form; none: requests are admitted from everywhere."),
    AfterValidator(canonical_networks),
]


class AllowlistChange(Contract):
    """The whole list, as it shall be."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"networks": ["192.0.2.0/24", "2001:db8::/32"]}]})

    networks: Networks


class AllowlistView(Reply):
    """The networks that requests of the organization's keys and logins are admitted from."""

    networks: tuple[str, ...]
    your_address: str = Field(description="Where this request came from.")


class RateView(Reply):
    limit: str = Field(description="organization: everybody together; key or session: the one that asks now.")
    per_minute: int
    per_second: int
    used_in_the_last_minute: int = Field(description="As this replica knows it; others' counts come within 100 ms.")


class QuotaView(Reply):
    quota: str = Field(description="members (with open invitations), teams, api_keys, service_accounts, custom_roles.")
    used: int
    limit: int | None = Field(description="None: as many as you like.")


class LimitsView(Reply):
    """The organization's plan, and how much of it is used."""

    plan: str = Field(description="free, pro, team or enterprise.")
    rates: tuple[RateView, ...]
    quotas: tuple[QuotaView, ...]
