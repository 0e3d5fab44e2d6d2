"""What a link to a decision carries: whose word it is, about what, until when, and that we made it.

``<what it says>.<HMAC-SHA256 of it>``, both base64url. The key is derived from the platform's master key for hooks, so
that nothing needs to be stored for a link to work, and only its use is noted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.identity import Identity

from crewmesh_workflow.approvals.errors import LinkNotUsable
from crewmesh_workflow.approvals.rules import DECIDE

_PURPOSE = b"approval-links/v1"


@dataclass(frozen=True, slots=True)
class Grant:
    """One person's word about one question, once. ``group`` is why that person may decide, if not by name."""

    organization: str
    approval: str
    subject: str
    group: str | None
    expires: int
    nonce: str

    @property
    def identity(self) -> Identity:
        """Who decides with the link: it may do this and nothing else."""
        groups = frozenset[str]() if self.group is None else frozenset({self.group})
        return Identity(self.organization, self.subject, frozenset({DECIDE}), groups)


class LinkTokens:
    def __init__(self, master_key: str, *, now: Callable[[], float] = time.time) -> None:
        if not master_key:
            raise ValueError("links to approvals cannot be signed with an empty key")
        self._key = hmac.digest(master_key.encode(), _PURPOSE, hashlib.sha256)
        self._now = now

    def grant(self, *, organization: str, approval: str, subject: str, group: str | None, seconds: int) -> Grant:
        nonce = secrets.token_urlsafe(16)
        return Grant(organization, approval, subject, group, int(self._now()) + seconds, nonce)

    def write(self, grant: Grant) -> str:
        said = [grant.organization, grant.approval, grant.subject, grant.group, grant.expires, grant.nonce]
        payload = json.dumps(said, separators=(",", ":")).encode()
        return f"{_text(payload)}.{_text(self._signature(payload))}"

    def read(self, token: str) -> Grant:
        """LinkNotUsable whatever is wrong with it."""
        payload, signature = _parts(token)
        # Nothing of it is looked into before it is known to be ours.
        if not hmac.compare_digest(self._signature(payload), signature):
            raise LinkNotUsable
        said = cast("tuple[str, str, str, str | None, int, str]", tuple(cast("list[JsonObject]", json.loads(payload))))
        grant = Grant(*said)
        if grant.expires <= self._now():
            raise LinkNotUsable
        return grant

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, hashlib.sha256)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _parts(token: str) -> tuple[bytes, bytes]:
    parts = token.split(".")
    if len(parts) != 2 or not token.isascii():
        raise LinkNotUsable
    try:
        payload, signature = (base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True) for part in parts)
    except (ValueError, binascii.Error) as error:
        raise LinkNotUsable from error
    return payload, signature
