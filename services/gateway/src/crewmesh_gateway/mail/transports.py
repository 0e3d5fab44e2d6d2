"""Where mails go: to the operator's SMTP server, or into a folder on a machine that has none."""

from __future__ import annotations

import asyncio
import os
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol

import aiosmtplib

from crewmesh_gateway.settings import MailSettings


class MailDelayed(Exception):  # noqa: N818  it says what became of the mail
    """It could not be sent now; later it may be."""


class MailRefused(Exception):  # noqa: N818  it says what became of the mail
    """Its recipient or its content was refused, and will be."""


class Transport(Protocol):
    async def deliver(self, mail_id: str, message: EmailMessage) -> None: ...


class SmtpTransport:
    def __init__(self, settings: MailSettings, host: str) -> None:
        self._settings = settings
        self._host = host

    async def deliver(self, mail_id: str, message: EmailMessage) -> None:
        settings = self._settings
        try:
            await aiosmtplib.send(
                message,
                hostname=self._host,
                port=settings.port,
                username=settings.user,
                password=settings.password.get_secret_value() if settings.password else None,
                use_tls=settings.tls == "tls",
                start_tls=settings.tls == "starttls",
                timeout=settings.timeout_seconds,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _outcome(max(each.code for each in error.recipients), error) from error
        except aiosmtplib.SMTPDataError as error:
            raise _outcome(error.code, error) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise MailDelayed(_told(error)) from error


def _outcome(code: int, error: aiosmtplib.SMTPException) -> Exception:
    return MailRefused(_told(error)) if code >= 500 else MailDelayed(_told(error))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class FolderTransport:
    """One .eml file a mail, named by its id: written again, it is still one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def deliver(self, mail_id: str, message: EmailMessage) -> None:
        try:
            await asyncio.to_thread(self._write, mail_id, message.as_bytes())
        except OSError as error:
            raise MailDelayed(_told(error)) from error

    def _write(self, mail_id: str, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._folder / f".{mail_id}.new"
        # Readable by its owner only: the links in it let somebody in.
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        fresh.replace(self._folder / f"{mail_id}.eml")


def transport_of(settings: MailSettings) -> Transport | None:
    """None when neither an SMTP server nor a folder is set."""
    if settings.host is not None:
        return SmtpTransport(settings, settings.host)
    return FolderTransport(settings.outbox) if settings.outbox is not None else None
