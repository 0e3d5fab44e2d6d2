"""One request on its way through the test edge, and its answer on the way back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NoReturn

from multidict import CIMultiDict

# Who made an answer: the service behind, the edge on purpose, or the edge because something went wrong.
Source = Literal["service", "exit", "error"]


class Exited(Exception):  # noqa: N818  an answer, not an error
    """The edge itself answers; nothing is sent on."""


@dataclass(slots=True)
class Answer:
    status: int = 0
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict[str])
    body: bytes = b""
    source: Source = "service"


@dataclass(slots=True)
class Exchange:
    method: str
    raw_path: str
    headers: CIMultiDict[str]
    # What the vault `env` reads.
    environment: Mapping[str, str]
    address: str = "192.0.2.7"
    scheme: str = "http"
    answer: Answer = field(default_factory=Answer)
    # What a plugin keeps for a request, from phase to phase.
    context: dict[str, object] = field(default_factory=dict[str, object])

    def exit(self, status: int, body: object = None, headers: Mapping[str, str] | None = None) -> NoReturn:
        """As ``kong.response.exit``: a text is sent as it is, a mapping as JSON."""
        answer = Answer(status, CIMultiDict(headers or {}), source="exit")
        if isinstance(body, str):
            answer.body = body.encode()
        elif body is not None:
            answer.body = json.dumps(body).encode()
            answer.headers.setdefault("Content-Type", "application/json; charset=utf-8")
        self._end_with(answer)

    def error(self, status: int, message: str, *, source: Source = "exit") -> NoReturn:
        """As ``kong.response.error``."""
        body = json.dumps({"message": message, "request_id": ""}).encode()
        headers = CIMultiDict({"Content-Type": "application/json; charset=utf-8"})
        self._end_with(Answer(status, headers, body, source))

    def _end_with(self, answer: Answer) -> NoReturn:
        # What plugins wrote for the answer already (the headers of a rate limit) stays.
        self.answer.headers.update(answer.headers)
        answer.headers = self.answer.headers
        self.answer = answer
        raise Exited
