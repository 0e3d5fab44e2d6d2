"""Where a request comes from: the client's address, and the web page that sent it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, TypeAlias, cast
from urllib.parse import urlsplit

from crewmesh_kit.origin import Origin, current_origin, note_origin
from crewmesh_kit.resources import Resources
from fastapi import Depends, Request, params

from crewmesh_gateway.principals.doorkeeper import Doorkeeper
from crewmesh_gateway.sessions.errors import OriginNotAllowed

_THIS_MACHINE = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")


class AllowedOrigins:
    """Of the pages that may use cookies: ours and those that an operator lists.

    Without a public URL this is somebody's own machine, whose pages may.
    """

    def __init__(self, public_url: str, further: Sequence[str]) -> None:
        self._own_machine = not public_url
        self._allowed = {_origin_of(url) for url in (public_url, *further) if url}

    def check(self, origin: str | None) -> None:
        """Programs send none, browsers always do with what changes something."""
        if origin is None or origin.lower() in self._allowed:
            return
        if not (self._own_machine and _THIS_MACHINE.fullmatch(origin.lower())):
            raise OriginNotAllowed


def _origin_of(url: str) -> str:
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc}"


async def _came_from(request: Request) -> Origin:
    doorkeeper = cast(Resources, request.app.state.resources).get(Doorkeeper)
    peer = request.client.host if request.client else "unknown"
    note_origin(request.headers, address=doorkeeper.address(request.headers, peer))
    return current_origin()


async def _check_page(request: Request) -> None:
    cast(Resources, request.app.state.resources).get(AllowedOrigins).check(request.headers.get("origin"))


# In a handler that is open to everybody: the client's address and program, also remembered for the audit log.
CameFrom: TypeAlias = Annotated[Origin, Depends(_came_from)]


def from_our_pages() -> params.Depends:
    """``dependencies=[public(), from_our_pages()]``: for what gives or takes cookies; 403 for other pages."""
    return Depends(_check_page)
