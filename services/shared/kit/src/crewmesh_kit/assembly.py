"""The steps of starting that belong to no one service: sidecar, identity keys, database with its outbox."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from crewmesh_kit.background import Background
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.parts import open_database as database_parts
from crewmesh_kit.dead_letters import DeadLetters
from crewmesh_kit.health import Lifecycle, Readiness
from crewmesh_kit.identity import Authenticator, TokenAuthenticator, TokenSigner, TokenVerifier
from crewmesh_kit.logs import get_logger
from crewmesh_kit.resources import Resources
from crewmesh_kit.settings import DaprSettings, DatabaseSettings

SIDECAR_SECONDS = 60.0
_BETWEEN_LOOKS_SECONDS = 0.1
_BETWEEN_LOG_LINES_SECONDS = 5.0

log = get_logger(__name__)


class SidecarMissing(Exception):  # noqa: N818  reads as the sentence it is
    """The sidecar did not become healthy in time."""


async def open_sidecar(
    app_id: str, settings: DaprSettings, given: Sidecar | None, resources: Resources, stack: AsyncExitStack
) -> None:
    """The ``given`` sidecar (a test's), or the real one once it is healthy; readiness follows its health."""
    if given is not None:
        resources.add(await stack.enter_async_context(given), as_=Sidecar)
        return
    await wait_for_sidecar(settings, resources.get(Lifecycle))
    resources.add(await stack.enter_async_context(Sidecar(app_id, settings)))
    session = await stack.enter_async_context(aiohttp.ClientSession())

    async def trouble() -> str | None:
        return await sidecar_trouble(session, settings)

    resources.get(Readiness).add("sidecar", trouble)


async def wait_for_sidecar(dapr: DaprSettings, lifecycle: Lifecycle, *, seconds: float = SIDECAR_SECONDS) -> None:
    """Until the sidecar has its components ready and can be used, or the service is asked to stop."""
    started = time.monotonic()
    told = -math.inf
    async with aiohttp.ClientSession() as session:
        while (reason := await sidecar_trouble(session, dapr)) is not None:
            now = time.monotonic()
            if now - started > seconds or lifecycle.stopping.is_set():
                raise SidecarMissing(
                    f"no healthy sidecar after {now - started:.0f} s: {reason}. Start the service with its sidecar "
                    "(make run), and look into the sidecar's log for a component that fails."
                )
            if now - told > _BETWEEN_LOG_LINES_SECONDS:
                told = now
                log.info("waiting for the sidecar", waited_seconds=round(now - started, 1), reason=reason)
            await asyncio.sleep(_BETWEEN_LOOKS_SECONDS)
    log.info("sidecar is ready", waited_seconds=round(time.monotonic() - started, 1))


async def sidecar_trouble(session: aiohttp.ClientSession, dapr: DaprSettings) -> str | None:
    """Why the sidecar cannot be used right now; none when it can."""
    url = f"http://127.0.0.1:{dapr.http_port}/v1.0/healthz/outbound"
    headers = {"dapr-api-token": dapr.api_token.get_secret_value()}
    try:
        async with session.get(url, headers=headers, timeout=aiohttp.ClientTimeout(total=2)) as answer:
            return None if answer.status == 204 else f"{url} answers {answer.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"{url} does not answer ({type(error).__name__})"


async def provide_identity(app_id: str, resources: Resources) -> None:
    """The keys come from the secret store: our own to sign with, everybody's public ones to verify with."""
    sidecar = resources.get(Sidecar)
    own, everybodys = await asyncio.gather(sidecar.secret(f"identity-key-{app_id}"), sidecar.secret("identity-keys"))
    resources.add(TokenSigner(own, app_id=app_id))
    verifier = TokenVerifier(everybodys, audience=app_id)
    resources.add(verifier)
    resources.add(TokenAuthenticator(verifier), as_=Authenticator)


async def open_database(
    app_id: str, settings: DatabaseSettings, migrations: Path, resources: Resources, stack: AsyncExitStack
) -> None:
    """The service's own schema, migrated; its outbox is relayed while the service runs."""
    sidecar, background = resources.get(Sidecar), resources.get(Background)
    url = settings.url.get_secret_value() if settings.url else await sidecar.secret(f"database-url-{app_id}")
    parts = await stack.enter_async_context(
        database_parts(
            url, app_id=app_id, settings=settings, migrations=migrations, publisher=sidecar, hold=background.hold
        )
    )
    for part in (parts.database, parts.outbox, parts.idempotency, DeadLetters(parts.database, sidecar)):
        resources.add(part)
    resources.get(Readiness).add("database", parts.database.why_not_ready)
    # Also when a later step of starting fails, the loops must be gone before the pool is.
    stack.push_async_callback(background.close)
    for name, run in parts.loops.items():
        background.supervise(name, run)
