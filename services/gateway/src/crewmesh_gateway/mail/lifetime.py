"""The mailer inside the running gateway, and whoever delivers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Service
from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources

from crewmesh_gateway.mail.delivery import Delivery
from crewmesh_gateway.mail.repository import MailRepository
from crewmesh_gateway.mail.service import Mailer
from crewmesh_gateway.mail.transports import transport_of
from crewmesh_gateway.settings import Settings
from crewmesh_gateway.signing_keys.master import MasterKey


def install(service: Service) -> None:
    service.lifetime(open_mailer)
    service.background("mails", keep_delivering)


@asynccontextmanager
async def open_mailer(resources: Resources) -> AsyncGenerator[Mailer]:
    settings = resources.get(Settings).mail
    repository = MailRepository(resources.get(Database))
    mailer = Mailer(repository, resources.get(MasterKey))
    resources.add(Delivery(repository, mailer, transport_of(settings), settings))
    yield mailer


async def keep_delivering(resources: Resources) -> None:
    await resources.get(Delivery).run()
