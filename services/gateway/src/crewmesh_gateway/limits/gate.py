"""Every request is counted here, and refused when its organization, its key or its address asked too often.

Counting is a few additions in memory (see windows.py); what the other replicas count comes in beside (exchange.py).
A refused request does not count: who keeps asking is let in as soon as there is room. Nobody is counted twice for one
request, and an organization's room is not used by a request that its key had none for.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from math import ceil

from prometheus_client import Counter
from starlette.types import Scope

from crewmesh_gateway.limits.allowlist import plain_address
from crewmesh_gateway.limits.clock import SharedClock
from crewmesh_gateway.limits.errors import RateLimited
from crewmesh_gateway.limits.exchange import Exchange
from crewmesh_gateway.limits.meters import Meter, Meters
from crewmesh_gateway.limits.plans import Plans, Rate
from crewmesh_gateway.limits.windows import MINUTE, SECOND
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.settings import LimitSettings

REFUSED = Counter("crewmesh_limits_refused_total", "Requests refused by a rate limit.", ("limit",))
_STATE = "crewmesh.limits"
# A stranger is told to the other replicas only when it is worth it: from this part of the limit on.
_WORTH_TELLING = 20
# Providers give a customer at least this much of IPv6, so its addresses are one caller's.
_IPV6_PREFIX_BYTES = 8


@dataclass(frozen=True, slots=True)
class Count:
    """One request under one limit: ``organization``, ``key``, ``session`` or ``address``."""

    limit: str
    meter: Meter
    rate: Rate


class Gate:
    def __init__(self, plans: Plans, settings: LimitSettings, clock: SharedClock, exchange: Exchange) -> None:
        self._plans = plans
        self._clock = clock
        self._exchange = exchange
        self._address_rate = Rate(settings.address_per_minute, settings.address_per_second)
        self._organizations = Meters(settings.remembered)
        self._credentials = Meters(settings.remembered)
        self._addresses = Meters(settings.remembered)
        # Few: the plans, by persons and by keys, and the addresses'.
        self._policies: dict[tuple[str, Rate, Rate | None], bytes] = {}

    def enter(self, scope: Scope, principal: Principal) -> None:
        """Count a request of somebody who is known; raises RateLimited when there is no room."""
        if len(scope.get(_STATE, ())) > 1:
            return
        plan = self._plans.named(principal.plan)
        counts = (
            Count("organization", self._organizations.of(principal.identity.organization), plan.organization),
            Count(_own_limit(principal), self._credentials.of(principal.credential), plan.credential),
        )
        self._take(scope, counts)
        for count in counts:
            if not count.meter.untold:
                self._exchange.tell(count.meter)

    def stranger(self, scope: Scope, address: str) -> None:
        """Count a request of nobody in particular against where it came from; at most once."""
        if _STATE in scope:
            return
        rate = self._address_rate
        count = Count("address", self._addresses.of(_neighbourhood(address)), rate)
        self._take(scope, (count,))
        minute, second = self._now()
        if not count.meter.untold and (
            count.meter.minute.total(minute) * _WORTH_TELLING >= rate.per_minute
            or count.meter.second.total(second) * _WORTH_TELLING >= rate.per_second
        ):
            self._exchange.tell(count.meter)

    def headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-11) of a counted request."""
        counts: tuple[Count, ...] | None = scope.get(_STATE)
        if counts is None:
            return []
        now = self._clock.now()
        minute, second = MINUTE.bucket_at(now), SECOND.bucket_at(now)
        told = ", ".join(_told(count, now, minute, second) for count in counts)
        return [(b"ratelimit-policy", self._policy(counts)), (b"ratelimit", told.encode())]

    def used(self, principal: Principal) -> dict[str, int]:
        """Requests of the last minute under each limit that holds for the principal."""
        minute, _ = self._now()
        organization = self._organizations.of(principal.organization)
        credential = self._credentials.of(principal.credential)
        return {
            "organization": organization.minute.total(minute),
            _own_limit(principal): credential.minute.total(minute),
        }

    def _take(self, scope: Scope, counts: tuple[Count, ...]) -> None:
        scope[_STATE] = counts
        minute, second = self._now()
        for count in counts:
            if count.meter.is_full(count.rate, minute, second):
                raise self._refusal(count, minute)
        for count in counts:
            count.meter.add(minute, second)

    def _refusal(self, count: Count, minute: int) -> RateLimited:
        REFUSED.labels(count.limit).inc()
        now, meter, rate = self._clock.now(), count.meter, count.rate
        if meter.minute.total(minute) >= rate.per_minute:
            policy, quota, window, full = count.limit, rate.per_minute, MINUTE.seconds, meter.minute
        else:
            policy, quota, window, full = f"{count.limit}-burst", rate.per_second, SECOND.seconds, meter.second
        wait = full.seconds_until_below(quota, now)
        return RateLimited(count.limit, policy, quota=quota, window=window, wait_seconds=wait)

    def _now(self) -> tuple[int, int]:
        now = self._clock.now()
        return MINUTE.bucket_at(now), SECOND.bucket_at(now)

    def _policy(self, counts: tuple[Count, ...]) -> bytes:
        last = counts[-1]
        known = last.limit, last.rate, counts[0].rate if len(counts) > 1 else None
        policy = self._policies.get(known)
        if policy is None:
            policy = self._policies[known] = ", ".join(_policy_of(count) for count in counts).encode()
        return policy


def _own_limit(principal: Principal) -> str:
    return "session" if principal.is_person else "key"


def _policy_of(count: Count) -> str:
    return (
        f'"{count.limit}";q={count.rate.per_minute};w={MINUTE.seconds}, '
        f'"{count.limit}-burst";q={count.rate.per_second};w={SECOND.seconds}'
    )


def _told(count: Count, now: float, minute: int, second: int) -> str:
    meter, rate = count.meter, count.rate
    left = max(0, rate.per_minute - meter.minute.total(minute))
    burst = max(0, rate.per_second - meter.second.total(second))
    again, soon = ceil(meter.minute.seconds_until_change(now)), ceil(meter.second.seconds_until_change(now))
    return f'"{count.limit}";r={left};t={again}, "{count.limit}-burst";r={burst};t={soon}'


def _neighbourhood(address: str) -> str:
    """An address of IPv4, the network of one of IPv6, and whatever else a server may call its peer."""
    known = plain_address(address)
    if isinstance(known, IPv6Address):
        packed = known.packed[:_IPV6_PREFIX_BYTES] + bytes(16 - _IPV6_PREFIX_BYTES)
        return f"{ip_address(packed)}/64"
    return str(known) if known else address[:64]
