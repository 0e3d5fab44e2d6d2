"""Every permission there is, in one place, and the four roles that every organization has.

A route names the permission it needs; a role, a key's scope and a custom role are sets of these names. Each permission
says the least role that has it, and the greater roles have all that the lesser ones have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

EVERYTHING = "*"

BuiltInRole = Literal["viewer", "editor", "admin", "owner"]
# From the least to the greatest.
BUILT_IN_ROLES: tuple[BuiltInRole, ...] = get_args(BuiltInRole)


@dataclass(frozen=True, slots=True)
class Permission:
    """``<resource>:<verb>``, what it allows in one sentence, and who has it without being given it."""

    name: str
    about: str
    least: BuiltInRole


PERMISSIONS: tuple[Permission, ...] = (
    Permission("workflows:read", "See workflows, their versions, triggers and schedules.", "viewer"),
    Permission("workflows:write", "Create, change, publish and archive workflows and their triggers.", "editor"),
    Permission("runs:read", "See runs, their steps, logs and events.", "viewer"),
    Permission("runs:write", "Start, cancel, pause, resume and repeat runs.", "editor"),
    Permission("events:write", "Publish events, which may start runs.", "editor"),
    Permission("approvals:read", "See what people are asked for.", "viewer"),
    Permission("approvals:decide", "Decide what one is asked for.", "editor"),
    Permission("approvals:decide-any", "Decide what others are asked for.", "owner"),
    Permission("approvals:links", "Make links with which others decide, without an account.", "owner"),
    Permission("knowledge:read", "See knowledge bases and search in them.", "viewer"),
    Permission("knowledge:write", "Create, fill and delete knowledge bases.", "editor"),
    Permission("crews:read", "See agents and crews, and what they did.", "viewer"),
    Permission("crews:write", "Create and change agents, crews and prompts.", "editor"),
    Permission("crews:run", "Set agents and crews to work, talk with them, decide what they ask.", "editor"),
    Permission("models:read", "See models, their prices, and the accounts at providers, never their keys.", "viewer"),
    Permission("models:write", "Add models, prices, aliases and accounts at providers.", "admin"),
    Permission("budgets:read", "See budgets, and what of them is used.", "viewer"),
    Permission("budgets:write", "Create and change budgets, and top them up.", "admin"),
    Permission("usage:read", "See what models were asked and what it cost.", "viewer"),
    Permission("policies:read", "See what agents may do under which tag.", "viewer"),
    Permission("policies:write", "Say what agents may do under which tag.", "admin"),
    Permission("deliveries:read", "See what was sent to the world, and what it answered.", "viewer"),
    Permission("dead-letters:read", "See events that could not be handled.", "admin"),
    Permission("dead-letters:redrive", "Publish an event again that could not be handled.", "admin"),
    Permission("access:manage", "Say who may see, run and change a single workflow, crew or knowledge base.", "admin"),
    Permission("organization:read", "See the organization, its plan and what of it is used.", "viewer"),
    Permission("organization:write", "Change the organization's name and settings.", "admin"),
    Permission("organization:delete", "Delete the organization, and change one's mind while there is time.", "owner"),
    Permission("organization:transfer", "Make another member the owner.", "owner"),
    Permission("members:read", "See members and teams.", "viewer"),
    Permission("members:write", "Invite members, change their roles, remove them.", "admin"),
    Permission("teams:write", "Create teams and say who belongs to them.", "admin"),
    Permission("roles:read", "See roles and the catalogue of permissions.", "viewer"),
    Permission("roles:write", "Create and change custom roles.", "admin"),
    Permission("api-keys:read", "See the organization's API keys and service accounts, never their secrets.", "admin"),
    Permission("api-keys:write", "Create, rotate and revoke API keys and service accounts.", "admin"),
    Permission("audit:read", "See, verify and export the audit log.", "admin"),
    Permission("limits:read", "See rate limits, quotas and the list of admitted addresses.", "admin"),
    Permission("limits:write", "Change the list of admitted addresses.", "admin"),
    Permission("data:read", "See how long data is kept, and the exports.", "admin"),
    Permission("data:write", "Change how long data is kept, and export everything.", "owner"),
)

BY_NAME: Mapping[str, Permission] = MappingProxyType({each.name: each for each in PERMISSIONS})


def of_role(role: str) -> frozenset[str]:
    """What this built-in role may do; nothing if there is none of the name. The owner may do everything there is."""
    if role == "owner":
        return frozenset({EVERYTHING})
    if role not in BUILT_IN_ROLES:
        return frozenset()
    held = BUILT_IN_ROLES[: BUILT_IN_ROLES.index(role) + 1]
    return frozenset(each.name for each in PERMISSIONS if each.least in held)


def both(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    """What two sets of permissions have in common, where either may hold everything."""
    if EVERYTHING in one:
        return other
    return one if EVERYTHING in other else one & other
