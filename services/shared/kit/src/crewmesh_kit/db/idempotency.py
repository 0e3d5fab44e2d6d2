"""Doing something once per key, however often and from wherever it is asked.

Two uses of one table. ``once_in`` is for changes to the database: claim, change and answer are one transaction, so
there is nothing that could be half done. ``once`` is for effects beyond the database: an intent row with a lease is
committed first, the effect happens, the result is written. Whoever asks again with the same key joins the running call
or gets the stored result. When the process dies in the middle the lease runs out and the next call does the work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Annotated, TypeVar, cast, get_type_hints

from fastapi import Depends, Header
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from pydantic import BaseModel

from crewmesh_kit.db.claims import (
    Claim,
    answer_json,
    fingerprint_of,
    in_progress,
    problem_json,
    read_row,
    stored_answer,
)
from crewmesh_kit.db.database import Database, DatabaseUnavailable, persistently
from crewmesh_kit.errors import InvalidRequest, Problem
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import uuid7_hex
from crewmesh_kit.logs import get_logger

ResultT = TypeVar("ResultT", bound=BaseModel)
# What must not be cut off by a shutdown happens inside such a block.
Hold = Callable[[], AbstractContextManager[None]]

_LEASE_SECONDS = 15.0
_RESULT_WRITTEN_WITHIN_SECONDS = 60.0
_LONGEST_POLL_PAUSE_SECONDS = 0.5
# Longer than a statement takes that is cancelled in its midst.
_CANCEL_AGAIN_SECONDS = 10.0

log = get_logger(__name__)


async def _idempotency_key(
    key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="1 to 255 printable characters; the same key repeats the answer."),
    ] = None,
) -> str | None:
    if key is not None and not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise InvalidRequest("The header Idempotency-Key must be 1 to 255 printable ASCII characters.")
    return key


# ``key: IdempotencyKey`` in an endpoint's parameters.
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]


async def _needed(key: IdempotencyKey) -> str:
    if key is None:
        raise InvalidRequest(
            "Send the header Idempotency-Key: without it a retry would do this, and pay for it, twice."
        )
    return key


# The same where nothing is done without one.
NeededIdempotencyKey = Annotated[str, Depends(_needed)]


# Writes in the transaction that keeps a result.
WithIt = Callable[[AsyncConnection[DictRow]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Running:
    fingerprint: str
    task: asyncio.Task[BaseModel]


class Idempotency:
    """One per service; it knows which calls run in this process, and the table knows all of them."""

    def __init__(self, database: Database, *, lease_seconds: float = _LEASE_SECONDS, hold: Hold = nullcontext) -> None:
        self._database = database
        self._lease = lease_seconds
        self._hold = hold
        self._running: dict[tuple[str, str, str], _Running] = {}

    async def once_in(
        self,
        conn: AsyncConnection[DictRow],
        *,
        identity: Identity,
        scope: str,
        key: str | None,
        request: BaseModel,
        work: Callable[[], Awaitable[ResultT]],
        result: type[ResultT] | None = None,
    ) -> ResultT:
        """Do ``work`` in the caller's transaction unless it was done under this key; then give the stored answer.

        ``result`` may be left out when ``work`` is a function that declares what it returns.
        """
        if key is None:
            return await work()
        kind = result or _declared_result(work)
        claim = Claim(identity.organization, scope, key, fingerprint_of(request))
        # A second transaction with the same key waits here until the first ends, one way or the other.
        inserted = await conn.execute(
            "INSERT INTO idempotency (org_id, scope, key, fingerprint, state) VALUES (%s, %s, %s, %s, 'done')"
            " ON CONFLICT DO NOTHING",
            [*claim.place, claim.fingerprint],
        )
        if inserted.rowcount == 0:
            row = await read_row(conn, claim)
            claim.check(row["fingerprint"])
            return stored_answer(row, kind)
        answer = await work()
        await conn.execute(
            "UPDATE idempotency SET body = %s WHERE org_id = %s AND scope = %s AND key = %s",
            [answer_json(answer), *claim.place],
        )
        return answer

    async def once(
        self,
        *,
        identity: Identity,
        scope: str,
        key: str | None,
        request: BaseModel,
        result: type[ResultT],
        work: Callable[[], Awaitable[ResultT]],
        wait: float,
        with_it: WithIt | None = None,
    ) -> ResultT:
        """Do ``work`` unless it was done, or is being done, under this key; everybody gets the same result.

        ``with_it`` writes what must be true if and only if the result (or the refusal) is kept, in its transaction.

        A caller that goes away does not stop the work. A caller that waited ``wait`` seconds for work that somebody
        else began is told to come again (``OperationInProgress``).
        """
        if key is None:
            return await work()
        claim = Claim(identity.organization, scope, key, fingerprint_of(request))
        running = self._running.get((claim.organization, scope, key))
        if running is None:
            task = asyncio.create_task(self._claim_and_work(claim, result, work, wait, with_it), name=f"once {scope}")
            running = _Running(claim.fingerprint, cast("asyncio.Task[BaseModel]", task))
            self._remember(claim, running)
            return cast(ResultT, await asyncio.shield(running.task))
        claim.check(running.fingerprint)
        done, _ = await asyncio.wait([running.task], timeout=wait)
        if not done:
            raise in_progress()
        return cast(ResultT, await asyncio.shield(running.task))

    async def drain(self, seconds: float) -> None:
        """At shutdown: let what runs come to its end; what is still running then is given up and its keys are freed."""
        tasks = [running.task for running in self._running.values()]
        if not tasks:
            return
        _, unfinished = await asyncio.wait(tasks, timeout=seconds)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    def _remember(self, claim: Claim, running: _Running) -> None:
        place = (claim.organization, claim.scope, claim.key)

        def forget(task: asyncio.Task[BaseModel]) -> None:
            del self._running[place]
            if not task.cancelled():
                task.exception()  # every caller may have left; then nobody else looks at it

        self._running[place] = running
        running.task.add_done_callback(forget)

    async def _claim_and_work(
        self,
        claim: Claim,
        result: type[ResultT],
        work: Callable[[], Awaitable[ResultT]],
        wait: float,
        with_it: WithIt | None,
    ) -> ResultT:
        holder = uuid7_hex()
        stored = await self._claim_or_wait(claim, holder, result, wait)
        if stored is not None:
            return stored
        with self._hold():
            answer = await self._work(claim, holder, work, with_it)
            # From here on the effect has happened: whatever fails now, the key is not freed.
            return await self._keep(claim, result, answer, with_it)

    async def _work(
        self, claim: Claim, holder: str, work: Callable[[], Awaitable[ResultT]], with_it: WithIt | None
    ) -> ResultT:
        try:
            async with self._heartbeat(claim, holder):
                return await work()
        except Problem as problem:
            if problem.retryable:
                await self._release(claim, holder)
            else:
                await self._keep_refusal(claim, problem, with_it)
            raise
        except BaseException:
            await self._release(claim, holder)
            raise

    async def _claim_or_wait(self, claim: Claim, holder: str, result: type[ResultT], wait: float) -> ResultT | None:
        """``None`` when the work is ours to do; else what another replica's work gave."""
        deadline = time.monotonic() + wait
        pause = 0.02
        while True:
            row = await self._try_claim(claim, holder)
            if row is None:
                return None
            claim.check(row["fingerprint"])
            if row["state"] != "running":
                return stored_answer(row, result)
            if time.monotonic() + pause >= deadline:
                raise in_progress()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_POLL_PAUSE_SECONDS)

    async def _try_claim(self, claim: Claim, holder: str) -> DictRow | None:
        """Insert the intent, or take over one whose holder died. Otherwise the row as it stands."""
        async with self._database.tenant(claim.organization) as conn:
            cursor = await conn.execute(
                "INSERT INTO idempotency AS held (org_id, scope, key, fingerprint, state, holder, lease_until)"
                " VALUES (%s, %s, %s, %s, 'running', %s, now() + %s * interval '1 second')"
                " ON CONFLICT (org_id, scope, key) DO UPDATE"
                " SET holder = excluded.holder, lease_until = excluded.lease_until"
                " WHERE held.state = 'running' AND held.lease_until < now()"
                " AND held.fingerprint = excluded.fingerprint",
                [*claim.place, claim.fingerprint, holder, self._lease],
            )
            return None if cursor.rowcount == 1 else await read_row(conn, claim)

    async def _keep(self, claim: Claim, result: type[ResultT], answer: ResultT, with_it: WithIt | None) -> ResultT:
        """Store the result. Should the lease have passed to another that was faster, its result is the one."""

        async def store() -> DictRow | None:
            return await self._finish(claim, "done", None, answer_json(answer), with_it)

        stored_before = await persistently(store, seconds=_RESULT_WRITTEN_WITHIN_SECONDS)
        return answer if stored_before is None else stored_answer(stored_before, result)

    async def _keep_refusal(self, claim: Claim, problem: Problem, with_it: WithIt | None) -> None:
        async def store() -> DictRow | None:
            return await self._finish(claim, "failed", problem.status, problem_json(problem), with_it)

        await persistently(store, seconds=_RESULT_WRITTEN_WITHIN_SECONDS)

    async def _finish(
        self, claim: Claim, state: str, status: int | None, body: Jsonb, with_it: WithIt | None
    ) -> DictRow | None:
        async with self._database.tenant(claim.organization) as conn:
            cursor = await conn.execute(
                "UPDATE idempotency"
                " SET state = %s, status = %s, body = %s, holder = NULL, lease_until = NULL, at = now()"
                " WHERE org_id = %s AND scope = %s AND key = %s AND state = 'running'",
                [state, status, body, *claim.place],
            )
            if with_it is not None:
                await with_it(conn)
            return None if cursor.rowcount == 1 else await read_row(conn, claim)

    async def _release(self, claim: Claim, holder: str) -> None:
        """Free the key. If even that fails the lease frees it."""

        async def delete() -> None:
            async with self._database.tenant(claim.organization) as conn:
                await conn.execute(
                    "DELETE FROM idempotency WHERE org_id = %s AND scope = %s AND key = %s AND holder = %s",
                    [*claim.place, holder],
                )

        try:
            await persistently(delete, seconds=2)
        except DatabaseUnavailable:
            log.warning("an idempotency key stays claimed until its lease ends", scope=claim.scope)

    @asynccontextmanager
    async def _heartbeat(self, claim: Claim, holder: str) -> AsyncGenerator[None]:
        async def beat() -> None:
            while True:
                await asyncio.sleep(self._lease / 3)
                try:
                    await self._extend(claim, holder)
                except DatabaseUnavailable:
                    log.warning("the lease of an idempotency key could not be extended", scope=claim.scope)

        task = asyncio.create_task(beat(), name="idempotency heartbeat")
        try:
            yield
        finally:
            # Before Python 3.12 the pool may swallow it together with a connection that it hands out.
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=_CANCEL_AGAIN_SECONDS)

    async def _extend(self, claim: Claim, holder: str) -> None:
        async with self._database.tenant(claim.organization) as conn:
            await conn.execute(
                "UPDATE idempotency SET lease_until = now() + %s * interval '1 second'"
                " WHERE org_id = %s AND scope = %s AND key = %s AND holder = %s",
                [self._lease, *claim.place, holder],
            )


def _declared_result(work: Callable[[], Awaitable[ResultT]]) -> type[ResultT]:
    function = getattr(work, "func", work)  # look through functools.partial
    declared: object = get_type_hints(function).get("return")
    if not (isinstance(declared, type) and issubclass(declared, BaseModel)):
        raise TypeError("once_in() cannot tell what the work returns; annotate it or pass result=")
    return cast("type[ResultT]", declared)
