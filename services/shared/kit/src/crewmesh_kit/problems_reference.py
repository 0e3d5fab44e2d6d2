"""The catalogue of problems, made from the tree of exceptions itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from crewmesh_kit.errors import PROBLEM_TYPE_BASE, Problem, RemoteProblem

_HEAD = f"""# Problems

Whatever fails is answered as an RFC 9457 problem document (`application/problem+json`). Its `type` is
`{PROBLEM_TYPE_BASE}<slug>`; `detail` says what happened and what to do; `trace_id` finds it in logs and traces.
When `retryable` is true, the same request may succeed later; with the same `Idempotency-Key` nothing happens
twice.

| status | slug | retryable | title |
|---|---|---|---|
"""


class SlugMeansTwoThings(Exception):  # noqa: N818  it says what is wrong
    """Two types use one slug with different consequences."""


def problems_page() -> str:
    """Every type that is imported when this is called."""
    by_slug: dict[str, list[type[Problem]]] = {}
    for kind in sorted(set(_all(Problem)), key=lambda kind: (kind.__module__, kind.__qualname__)):
        by_slug.setdefault(kind.slug, []).append(kind)
    entries = sorted((_consequences(kinds), kinds) for kinds in by_slug.values())
    rows = "".join(
        f"| {status} | [`{slug}`](#{slug}) | {'yes' if retryable else 'no'} | {title} |\n"
        for (status, slug, retryable, title), _ in entries
    )
    return _HEAD + rows + "".join(_section(slug, kinds) for (_, slug, _, _), kinds in entries)


def _all(kind: type[Problem]) -> Iterator[type[Problem]]:
    for each in kind.__subclasses__():
        if each is not RemoteProblem:  # it tells what others say
            yield each
        yield from _all(each)


def _consequences(kinds: list[type[Problem]]) -> tuple[int, str, bool, str]:
    told = {(kind.status, kind.slug, kind.retryable, kind.title) for kind in kinds}
    if len(told) > 1:
        raise SlugMeansTwoThings(
            f"{' and '.join(kind.__qualname__ for kind in kinds)} share the slug {kinds[0].slug!r} but differ in "
            "status, title or retryable; give one of them a slug of its own"
        )
    return told.pop()


def _section(slug: str, kinds: list[type[Problem]]) -> str:
    general = [kind for kind in kinds if kind.__module__ == "crewmesh_kit.errors"]
    particular = [kind for kind in kinds if kind not in general]
    text = f"\n## {slug}\n\n" + "".join(f"{_meaning(kind)}\n" for kind in general)
    if particular:
        text += "\n" if general else ""
        text += "".join(f"- {_owner(kind)}{_meaning(kind)}\n" for kind in particular)
    return text


def _meaning(kind: type[Problem]) -> str:
    return " ".join((inspect.cleandoc(kind.__doc__ or kind.title)).split())


def _owner(kind: type[Problem]) -> str:
    """The service that tells it; what comes from the kit, any of them may tell."""
    package = kind.__module__.split(".")[0]
    return "" if package == "crewmesh_kit" else package.removeprefix("crewmesh_").replace("_", "-") + ": "
