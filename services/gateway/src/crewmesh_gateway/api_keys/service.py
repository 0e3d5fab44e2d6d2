"""Making, rotating and revoking API keys.

A key never does more than whoever made it could, nor more than whoever it acts for may at the time. Its secret exists
in one answer only: a repeated request with the same Idempotency-Key is told which key it made, and that is all. Keeping
the secret for repetitions, or a way to derive it, would be a second place to steal it from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from crewmesh_contracts import permissions
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.etags import require_match
from crewmesh_kit.http.pagination import Page, PageRequest
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import BaseModel

from crewmesh_gateway.api_keys import repository
from crewmesh_gateway.api_keys.errors import (
    KeyEnded,
    KeyShownBefore,
    NoMember,
    NotForItsOwner,
    SomebodyElsesKey,
    UnknownApiKey,
)
from crewmesh_gateway.api_keys.models import PresentedKey
from crewmesh_gateway.api_keys.schemas import ApiKey, ApiKeyChange, NewApiKey, Rotation, ShownApiKey
from crewmesh_gateway.limits.quotas import Quotas
from crewmesh_gateway.organizations.guards import active
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.roles.grants import permissions_of, require_to_hold
from crewmesh_gateway.service_accounts.service import required as required_account

_TOLD = {"name", "scopes", "user", "service_account", "expires_at", "revoked_at", "rotated_from"}
Make = Callable[[AsyncConnection[DictRow], PresentedKey], Awaitable[ApiKey]]


class ApiKeys:
    def __init__(self, database: Database, idempotency: Idempotency, principals: Principals, quotas: Quotas) -> None:
        self._database = database
        self._idempotency = idempotency
        self._principals = principals
        self._quotas = quotas

    async def page(self, principal: Principal, request: PageRequest, service_account: str | None) -> Page[ApiKey]:
        after = request.after_text()
        async with self._database.tenant(principal.organization) as conn:
            keys = await repository.page(
                conn,
                principal.organization,
                service_account=service_account,
                after=after,
                limit=request.limit + 1,
            )
        return request.page(keys, lambda each: (each.id,))

    async def get(self, principal: Principal, key: str) -> ApiKey:
        async with self._database.tenant(principal.organization) as conn:
            return await _required(conn, principal, key)

    async def create(self, principal: Principal, new: NewApiKey, *, idempotency_key: str | None) -> ShownApiKey:
        async def make(conn: AsyncConnection[DictRow], secret: PresentedKey) -> ApiKey:
            require_to_hold(principal, new.scopes)
            account = new.service_account or _own_account(principal)
            if account is not None:
                await _check_account(conn, principal, account, new.scopes)
            await self._quotas.check(conn, principal.organization, "api_keys")
            wanted = repository.NewKey(
                name=new.name,
                scopes=new.scopes,
                expires_at=new.expires_at,
                user=principal.user if account is None else None,
                service_account=account,
            )
            return await _added(conn, principal, wanted, secret)

        return await self._shown_once(principal, "api-keys", idempotency_key, new, make)

    async def rotate(
        self, principal: Principal, key: str, rotation: Rotation, *, idempotency_key: str | None
    ) -> ShownApiKey:
        async def make(conn: AsyncConnection[DictRow], secret: PresentedKey) -> ApiKey:
            old = await _required(conn, principal, key, lock=True)
            _check_rotation(principal, old)
            ended = await repository.end(conn, principal.organization, old.id, in_seconds=rotation.overlap_seconds)
            await self._told(conn, principal, "api-key.rotated", old, ended)
            successor = repository.NewKey(
                name=old.name,
                scopes=old.scopes,
                expires_at=rotation.expires_at or _as_long_as(old),
                user=old.user,
                service_account=old.service_account,
                rotated_from=old.id,
            )
            return await _added(conn, principal, successor, secret)

        return await self._shown_once(principal, f"api-keys/{key}/rotate", idempotency_key, rotation, make)

    async def change(self, principal: Principal, key: str, change: ApiKeyChange, if_match: str | None) -> ApiKey:
        async with self._database.tenant(principal.organization) as conn:
            before = await _required(conn, principal, key, lock=True)
            require_match(if_match, before.version)
            if change.name == before.name:
                return before
            after = await repository.rename(conn, principal.organization, key, change.name)
            return await self._told(conn, principal, "api-key.updated", before, after)

    async def revoke(self, principal: Principal, key: str) -> None:
        """At once and everywhere; a key that is revoked already stays so."""
        async with self._database.tenant(principal.organization) as conn:
            before = await _required(conn, principal, key, lock=True)
            if before.status == "revoked":
                return
            after = await repository.end(conn, principal.organization, key, in_seconds=0)
            await self._told(conn, principal, "api-key.revoked", before, after)

    async def _shown_once(
        self, principal: Principal, scope: str, idempotency_key: str | None, request: BaseModel, make: Make
    ) -> ShownApiKey:
        secret = PresentedKey.generate()
        async with self._database.tenant(principal.organization) as conn:

            async def work() -> ApiKey:
                await active(conn, principal.organization)
                return await make(conn, secret)

            made = await self._idempotency.once_in(
                conn, identity=principal.identity, scope=scope, key=idempotency_key, request=request, work=work
            )
            if made.prefix != secret.prefix:
                raise KeyShownBefore(made.id)
        return ShownApiKey(**made.model_dump(), key=secret.text)

    async def _told(
        self, conn: AsyncConnection[DictRow], principal: Principal, action: str, before: ApiKey, after: ApiKey | None
    ) -> ApiKey:
        if after is None:
            raise UnknownApiKey(before.id)
        self._principals.forget_with(conn, before.id)
        await audit.record(
            conn,
            principal.identity,
            action,
            before.id,
            before=before.model_dump(mode="json", include=_TOLD),
            after=after.model_dump(mode="json", include=_TOLD),
        )
        return after


async def _required(conn: AsyncConnection[DictRow], principal: Principal, key: str, *, lock: bool = False) -> ApiKey:
    found = await repository.find(conn, principal.organization, key, lock=lock)
    if found is None:
        raise UnknownApiKey(key)
    return found


async def _added(
    conn: AsyncConnection[DictRow], principal: Principal, wanted: repository.NewKey, secret: PresentedKey
) -> ApiKey:
    added = await repository.add(conn, principal.organization, wanted, secret, created_by=principal.identity.subject)
    if added is None:
        raise NoMember
    await audit.record(
        conn, principal.identity, "api-key.created", added.id, after=added.model_dump(mode="json", include=_TOLD)
    )
    return added


def _own_account(principal: Principal) -> str | None:
    """The service account that the asking key acts for, if that is what asks."""
    return None if principal.user else principal.identity.acting_for


async def _check_account(
    conn: AsyncConnection[DictRow], principal: Principal, account: str, scopes: tuple[str, ...]
) -> None:
    role = (await required_account(conn, principal, account)).role
    held = await permissions_of(conn, principal.organization, role)
    if missing := frozenset(scopes) - permissions.both(frozenset(scopes), held):
        raise NotForItsOwner(account, role, missing)


def _check_rotation(principal: Principal, old: ApiKey) -> None:
    if old.user is not None and old.user != principal.user:
        raise SomebodyElsesKey(old.user)
    if old.status != "active":
        raise KeyEnded(old.status)
    require_to_hold(principal, old.scopes)


def _as_long_as(old: ApiKey) -> datetime | None:
    return None if old.expires_at is None else datetime.now(UTC) + (old.expires_at - old.created_at)
