"""A real SMTP server in this process, and the mails that arrived at it."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from .gateway import until

_TOKEN = re.compile(r"token=([A-Za-z0-9_-]+)")


def parsed(content: bytes) -> EmailMessage:
    return message_from_bytes(content, policy=default)


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


@dataclass
class PostOffice:
    """``answers`` are given to the next mails instead of taking them; then they are taken."""

    port: int = 0
    arrived: list[EmailMessage] = field(default_factory=list[EmailMessage])
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list[tuple[str, list[str]]])
    logins: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    refuse_recipient: str | None = None
    answers: list[str] = field(default_factory=list[str])

    async def handle_RCPT(  # noqa: N802  the server finds it by this name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.refuse_recipient is not None:
            return self.refuse_recipient
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.answers:
            return self.answers.pop(0)
        self.envelopes.append((envelope.mail_from or "", list(envelope.rcpt_tos)))
        self.arrived.append(parsed(cast(bytes, envelope.content)))
        return "250 OK"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: LoginPassword
    ) -> AuthResult:
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"right")

    def to(self, address: str) -> list[EmailMessage]:
        return [message for message in self.arrived if message["To"] == address]

    async def next_to(self, address: str, *, after: int = 0) -> EmailMessage:
        """The mail to the address that follows the first ``after`` ones."""
        await until(lambda: len(self.to(address)) > after)
        return self.to(address)[after]

    async def token_to(self, address: str, *, after: int = 0) -> str:
        found = _TOKEN.search(text_of(await self.next_to(address, after=after)))
        assert found is not None
        return found[1]


@asynccontextmanager
async def post_office(*, tls: ssl.SSLContext | None = None, login: bool = False) -> AsyncGenerator[PostOffice]:
    office = PostOffice()

    def serve() -> SMTP:
        return SMTP(
            office,
            hostname="post.test",
            tls_context=tls,
            require_starttls=tls is not None,
            authenticator=office.authenticate if login else None,
            auth_required=login,
        )

    server = await asyncio.get_running_loop().create_server(serve, "127.0.0.1", 0)
    office.port = server.sockets[0].getsockname()[1]
    try:
        yield office
    finally:
        server.close()
