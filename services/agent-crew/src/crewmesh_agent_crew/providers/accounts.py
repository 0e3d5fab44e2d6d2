"""The accounts with which an organization's models are asked: its own, and the one that the deployment gives to all."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from crewmesh_kit.app import Resources
from crewmesh_kit.dapr.sidecar import Sidecar

from crewmesh_agent_crew.providers.protocol import Account
from crewmesh_agent_crew.settings import ModelSettings, Settings

DEPLOYMENT = "default"


class Accounts:
    def __init__(self, deployment: Account) -> None:
        self._deployment = deployment

    async def all(self, organization: str) -> Mapping[str, Account]:
        """Every account that this organization has, by name."""
        return {DEPLOYMENT: self._deployment}

    async def get(self, organization: str, name: str) -> Account | None:
        return (await self.all(organization)).get(name)


def deployment_account(settings: ModelSettings, key: str) -> Account:
    return Account(
        name=DEPLOYMENT,
        kind="openai-compatible",
        base_url=settings.url,
        key=key,
        options={"token_limit_parameter": settings.token_limit_parameter},
    )


@asynccontextmanager
async def open_accounts(resources: Resources) -> AsyncGenerator[Accounts]:
    settings = resources.get(Settings).model
    if settings.api_key is None:
        key = await resources.get(Sidecar).secret("model-api-key")
    else:
        key = settings.api_key.get_secret_value()
    yield Accounts(deployment_account(settings, key.strip()))
