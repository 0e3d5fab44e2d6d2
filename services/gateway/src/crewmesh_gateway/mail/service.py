"""Sending a mail means writing it down: it leaves if and only if the transaction that tells of it is committed."""

from __future__ import annotations

import asyncio

from crewmesh_kit.db.database import after_commit
from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.mail.models import Mail, WaitingMail
from crewmesh_gateway.mail.repository import MailRepository, MailRow
from crewmesh_gateway.signing_keys.master import MasterKey

_PURPOSE = "mails"


class Mailer:
    def __init__(self, repository: MailRepository, master: MasterKey) -> None:
        self._repository = repository
        self._master = master
        # Set when there is something to send; whoever delivers waits for it.
        self.filled = asyncio.Event()

    async def send(self, conn: AsyncConnection[DictRow], mail: Mail) -> None:
        """``conn`` may be an organization's transaction or the system's."""
        mail_id = new_id("mail")
        await self._repository.add(conn, mail_id, mail.to, self._master.seal(_PURPOSE, mail.content(), about=mail_id))
        after_commit(conn, self.filled.set)

    def opened(self, row: MailRow) -> WaitingMail:
        """A mail that was written down, to be delivered now."""
        mail = Mail.from_content(self._master.open(_PURPOSE, row.sealed, about=row.id))
        return WaitingMail(row.id, mail, row.created_at, row.attempts)
