"""Requests to one site, through the integration service, which guards what leaves."""

from __future__ import annotations

import json
from typing import ClassVar, Literal

from crewmesh_contracts.base import Contract, JsonObject, JsonValue
from crewmesh_contracts.invocations import SEND_HTTP, HttpReply, HttpSend

from crewmesh_agent_crew.tools.grants import HttpGrant
from crewmesh_agent_crew.tools.kinds.base import Caller, Gave, Granted, ToolKind, WhyNot, object_schema
from crewmesh_agent_crew.tools.kinds.urls import OutsideOfGrantError, below

_SECONDS = 30.0
_MARGIN_SECONDS = 15.0
_LONGEST_PATH = 1_500


class _Arguments(Contract):
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str = ""
    query: dict[str, str] = {}
    body: JsonValue = None


class HttpTool(Granted[HttpGrant]):
    """A use reaches out unless it reads exactly the URL that the definition names: a path or a query can tell secrets
    as well as a body can."""

    kind: ClassVar[ToolKind] = "http"
    is_private: ClassVar[bool] = False

    def describe(self) -> str:
        methods = ", ".join(self.grant.methods)
        return f"Sends an HTTP request ({methods}) to {self.grant.url} or to what is below it."

    def parameters(self) -> JsonObject:
        text: JsonObject = {"type": "string", "maxLength": 2_000}
        properties: JsonObject = {
            "path": {
                "type": "string",
                "maxLength": _LONGEST_PATH,
                "description": f"Path below {self.grant.url}; empty for that URL itself.",
            },
            "query": {"type": "object", "additionalProperties": text, "maxProperties": 50},
        }
        required: list[str] = []
        if self.grant.methods != ("GET",):
            methods: list[JsonValue] = [*self.grant.methods]
            properties["method"] = {"type": "string", "enum": methods}
            properties["body"] = {"description": "JSON, or text."}
            required = ["method"]
        return object_schema(properties, required)

    def reaches_out(self, arguments: JsonObject) -> bool:
        asked = self._read(arguments)
        return asked.method != "GET" or self._url(asked) != below(self.grant.url, "", {})

    async def why_not(self, arguments: JsonObject, by_schema: WhyNot) -> str | None:
        if (mistake := self._own_mistake(arguments)) is not None:
            return mistake
        asked = self._read(arguments)
        if asked.method == "GET" and asked.body is not None:
            return "body: a GET request has none"
        try:
            self._url(asked)
        except OutsideOfGrantError as error:
            return str(error)
        return None

    async def run(self, caller: Caller, arguments: JsonObject, key: str) -> Gave:
        asked = self._read(arguments)
        request = HttpSend(
            method=asked.method,
            url=self._url(asked),
            body=asked.body,
            timeout_seconds=_SECONDS,
            repeatable=asked.method == "GET",
            same_origin=True,
        )
        return _told(await caller.call(SEND_HTTP, request, key=key, seconds=_SECONDS + _MARGIN_SECONDS))

    def _read(self, arguments: JsonObject) -> _Arguments:
        return _Arguments.model_validate({"method": self.grant.methods[0], **arguments})

    def _url(self, asked: _Arguments) -> str:
        return below(self.grant.url, asked.path, asked.query)


def _told(reply: HttpReply) -> Gave:
    body = reply.body if isinstance(reply.body, str) else json.dumps(reply.body, ensure_ascii=False)
    kind = next((value for name, value in reply.headers.items() if name.lower() == "content-type"), None)
    return Gave("\n".join(filter(None, (f"status: {reply.status}", kind and f"content-type: {kind}", "", body))))
