"""Every request is counted here, and refused when its organization, its key or its address asked too often.

Counting is a few additions in memory (see windows.py); what the other replicas count comes in beside (exchange.py).
A refused request does not count: who keeps asking is let in as soon as there is room. Nobody is counted twice for one
request, and an organization's room is not used by a request that its key had none for.
"""

from __future__ import annotations

from math import ceil

from prometheus_client import Counter
from starlette.types import Scope

from crewmesh_gateway.limits.clock import SharedClock
from crewmesh_gateway.limits.errors import RateLimited
from crewmesh_gateway.limits.exchange import Exchange
from crewmesh_gateway.limits.meters import Meter, Meters
from crewmesh_gateway.limits.neighbourhoods import neighbourhood
from crewmesh_gateway.limits.plans import Plans, Rate
from crewmesh_gateway.limits.windows import MINUTE, SECOND
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.settings import LimitSettings

REFUSED = Counter("crewmesh_limits_refused_total", "Requests refused by a rate limit.", ("limit",))
# Where a request's scope names the meters that counted it, and the one that refused it.
_METERS = "crewmesh.limits.meters"
_REFUSED = "crewmesh.limits.refused"


class Gate:
    def __init__(self, plans: Plans, settings: LimitSettings, clock: SharedClock, exchange: Exchange) -> None:
        self._plans = plans
        self._clock = clock
        self._exchange = exchange
        self._address_rate = Rate(settings.address_per_minute, settings.address_per_second)
        self._organizations = Meters(settings.remembered)
        self._credentials = Meters(settings.remembered)
        self._addresses = Meters(settings.remembered)
        # What is the same in the headers of many answers. Few: the plans, by persons and by keys, and the addresses'.
        self._forms: dict[tuple[tuple[str, Rate], ...], tuple[bytes, bytes]] = {}

    def enter(self, scope: Scope, principal: Principal) -> None:
        """Count a request of somebody who is known; raises RateLimited when there is no room."""
        if len(scope.get(_METERS, ())) > 1:
            return
        plan = self._plans.named(principal.plan)
        whole, limit = principal.identity.organization, "organization"
        if not principal.has_organization:
            whole, limit = principal.identity.subject, "person"
        meters = (
            self._organizations.of(whole, limit, plan.organization),
            self._credentials.of(principal.credential, _own_limit(principal), plan.credential),
        )
        self._take(scope, meters)
        for meter in meters:
            if not meter.untold:
                self._exchange.tell(meter)

    def stranger(self, scope: Scope, address: str) -> None:
        """Count a request of nobody in particular against where it came from; at most once."""
        if _METERS in scope:
            return
        meter = self._addresses.of(neighbourhood(address), "address", self._address_rate)
        self._take(scope, (meter,))
        if not meter.untold and meter.is_worth_telling():
            self._exchange.tell(meter)

    def headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-11) of a counted request.

        Bursts are in the policy alone: what is left of a second is over before it is read.
        """
        meters: tuple[Meter, ...] | None = scope.get(_METERS)
        if meters is None:
            return []
        policy, form = self._form(meters)
        minute = MINUTE.bucket_at(self._clock.now())
        figures = [figure for meter in meters for figure in meter.left(minute)]
        told = form % tuple(figures)
        return [(b"ratelimit-policy", policy), (b"ratelimit", told + scope.get(_REFUSED, b""))]

    def used(self, principal: Principal) -> dict[str, int]:
        """Requests of the last minute under each limit that holds for the principal."""
        minute = MINUTE.bucket_at(self._clock.now())
        known = {
            "organization": self._organizations.find(principal.organization),
            _own_limit(principal): self._credentials.find(principal.credential),
        }
        return {limit: meter.minute.total(minute) if meter else 0 for limit, meter in known.items()}

    def _take(self, scope: Scope, meters: tuple[Meter, ...]) -> None:
        scope[_METERS] = meters
        now = self._clock.now()
        minute, second = MINUTE.bucket_at(now), SECOND.bucket_at(now)
        for meter in meters:
            if meter.is_full(minute, second):
                raise self._refusal(scope, meter, now)
        for meter in meters:
            meter.add(minute, second)

    def _refusal(self, scope: Scope, meter: Meter, now: float) -> RateLimited:
        REFUSED.labels(meter.limit).inc()
        if meter.minute.total(MINUTE.bucket_at(now)) >= meter.rate.per_minute:
            policy, quota, window = meter.limit, meter.rate.per_minute, meter.minute
        else:
            policy, quota, window = f"{meter.limit}-burst", meter.rate.per_second, meter.second
        wait = max(1, ceil(window.seconds_until_below(quota, now)))
        if window is meter.second:
            scope[_REFUSED] = f', "{policy}";r=0;t={wait}'.encode()
        return RateLimited(meter.limit, policy, quota=quota, window=window.shape.seconds, wait_seconds=wait)

    def _form(self, meters: tuple[Meter, ...]) -> tuple[bytes, bytes]:
        kinds = tuple((meter.limit, meter.rate) for meter in meters)
        form = self._forms.get(kinds)
        if form is None:
            policy = ", ".join(_policy_of(limit, rate) for limit, rate in kinds)
            told = ", ".join(f'"{limit}";r=%d;t=%d' for limit, _ in kinds)
            form = self._forms[kinds] = policy.encode(), told.encode()
        return form


def _own_limit(principal: Principal) -> str:
    return "session" if principal.is_person else "key"


def _policy_of(limit: str, rate: Rate) -> str:
    minute, second = MINUTE.seconds, SECOND.seconds
    return f'"{limit}";q={rate.per_minute};w={minute}, "{limit}-burst";q={rate.per_second};w={second}'
