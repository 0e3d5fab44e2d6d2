"""Organizations inside the running gateway, with everything that belongs to them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Service
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.resources import Resources

from crewmesh_gateway.accounts.throttle import Throttle
from crewmesh_gateway.invitations import endpoints as invitations
from crewmesh_gateway.invitations.accepting import Accepting
from crewmesh_gateway.invitations.guesses import Guessing
from crewmesh_gateway.invitations.letters import InvitationLetters
from crewmesh_gateway.invitations.service import Invitations
from crewmesh_gateway.limits.quotas import Quotas
from crewmesh_gateway.mail.service import Mailer
from crewmesh_gateway.members import endpoints as members
from crewmesh_gateway.members.service import Members
from crewmesh_gateway.members.transfer import Transfers
from crewmesh_gateway.organizations import endpoints as organizations
from crewmesh_gateway.organizations.ending import Ending
from crewmesh_gateway.organizations.service import Organizations
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.roles import endpoints as roles
from crewmesh_gateway.roles.service import Roles
from crewmesh_gateway.settings import Settings
from crewmesh_gateway.teams import endpoints as teams
from crewmesh_gateway.teams.service import Teams


def install(service: Service) -> None:
    service.lifetime(open_organizations)
    service.background("organizations that end", keep_erasing)
    service.routes(organizations.router, members.router, invitations.router, teams.router, roles.router)


@asynccontextmanager
async def open_organizations(resources: Resources) -> AsyncGenerator[Organizations]:
    settings, quotas = resources.get(Settings), resources.get(Quotas)
    database, idempotency = resources.get(Database), resources.get(Idempotency)
    principals, mailer = resources.get(Principals), resources.get(Mailer)
    letters, throttle = InvitationLetters(settings), Throttle(database, settings.accounts)
    for part in (
        Ending(database, principals, settings.organizations),
        Members(database, principals),
        Transfers(database, principals),
        Invitations(database, idempotency, mailer, letters, quotas, throttle, settings.invitations),
        Accepting(database, principals),
        Guessing(settings.throttle),
        Teams(database, idempotency, principals, quotas),
        Roles(database, idempotency, principals, quotas),
    ):
        resources.add(part)
    yield Organizations(database, idempotency, settings.organizations)


async def keep_erasing(resources: Resources) -> None:
    await resources.get(Ending).keep_erasing()
