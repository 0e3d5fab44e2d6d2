"""Whose words a step hands to agents: those that stand in the definition, and those that are filled in.

What the run was started with comes from whoever started it. All else that can be read (what steps gave, what the run
that started this one hands on) may have come from anybody, and agents are told so.
"""

from __future__ import annotations

from collections.abc import Iterable

from crewmesh_contracts.invocations import FilledIn

from crewmesh_workflow.expressions import Scope, Template

_OF_THE_START = frozenset({"trigger", "run", "env", "node"})


def is_from_steps(template: Template, scope: Scope) -> bool:
    """Whether there is more in it than what stands in the definition, and what the run was started with."""
    roots = {path.root for path in template.paths()}
    trigger = scope.roots.get("trigger")
    handed_on = isinstance(trigger, dict) and trigger.get("kind") == "workflow"
    return not roots <= _OF_THE_START or ("trigger" in roots and handed_on)


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
