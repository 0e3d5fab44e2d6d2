"""What a mail is, and the form it travels in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from crewmesh_gateway.mail.addresses import deliverable

_LONGEST_SUBJECT = 200
# Not every server on the way passes eight bits on.
_SEVEN_BITS = SMTP.clone(cte_type="7bit")


@dataclass(frozen=True, slots=True)
class Mail:
    """What somebody is told. ``html`` may be left out; then the text is shown as it is."""

    to: str
    subject: str
    text: str
    html: str | None = None

    def __post_init__(self) -> None:
        if not self.subject.isprintable() or len(self.subject) > _LONGEST_SUBJECT:
            raise ValueError("the subject of a mail is one short line")
        deliverable(self.to)

    def content(self) -> bytes:
        return json.dumps([self.to, self.subject, self.text, self.html]).encode()

    @classmethod
    def from_content(cls, content: bytes) -> Mail:
        return cls(*json.loads(content))


@dataclass(frozen=True, slots=True)
class WaitingMail:
    """A mail that was written down and is to be sent. Its id makes the Message-ID, the same at every attempt."""

    id: str
    mail: Mail
    created_at: datetime
    attempts: int


def message_of(waiting: WaitingMail, *, sender: str) -> EmailMessage:
    """As SMTP carries it. No name and no text of a user gets into a header."""
    name, address = parseaddr(sender)
    message = EmailMessage(policy=_SEVEN_BITS)
    message["From"] = Address(name, addr_spec=address)
    message["To"] = Address(addr_spec=deliverable(waiting.mail.to))
    message["Subject"] = waiting.mail.subject
    message["Date"] = format_datetime(waiting.created_at)
    message["Message-ID"] = f"<{waiting.id}@{address.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(waiting.mail.text)
    if waiting.mail.html is not None:
        message.add_alternative(waiting.mail.html, subtype="html")
    return message
