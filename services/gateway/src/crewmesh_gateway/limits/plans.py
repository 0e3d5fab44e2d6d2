"""The plans: how fast an organization may ask, and how much of each thing it may have.

This table is the whole of it. Every number here is enforced; what is enforced nowhere is not promised here. No number
means no quota. An organization's plan is the column ``organizations.plan``; ``default`` stands for whatever the
installation's setting ``limits.default_plan`` names, which is where every organization begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

PlanName = Literal["free", "pro", "team", "enterprise"]
QuotaName = Literal["members", "teams", "api_keys", "service_accounts", "custom_roles"]
QUOTAS: tuple[QuotaName, ...] = get_args(QuotaName)


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests within any minute, and within any second of it."""

    per_minute: int
    per_second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    name: PlanName
    # Everybody of the organization together.
    organization: Rate
    # A single API key, or a single login.
    credential: Rate
    # Members and open invitations together.
    members: int | None = None
    teams: int | None = None
    # Those that are good; one that ends because it was rotated does not count.
    api_keys: int | None = None
    service_accounts: int | None = None
    custom_roles: int | None = None

    def quota(self, name: QuotaName) -> int | None:
        allowed: Mapping[QuotaName, int | None] = {
            "members": self.members,
            "teams": self.teams,
            "api_keys": self.api_keys,
            "service_accounts": self.service_accounts,
            "custom_roles": self.custom_roles,
        }
        return allowed[name]


PLANS: Mapping[str, Plan] = MappingProxyType(
    {
        plan.name: plan
        for plan in (
            Plan(
                name="free",
                organization=Rate(per_minute=600, per_second=60),
                credential=Rate(per_minute=300, per_second=30),
                members=3,
                teams=1,
                api_keys=5,
                service_accounts=1,
                custom_roles=0,
            ),
            Plan(
                name="pro",
                organization=Rate(per_minute=6_000, per_second=300),
                credential=Rate(per_minute=3_000, per_second=150),
                members=20,
                teams=5,
                api_keys=50,
                service_accounts=10,
                custom_roles=5,
            ),
            Plan(
                name="team",
                organization=Rate(per_minute=60_000, per_second=2_000),
                credential=Rate(per_minute=30_000, per_second=1_000),
                members=200,
                teams=50,
                api_keys=500,
                service_accounts=100,
                custom_roles=50,
            ),
            # What runs on one's own machines is not rationed; rates keep one client's mistake from being everybody's.
            Plan(
                name="enterprise",
                organization=Rate(per_minute=600_000, per_second=20_000),
                credential=Rate(per_minute=300_000, per_second=10_000),
            ),
        )
    }
)


class Plans:
    """Which plan a name in the database stands for."""

    def __init__(self, default: PlanName) -> None:
        self._default = PLANS[default]

    def named(self, name: str) -> Plan:
        return PLANS.get(name, self._default)
