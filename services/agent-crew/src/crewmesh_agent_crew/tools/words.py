"""What the model is told in place of what a tool would have given: what is wrong, and what to do."""

from __future__ import annotations

from collections.abc import Iterable


def unknown(name: str, known: Iterable[str]) -> str:
    have = ", ".join(known)
    return f"There is no tool {name[:64]!r}. " + (
        f"There are: {have}." if have else "You have no tools; answer yourself."
    )


def invalid(name: str, mistake: str) -> str:
    return f"The arguments of {name} do not fit, and nothing was done: {mistake}. Correct them and use it again."


def too_long(name: str, most: int) -> str:
    return f"The arguments of {name} are longer than {most} characters, and nothing was done. Make them shorter."


def forbidden(name: str, policy: str) -> str:
    return f"The tool {name} may not be used here: the policy {policy!r} of the organization forbids it."


def rejected(name: str) -> str:
    return f"A person was asked and did not allow this use of {name}. Nothing was done. Go on without it."


def edited(name: str) -> str:
    return f"A person allowed this use of {name} with other arguments than yours; it was done with those."


def failed(name: str, why: str) -> str:
    return f"The tool {name} did not work: {why}"
