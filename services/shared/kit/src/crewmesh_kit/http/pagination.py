"""Lists in pages: ``?limit=50&cursor=…``. A cursor is where the last page ended, opaque to the caller.

It holds the sort key of the last item (keyset pagination), so a page costs the same wherever it is, and items that come
or go meanwhile shift nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeAlias, TypeVar, cast

from crewmesh_contracts.base import Reply
from fastapi import Depends, Query

from crewmesh_kit.errors import InvalidRequest

LARGEST_PAGE = 200

ItemT = TypeVar("ItemT")
CursorKey: TypeAlias = tuple[str | int, ...]


class Page(Reply, Generic[ItemT]):
    """One page; ``next_cursor`` is null on the last."""

    items: tuple[ItemT, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class PageRequest:
    limit: int
    cursor: str | None

    def after(self, *kinds: type[str] | type[int]) -> CursorKey | None:
        """The sort key to continue after, checked to be of these ``kinds``; none on the first page."""
        return decode_cursor(self.cursor, *kinds) if self.cursor is not None else None

    def after_text(self) -> str | None:
        """The same in a list that is sorted by one text, such as an id."""
        key = self.after(str)
        return str(key[0]) if key else None

    def page(self, found: Sequence[ItemT], key: Callable[[ItemT], CursorKey]) -> Page[ItemT]:
        """The page out of up to ``limit + 1`` items that a query found; the one too many says there is more."""
        items = tuple(found[: self.limit])
        more = len(found) > self.limit
        return Page[ItemT](items=items, next_cursor=encode_cursor(*key(items[-1])) if more else None)


async def _page_request(
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Most items in the page.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=500, description="next_cursor of the page before; absent for the first page.")
    ] = None,
) -> PageRequest:
    return PageRequest(limit=limit, cursor=cursor)


# For a handler's signature: ``page: PageQuery``.
PageQuery = Annotated[PageRequest, Depends(_page_request)]


def encode_cursor(*key: str | int) -> str:
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type[str] | type[int]) -> CursorKey:
    """The key inside; anything that we did not hand out as a cursor of this list is refused."""
    try:
        key = cast(object, json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))))
    except (ValueError, binascii.Error, RecursionError):
        key = None
    parts = cast("list[object]", key) if isinstance(key, list) else []
    if len(parts) != len(kinds) or any(type(part) is not kind for part, kind in zip(parts, kinds, strict=True)):
        raise InvalidRequest(
            "The cursor is not one that this list gave out. Leave it away to start from the beginning."
        )
    if not all(_can_be_stored(part) for part in parts if isinstance(part, str)):
        raise InvalidRequest(
            "The cursor is not one that this list gave out. Leave it away to start from the beginning."
        )
    return cast(CursorKey, tuple(parts))


def _can_be_stored(text: str) -> bool:
    """JSON may hold what no database takes: NUL, and halves of characters."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)
