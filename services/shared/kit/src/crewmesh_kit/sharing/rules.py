"""Who reaches which resources. Nothing here touches the database.

The permission of a role reaches everything that is not restricted. What is restricted is reached by who was granted the
level, and by owners and admins, as far as their permissions go. What a grant adds to a role belongs to a person who is
logged in: a key never does more than its scopes and the role behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crewmesh_kit.identity import ALL_PERMISSIONS, Identity
from crewmesh_kit.sharing.models import LEVELS, Level, Need, Shared

_ALWAYS = frozenset({"role:owner", "role:admin"})


@dataclass(frozen=True, slots=True)
class Reach:
    """All resources of a kind but some; or only some.

    In SQL: ``(%(only)s::text[] IS NULL OR id = ANY(%(only)s)) AND id <> ALL(%(but)s::text[])`` with ``parameters``.
    """

    only: frozenset[str] | None = None
    but: frozenset[str] = frozenset()

    @property
    def everything(self) -> bool:
        return self.only is None and not self.but

    @property
    def nothing(self) -> bool:
        return self.only is not None and not self.only

    @property
    def parameters(self) -> dict[str, object]:
        return {"only": None if self.only is None else sorted(self.only), "but": sorted(self.but)}

    def __contains__(self, resource: object) -> bool:
        return resource not in self.but and (self.only is None or resource in self.only)


EVERYTHING = Reach()


def reach(identity: Identity, need: Need, shared: Mapping[str, Shared]) -> Reach:
    """What of a kind ``identity`` reaches; ``shared``: the organization's resources of it that have an access."""
    if identity.allows(need.permission):
        return Reach(but=frozenset(id_ for id_, access in shared.items() if not _admits(identity, need, id_, access)))
    return Reach(only=frozenset(id_ for id_, access in shared.items() if _adds(identity, need.level, access)))


def reaches(identity: Identity, need: Need, resource: str, access: Shared | None) -> bool:
    """The same for a single resource, which has no access when nobody gave it one."""
    if identity.allows(need.permission):
        return access is None or _admits(identity, need, resource, access)
    return access is not None and _adds(identity, need.level, access)


def sees(identity: Identity, need: Need, resource: str, access: Shared | None) -> bool:
    """Whether ``identity`` may know that the resource is there."""
    return reaches(identity, Need(need.kind, "view", need.seeing, need.seeing), resource, access)


def names_of(identity: Identity) -> frozenset[str]:
    """What a grantee may be called so that this identity is meant. A key is meant by whom it acts for."""
    prefix = {"usr": "user", "sva": "service-account"}.get(identity.behind.partition("_")[0])
    return identity.groups | ({f"{prefix}:{identity.behind}"} if prefix else frozenset[str]())


def _admits(identity: Identity, need: Need, resource: str, access: Shared) -> bool:
    """Whether somebody whose role goes so far is let in here."""
    return (
        not access.restricted
        or ALL_PERMISSIONS in identity.permissions
        or not _ALWAYS.isdisjoint(identity.groups)
        or f"{need.kind.name}:{resource}" in identity.groups  # a workflow's runs and the workflow are one
        or _granted(identity, need.level, access)
    )


def _adds(identity: Identity, level: Level, access: Shared) -> bool:
    """Whether a grant gives what the role does not."""
    is_person = identity.acting_for is None and identity.subject.startswith("usr_")
    return is_person and _granted(identity, level, access)


def _granted(identity: Identity, level: Level, access: Shared) -> bool:
    enough = LEVELS[LEVELS.index(level) :]
    return any(access.grants.get(name) in enough for name in names_of(identity))
