"""Somebody who was let in, and what was shown at the door."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from crewmesh_kit.identity import Identity

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a valid access token says: this person, in this organization, by this login."""

    user: str
    organization: str
    session: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A person by a session, or a key that acts for a person or for a service account.

    ``identity`` is what services get to see. What a key may do is what its owner may do at the time, within its scopes.
    """

    identity: Identity
    # ses_… or key_…
    credential: str
    # Whom the credential belongs to; nobody when it is a service account's.
    user: str | None
    role: str
    plan: str
    # The organization is deleted and may still be restored.
    deleting: bool
    delete_after: datetime | None = None
    allowlist: tuple[Network, ...]
    # When the credential ends by itself.
    expires_at: datetime | None

    @property
    def organization(self) -> str:
        return self.identity.organization

    @property
    def is_person(self) -> bool:
        """Whether somebody is logged in, rather than a program with a key."""
        return self.credential.startswith("ses_")
