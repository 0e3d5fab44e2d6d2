"""Somebody who was let in, and what was shown at the door."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from crewmesh_kit.identity import Identity

from crewmesh_gateway.principals.errors import NoOrganization

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The organization of an identity that has none.
NOWHERE = ""


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a valid access token says: this person, in this organization (or in none), by this login."""

    user: str
    organization: str | None
    session: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A person by a session, or a key that acts for a person or for a service account.

    ``identity`` is what services get to see. What a key may do is what its owner may do at the time, within its scopes.
    A person who belongs to no organization has no role and no permissions; what is their own they may do.
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
        """Raises NoOrganization where there is none: whoever asks for it cannot go on without."""
        if not self.has_organization:
            raise NoOrganization
        return self.identity.organization

    @property
    def has_organization(self) -> bool:
        return self.identity.organization != NOWHERE

    @property
    def is_person(self) -> bool:
        """Whether somebody is logged in, rather than a program with a key."""
        return self.credential.startswith("ses_")
