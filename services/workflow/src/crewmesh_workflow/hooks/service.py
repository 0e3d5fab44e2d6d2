"""From a request at a webhook to its run, and to the answer.

Lean, for it is the way in for everybody: the address proves itself without the database, what it names is remembered
for a moment, and the start is one transaction. A run that has ended by then is answered without another look.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.storable import clean
from crewmesh_kit.logs import bind
from crewmesh_kit.resources import Resources
from starlette.responses import Response

from crewmesh_workflow.engine.assembly import Assembly
from crewmesh_workflow.engine.commits import EventKey
from crewmesh_workflow.engine.ends import Ended, Ends
from crewmesh_workflow.engine.starter import NewRun, Starter, Starting
from crewmesh_workflow.hooks import repository
from crewmesh_workflow.hooks.answers import accepted, outcome
from crewmesh_workflow.hooks.authentication import PROOFS, check, delivery
from crewmesh_workflow.hooks.body import by_name, parse_body
from crewmesh_workflow.hooks.errors import EncodedBody, HookPaused, NoSuchHook
from crewmesh_workflow.hooks.keys import HookKeys
from crewmesh_workflow.hooks.repository import Hook
from crewmesh_workflow.runs.drafts import pin_draft

MASTER_KEY = "hook-master-key"
OLD_SECRET_SECONDS = 24 * 3600
_REMEMBER_SECONDS = 2.0
_MOST_REMEMBERED = 10_000
# Between neighbours, or proof of who sends: not for a workflow to see.
_HIDDEN = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "forwarded",
        "host",
        "idempotency-key",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        *PROOFS,
    }
)
_HIDDEN_PREFIXES = ("crewmesh-", "dapr-", "proxy-", "x-forwarded-")


@dataclass(frozen=True, slots=True)
class HookRequest:
    """A request as it came. Headers by lower-case name."""

    method: str
    headers: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    body: bytes


class Hooks:
    def __init__(self, database: Database, starter: Starter, ends: Ends, keys: HookKeys) -> None:
        self.keys = keys
        self._database = database
        self._starter = starter
        self._ends = ends
        self._remembered: dict[str, tuple[float, Hook | None]] = {}

    async def receive(self, token: str, request: HookRequest, *, test: bool = False) -> Response:
        hook = await self._find(token)
        bind(organization=hook.organization)
        check(hook.config.auth, request.headers, request.body, self._secrets(hook), now=time.time())
        if not hook.enabled and not test:
            raise HookPaused
        new = _new_run(hook, request)
        if test:
            return await self._receive_test(hook, new)
        if hook.config.respond == "now":
            return accepted(await self._start(hook, new))
        return await self._start_and_wait(hook, new)

    def forget(self, trigger: str) -> None:
        """What was remembered of the trigger is not true any more."""
        self._remembered.pop(trigger, None)

    async def _find(self, token: str) -> Hook:
        address = self.keys.address(token)
        if address is None:
            raise NoSuchHook
        until, hook = self._remembered.get(address.trigger, (0.0, None))
        if until <= time.monotonic():
            hook = await repository.find(self._database, address.trigger)
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[address.trigger] = (time.monotonic() + _REMEMBER_SECONDS, hook)
        if hook is None or hook.address_generation != address.generation:
            raise NoSuchHook
        return hook

    def _secrets(self, hook: Hook) -> list[bytes]:
        secrets = [self.keys.secret(hook.id, hook.secret_generation)]
        if hook.rotated_at is not None and time.time() - hook.rotated_at.timestamp() < OLD_SECRET_SECONDS:
            secrets.append(self.keys.secret(hook.id, hook.secret_generation - 1))
        return secrets

    async def _receive_test(self, hook: Hook, new: NewRun) -> Response:
        """A test run of what is being worked on."""
        async with self._database.tenant(hook.organization) as conn:
            _, draft = await pin_draft(conn, hook.organization, hook.workflow)
        key = None if new.key is None else EventKey(f"hook-test/{hook.id}", new.key.id)
        return await self._start_and_wait(hook, replace(new, version=draft, origin="test", key=key, test=True))

    async def _start(self, hook: Hook, new: NewRun) -> str:
        with self._starter.starting() as starting:
            async with self._database.tenant(hook.organization) as conn:
                started = await starting.start(conn, hook.organization, new)
            starting.launch()
        return started.run

    async def _start_and_wait(self, hook: Hook, new: NewRun) -> Response:
        with self._starter.starting() as starting:
            async with self._database.tenant(hook.organization) as conn:
                started = await starting.start(conn, hook.organization, new)
            ended = started.ended
            if ended is not None:
                starting.launch()
            elif started.new:
                ended = await self._launch_and_wait(starting, started.run, hook.config.wait_seconds)
            else:
                ended = await self._ends.stored(started.run)
                ended = ended or await self._ends.wait(started.run, hook.config.wait_seconds)
        return accepted(started.run) if ended is None else outcome(started.run, ended)

    async def _launch_and_wait(self, starting: Starting, run: str, seconds: float) -> Ended | None:
        waiting = asyncio.create_task(self._ends.wait(run, seconds))
        await asyncio.sleep(0)  # it listens before there is anything to hear
        starting.launch()
        try:
            return await waiting
        finally:
            waiting.cancel()


def _new_run(hook: Hook, request: HookRequest) -> NewRun:
    if (encoding := request.headers.get("content-encoding", "identity")) != "identity":
        raise EncodedBody(encoding)
    headers = {
        name: value
        for name, value in request.headers.items()
        if name not in _HIDDEN and not name.startswith(_HIDDEN_PREFIXES)
    }
    data: JsonObject = {
        "method": request.method,
        "headers": cast(JsonObject, headers),
        "query": by_name(request.query),
        "body": parse_body(request.body, request.headers.get("content-type", "")),
    }
    named = delivery(hook.config.auth, request.headers, request.body)
    return NewRun(
        workflow=hook.workflow,
        version=hook.version,
        trigger=clean({"kind": "webhook", "key": hook.key, "data": data}),
        key=None if named is None else EventKey(f"hook/{hook.id}", named),
        origin="webhook",
        started_by=hook.id,
    )


@asynccontextmanager
async def open_hooks(resources: Resources) -> AsyncGenerator[Hooks]:
    parts = resources.get(Assembly)
    keys = HookKeys(await resources.get(Sidecar).secret(MASTER_KEY))
    yield Hooks(resources.get(Database), parts.starter, parts.ends, keys)
