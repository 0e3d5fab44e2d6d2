"""Whose words a step hands to agents: those that stand in the definition, and those that are filled in.

What a person starts a run with is theirs. All else that can be read (what steps gave, what an event, a webhook or
another run brought) may have come from anybody, and agents are told so: also when a person has that run done again.
"""

from __future__ import annotations

from collections.abc import Iterable

from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.invocations import FilledIn

from crewmesh_workflow.expressions import Scope, Template

_OF_THE_START = frozenset({"trigger", "run", "env", "node"})


def is_from_steps(template: Template, scope: Scope) -> bool:
    """Whether there is more in it than what stands in the definition, and what the run was started with."""
    roots = {path.root for path in template.paths()}
    return not roots <= _OF_THE_START or ("trigger" in roots and not _is_known(scope.roots.get("trigger")))


def _is_known(trigger: JsonValue) -> bool:
    """Whether a person sent it. An event may hold a ``kind`` of its own."""
    return isinstance(trigger, dict) and trigger.get("kind") == "api" and "specversion" not in trigger


def filled_in(parts: Iterable[str | Template], scope: Scope) -> tuple[str, tuple[FilledIn, ...]]:
    """The text that the parts make, and what of it does not stand in the definition."""
    text = ""
    stretches: list[FilledIn] = []
    for part in parts:
        said = part if isinstance(part, str) else part.text(scope)
        if said and isinstance(part, Template):
            by = "steps" if is_from_steps(part, scope) else "start"
            stretches.append(FilledIn(at=len(text), text=said, by=by))
        text += said
    return text, tuple(stretches)
