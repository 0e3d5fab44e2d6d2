"""Keep the record of delivery attempts, and show it.

``begin`` is committed before anything is sent: an attempt cannot happen unseen, whatever dies. ``finish`` follows when
the outcome is known, and is not given up while PostgreSQL restarts.
"""

from __future__ import annotations

import asyncio
import re

from crewmesh_kit.db.database import persistently
from crewmesh_kit.errors import NotFound
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_kit.logs import get_logger
from crewmesh_kit.outbound.targets import Target

from crewmesh_integration.deliveries.repository import Attempt, DeliveryRepository, Filters, Result
from crewmesh_integration.deliveries.schemas import Delivery

_SWEEP_SECONDS = 3600
_RUN_ID = re.compile(r"^run_[0-9a-f]{32}$")
_LONGEST_PATH = 300
# Many receivers put their secret into the path. What is long and mixes letters with digits is taken for one.
_TOKEN = re.compile(r"(?=[^/]*[0-9])(?=[^/]*[A-Za-z])[^/]{16,}")

log = get_logger(__name__)


def shown_path(path: str) -> str:
    """The path with everything that looks like a token shortened to its first characters."""
    return _TOKEN.sub(lambda token: token[0][:4] + "…", path)[:_LONGEST_PATH]


class Deliveries:
    def __init__(self, repository: DeliveryRepository) -> None:
        self._repository = repository

    async def begin(
        self, identity: Identity, *, key: str, method: str, target: Target, repeatable: bool = True
    ) -> Attempt:
        attempt = Attempt(
            id=new_id("dlv"),
            organization=identity.organization,
            run=identity.subject if _RUN_ID.match(identity.subject) else None,
            idempotency_key=key,
            method=method,
            host=target.authority,
            path=shown_path(target.path),
            repeatable=repeatable,
        )
        await self._repository.insert(attempt)
        return attempt

    async def finish(self, attempt: Attempt, result: Result) -> None:
        """Of an attempt after which there may be another."""
        await persistently(lambda: self._repository.complete(attempt.organization, attempt.id, result))

    async def that_may_have_happened(self, identity: Identity, key: str) -> Delivery | None:
        """The attempt at something never to be sent twice that took effect, or of which nobody knows."""
        last = await self._repository.last_never_twice(identity.organization, key)
        return last if last is not None and last.outcome in ("sending", "answered", "unknown") else None

    async def get(self, identity: Identity, id_: str) -> Delivery:
        delivery = await self._repository.get(identity.organization, id_)
        if delivery is None:
            raise NotFound(f"There is no delivery {id_[:50]!r}; GET /v1/deliveries lists those there are.")
        return delivery

    async def page(self, identity: Identity, filters: Filters, page: PageRequest) -> Page[Delivery]:
        after = page.after_text()
        found = await self._repository.newest_first(identity.organization, filters, before=after, limit=page.limit + 1)
        return page.page(found, lambda delivery: (delivery.id,))

    async def forget_old_ones(self, *, days: int) -> None:
        """For ever, once an hour: drop what is older than the retention."""
        while True:
            dropped = await self._repository.delete_older_than(days)
            if dropped:
                log.info("dropped old delivery records", count=dropped, older_than_days=days)
            await asyncio.sleep(_SWEEP_SECONDS)
