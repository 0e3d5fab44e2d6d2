"""Running a service inside the test: its whole start and stop, and a client that talks to it without a socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
from fastapi import FastAPI

from crewmesh_testkit.audit_trail import watched


@asynccontextmanager
async def running(app: FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    """Start the app as a server would, give a client, stop it. An exception in a handler is a 500, as in production."""
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=watched(app), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service.test", timeout=30) as client:
            yield client
