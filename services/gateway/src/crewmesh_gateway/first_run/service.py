"""On the first start of an installation, and never again: an organization, its owner, and a key to begin with.

The key comes from the secret store, where whoever installed Crewmesh can read it. All rows and the announcement of the
organization (which makes the other services give it its starting content) are one transaction under a lock, so that
any number of replicas may start at once, and die at any moment.
"""

from __future__ import annotations

from crewmesh_contracts.events import OrganizationCreated
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db import outbox
from crewmesh_kit.db.database import Database
from crewmesh_kit.identity import ALL_PERMISSIONS
from crewmesh_kit.ids import new_id
from crewmesh_kit.logs import get_logger

from crewmesh_gateway.api_keys.models import PresentedKey
from crewmesh_gateway.first_run import repository
from crewmesh_gateway.settings import FirstRunSettings

FIRST_KEY_SECRET = "first-run-api-key"

_log = get_logger(__name__)


class FirstRun:
    def __init__(self, database: Database, sidecar: Sidecar, settings: FirstRunSettings) -> None:
        self._database = database
        self._sidecar = sidecar
        self._settings = settings

    async def ensure(self) -> bool:
        """Whether this call was the one that founded the organization."""
        async with self._database.system() as connection:
            if await repository.organization_exists(connection):
                return False
        key = await self._first_key()
        async with self._database.system() as connection:
            await repository.wait_for_turn(connection)
            if await repository.organization_exists(connection):
                return False
            founding = self._founding(key)
            await repository.write(connection, founding)
            await outbox.add(
                connection, OrganizationCreated(organization=founding.organization_id, name=founding.organization)
            )
        _log.info("first organization created", organization=founding.organization_id, key_prefix=key.prefix)
        return True

    def _founding(self, key: PresentedKey) -> repository.Founding:
        return repository.Founding(
            organization_id=new_id("org"),
            organization=self._settings.organization,
            owner_id=new_id("usr"),
            owner=self._settings.owner,
            key_id=new_id("key"),
            key=key,
            # The owner of the installation; keys with less are made from this one.
            permissions=(ALL_PERMISSIONS,),
        )

    async def _first_key(self) -> PresentedKey:
        key = PresentedKey.parse(await self._sidecar.secret(FIRST_KEY_SECRET))
        if key is None:
            raise ValueError(
                f"the secret {FIRST_KEY_SECRET} is not an API key, or was not copied whole; "
                "crewmesh_contracts.api_keys.new_text() makes one"
            )
        return key
