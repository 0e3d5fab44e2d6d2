"""A workflow's triggers as people see them: where they are called, when they are due, what they did last."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from crewmesh_contracts.base import JsonObject, Reply
from crewmesh_contracts.workflow.triggers.cron import CronTrigger
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources
from crewmesh_kit.sharing.service import Sharing
from psycopg.rows import DictRow

from crewmesh_workflow.access import CHANGE, SEE
from crewmesh_workflow.definitions.lookup import Lookup
from crewmesh_workflow.hooks.authentication import SECRET_HEADERS, USER, shown_secret
from crewmesh_workflow.hooks.keys import Address
from crewmesh_workflow.hooks.repository import Hook, hook_of
from crewmesh_workflow.hooks.service import Hooks
from crewmesh_workflow.schedules.views import view_of
from crewmesh_workflow.settings import WorkflowSettings
from crewmesh_workflow.triggers import listing_repository as repository
from crewmesh_workflow.triggers.errors import NothingToRotate
from crewmesh_workflow.triggers.schemas import Rotation, TriggerList, TriggerView, WebhookView

_HEADERS = {
    "basic": "authorization",
    "header": SECRET_HEADERS[0],
    "hmac": "webhook-signature",
    "github": "x-hub-signature-256",
}


class _Rotated(Reply):
    """What is kept, so that asking again is answered the same: which secret it was, and not the secret itself."""

    secret_generation: int
    address_generation: int
    rotated_at: datetime | None


class TriggerListing:
    def __init__(
        self, database: Database, idempotency: Idempotency, sharing: Sharing, hooks: Hooks, *, base_url: str
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._sharing = sharing
        self._lookup = Lookup(sharing)
        self._hooks = hooks
        self._base = base_url.rstrip("/")

    async def of_workflow(self, identity: Identity, workflow: str) -> TriggerList:
        async with self._database.tenant(identity.organization) as conn:
            found = await self._lookup.found(conn, identity, workflow, SEE)
            rows = await repository.of_workflow(conn, identity.organization, found.id)
            with_secrets = await self._sharing.reaches(conn, identity, CHANGE, found.id)
        return TriggerList(items=tuple(self._view(row, with_secrets=with_secrets) for row in rows))

    async def rotate(
        self, identity: Identity, workflow: str, trigger: str, rotation: Rotation, *, key: str | None
    ) -> WebhookView:
        async with self._database.tenant(identity.organization) as conn:
            found = await self._lookup.found(conn, identity, workflow, CHANGE)
            hook = await repository.locked_hook(conn, identity.organization, found.id, trigger)
            if hook is None:
                raise NothingToRotate(f"The workflow has no webhook {trigger[:80]!r}.")
            if rotation.part == "secret" and hook.config.auth == "none":
                raise NothingToRotate("This webhook has no secret; rotate its url, or give it an auth.")

            async def renew() -> _Rotated:
                change = repository.renew_secret if rotation.part == "secret" else repository.renew_address
                row = await change(conn, hook)
                told: JsonObject = {"trigger": trigger, "part": rotation.part}
                await audit.record(conn, identity, "webhook.rotated", found.id, after=told)
                return _rotated(hook if row is None else hook_of(row))

            rotated = await self._idempotency.once_in(
                conn, identity=identity, scope=f"rotate {hook.id}", key=key, request=rotation, work=renew
            )
        self._hooks.forget(hook.id)
        return self._webhook(replace(hook, **rotated.model_dump()), with_secret=True)

    def _view(self, row: DictRow, *, with_secrets: bool) -> TriggerView:
        cron = CronTrigger.model_validate(row["config"]) if row["kind"] == "cron" else None
        return TriggerView(
            key=row["key"],
            kind=row["kind"],
            enabled=row["enabled"],
            config=row["config"],
            webhook=self._webhook(hook_of(row), with_secret=with_secrets) if row["kind"] == "webhook" else None,
            schedule=None if cron is None else view_of(cron.expression, cron.timezone),
            target=row["target"],
            last_run=row["last_run"],
            last_run_at=row["last_run_at"],
        )

    def _webhook(self, hook: Hook, *, with_secret: bool) -> WebhookView:
        token = self._hooks.keys.token(Address(hook.id, hook.address_generation))
        secret = shown_secret(hook.config.auth, self._hooks.keys.secret(hook.id, hook.secret_generation))
        return WebhookView(
            url=f"{self._base}/v1/hooks/{token}",
            test_url=f"{self._base}/v1/hooks/test/{token}",
            auth=hook.config.auth,
            user=USER if hook.config.auth == "basic" else None,
            header=_HEADERS.get(hook.config.auth),
            secret=secret if with_secret else None,
            rotated_at=hook.rotated_at,
        )


def _rotated(hook: Hook) -> _Rotated:
    return _Rotated(
        secret_generation=hook.secret_generation,
        address_generation=hook.address_generation,
        rotated_at=hook.rotated_at,
    )


@asynccontextmanager
async def open_listing(resources: Resources) -> AsyncGenerator[TriggerListing]:
    yield TriggerListing(
        resources.get(Database),
        resources.get(Idempotency),
        resources.get(Sharing),
        resources.get(Hooks),
        base_url=resources.get(WorkflowSettings).public_url,
    )
