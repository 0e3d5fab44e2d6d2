"""ETags of versioned resources: change only what was read (If-Match), send only what changed (If-None-Match)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, TypeAlias

from fastapi import Header, HTTPException, Response

from crewmesh_kit.errors import PreconditionFailed, PreconditionRequired

# For a handler's signature: ``if_match: IfMatch = None``.
IfMatch: TypeAlias = Annotated[
    str | None, Header(description="ETag of the version this change is meant for, or * for any.")
]

# For a GET: ``if_none_match: IfNoneMatch = None``, with ``responses=UNCHANGED``.
IfNoneMatch: TypeAlias = Annotated[
    str | None, Header(description="ETag of the version the caller has; it gets 304 while that is current.")
]
UNCHANGED: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "Unchanged since the ETag given in If-None-Match."}
}


def etag_of(version: int | str) -> str:
    return f'"{version}"'


def require_match(if_match: str | None, version: int | str) -> None:
    """For changes: 428 without If-Match, 412 when it names another version than the present one."""
    if if_match is None:
        raise PreconditionRequired(
            "Send If-Match with the ETag of the version this change is meant for (from GET), or If-Match: * for any."
        )
    check_match(if_match, version)


def check_match(if_match: str | None, version: int | str) -> None:
    """For changes that may come without If-Match: 412 when it is there and names another version."""
    if if_match is None or if_match.strip() == "*":
        return
    # If-Match compares strongly: a weak tag never matches.
    if etag_of(version) not in (tag for tag, weak in _tags(if_match) if not weak):
        raise PreconditionFailed(
            f"The resource is at {etag_of(version)} by now. Read it again, then repeat the change."
        )


def is_current(if_none_match: str | None, version: int | str) -> bool:
    """Whether the caller already has this version, so that 304 is the answer."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag_of(version) in (tag for tag, _ in _tags(if_none_match))


def answer_unchanged(if_none_match: str | None, version: int | str, response: Response) -> None:
    """304 for who has this version already; else the answer carries its ETag."""
    if is_current(if_none_match, version):
        raise HTTPException(304, headers={"ETag": etag_of(version)})
    response.headers["ETag"] = etag_of(version)


def _tags(header: str) -> Iterator[tuple[str, bool]]:
    for part in header.split(","):
        tag = part.strip()
        yield tag.removeprefix("W/"), tag.startswith("W/")
