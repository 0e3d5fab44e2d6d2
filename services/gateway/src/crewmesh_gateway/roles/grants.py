"""The one rule about giving: nobody gives, changes or takes away more than they hold themselves.

It holds for roles of members, of invitations and of service accounts, and for what a custom role is made of. A key
holds what it was made for, whoever made it; everything (``*``) is held by owners alone, so that only an owner makes or
unmakes one.
"""

from __future__ import annotations

from collections.abc import Iterable

from crewmesh_contracts import permissions
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.roles import repository
from crewmesh_gateway.roles.errors import MoreThanYouHold, UnknownRole


def require_to_hold(principal: Principal, wanted: Iterable[str]) -> None:
    """Refused unless whoever asks holds all of ``wanted``."""
    held, asked = principal.identity.permissions, frozenset(wanted)
    if not covers(held, asked):
        raise MoreThanYouHold(asked - held)


def covers(greater: frozenset[str], lesser: frozenset[str]) -> bool:
    return permissions.EVERYTHING in greater or lesser <= greater


async def permissions_of(conn: AsyncConnection[DictRow], organization: str, role: str) -> frozenset[str]:
    """What a role allows: a built-in one's name, or the id of one of the organization's own."""
    if role in permissions.BUILT_IN_ROLES:
        return permissions.of_role(role)
    found = await repository.find(conn, organization, role)
    if found is None:
        raise UnknownRole(role)
    return frozenset(found.permissions)


async def require_to_give(conn: AsyncConnection[DictRow], principal: Principal, role: str) -> frozenset[str]:
    """What the role allows; refused unless whoever asks holds all of it."""
    wanted = await permissions_of(conn, principal.organization, role)
    require_to_hold(principal, wanted)
    return wanted
