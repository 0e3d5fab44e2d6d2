"""Delivers what was written down. Every replica does; they share the rows without meeting.

A mail is claimed for as long as an attempt may take, sent, and deleted. Whoever dies in between leaves it to be sent
once more with the same Message-ID, which is as much as SMTP allows. What fails is tried again after pauses that grow.
"""

from __future__ import annotations

import asyncio
import random

from crewmesh_kit.db.database import DatabaseUnavailable, persistently
from crewmesh_kit.logs import get_logger

from crewmesh_gateway.mail.models import message_of
from crewmesh_gateway.mail.repository import MailRepository, MailRow
from crewmesh_gateway.mail.service import Mailer
from crewmesh_gateway.mail.transports import MailDelayed, MailRefused, Transport
from crewmesh_gateway.settings import MailSettings
from crewmesh_gateway.signing_keys.master import Unsealable

_AT_ONCE = 5
_POLL_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 1800.0
_KEEP_GIVEN_UP_DAYS = 30

log = get_logger(__name__)


class Delivery:
    def __init__(
        self, repository: MailRepository, mailer: Mailer, transport: Transport | None, settings: MailSettings
    ) -> None:
        self._repository = repository
        self._mailer = mailer
        self._transport = transport
        self._settings = settings

    async def run(self) -> None:
        if self._transport is None:
            log.warning(
                "mails wait: set CREWMESH_MAIL__HOST to an SMTP server, or CREWMESH_MAIL__OUTBOX to a folder for them"
            )
            return
        while True:
            self._mailer.filled.clear()
            try:
                while await self.deliver_batch(self._transport):
                    pass
                await self._repository.forget_given_up(days=_KEEP_GIVEN_UP_DAYS)
            except DatabaseUnavailable as problem:
                log.warning("mails wait", reason=problem.detail)
            try:
                # Not wait_for(): before Python 3.12 it may swallow a cancellation that comes together with the event.
                async with asyncio.timeout(min(_POLL_SECONDS, self._settings.first_pause_seconds)):
                    await self._mailer.filled.wait()
            except TimeoutError:
                continue

    async def deliver_batch(self, transport: Transport) -> int:
        """Attempt the mails that are due, a few, and say how many those were."""
        # Connecting, greeting, encrypting, logging in and sending may each take as long as is set.
        lease = self._settings.timeout_seconds * 6
        rows = await self._repository.claim(most=_AT_ONCE, lease_seconds=lease)
        await asyncio.gather(*(self._attempt(row, transport) for row in rows))
        return len(rows)

    async def _attempt(self, row: MailRow, transport: Transport) -> None:
        try:
            waiting = self._mailer.opened(row)
            await transport.deliver(row.id, message_of(waiting, sender=self._settings.sender))
        except MailDelayed as error:
            await self._try_later(row, str(error))
        except (MailRefused, Unsealable) as error:
            await self._give_up(row, str(error))
        else:
            # It is out: it must not stay written down as one that is not.
            await persistently(lambda: self._repository.sent(row.id))

    async def _try_later(self, row: MailRow, trouble: str) -> None:
        if row.attempts >= self._settings.attempts:
            await self._give_up(row, trouble)
            return
        pause = min(self._settings.first_pause_seconds * 2 ** (row.attempts - 1), _LONGEST_PAUSE_SECONDS)
        pause *= random.uniform(0.8, 1.2)
        log.warning("mail is not sent yet", mail=row.id, attempts=row.attempts, trouble=trouble, pause_seconds=pause)
        await self._repository.failed(row.id, trouble, pause_seconds=pause, last=False)

    async def _give_up(self, row: MailRow, trouble: str) -> None:
        log.error("mail cannot be sent", mail=row.id, attempts=row.attempts, trouble=trouble)
        await self._repository.failed(row.id, trouble, pause_seconds=0, last=True)
