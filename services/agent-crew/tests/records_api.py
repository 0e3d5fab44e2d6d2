"""Short ways to agents, crews and prompt templates over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import httpx2
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.identity import Identity
from crewmesh_testkit.identities import auth_headers

from .harness import Running

WRITER: JsonObject = {"name": "writer-ann", "role": "Writer", "goal": "Write well."}


def agent(name: str, **changes: object) -> JsonObject:
    return _json({**WRITER, "name": name, **changes})


def crew(name: str, **changes: object) -> JsonObject:
    whole: JsonObject = {
        "name": name,
        "agents": [{"name": "teller", "role": "teller", "goal": "tell"}],
        "tasks": [{"name": "tell", "agent": "teller", "description": "Tell it.", "expected_output": "Words."}],
    }
    return _json({**whole, **changes})


def _json(value: Mapping[str, object]) -> JsonObject:
    return cast(JsonObject, value)


@dataclass(frozen=True)
class Api:
    """One kind of record, as somebody who may do everything, or as ``who``."""

    service: Running
    path: str
    who: Identity | None = None

    def as_(self, who: Identity) -> Api:
        return Api(self.service, self.path, who)

    async def create(self, definition: Mapping[str, object], *, key: str | None = None) -> httpx2.Response:
        return await self._send("POST", "", definition, key=key)

    async def made(self, definition: Mapping[str, object]) -> JsonObject:
        answer = await self.create(definition)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def get(self, below: str) -> httpx2.Response:
        return await self._send("GET", f"/{below}")

    async def listed(self, query: str = "") -> list[str]:
        answer = await self._send("GET", f"?{query}")
        assert answer.status_code == 200, answer.text
        return [item["name"] for item in answer.json()["items"]]

    async def put(
        self,
        name: str,
        definition: Mapping[str, object],
        *,
        if_match: str | None = "*",
        message: str = "",
        key: str | None = None,
    ) -> httpx2.Response:
        query = f"?message={message}" if message else ""
        return await self._send("PUT", f"/{name}{query}", definition, if_match=if_match, key=key)

    async def delete(self, name: str, *, if_match: str | None = None) -> httpx2.Response:
        return await self._send("DELETE", f"/{name}", if_match=if_match)

    async def do(self, below: str, body: object = None, *, if_match: str | None = None) -> httpx2.Response:
        return await self._send("POST", f"/{below}", body, if_match=if_match)

    async def import_(
        self, text: str | bytes, *, media_type: str = "application/yaml", query: str = ""
    ) -> httpx2.Response:
        headers = {**self._headers(), "content-type": media_type}
        return await self.service.client.post(f"/v1/{self.path}/import?{query}", content=text, headers=headers)

    async def share(self, name: str, *grants: tuple[str, str], restricted: bool = True) -> None:
        body: JsonObject = {
            "restricted": restricted,
            "grants": [{"grantee": grantee, "level": level} for grantee, level in grants],
        }
        answer = await self._send("PUT", f"/{name}/access", body, if_match="*")
        assert answer.status_code == 200, answer.text

    async def _send(
        self, method: str, below: str, body: object = None, *, if_match: str | None = None, key: str | None = None
    ) -> httpx2.Response:
        headers = self._headers()
        headers |= {} if if_match is None else {"if-match": if_match}
        headers |= {} if key is None else {"idempotency-key": key}
        return await self.service.client.request(method, f"/v1/{self.path}{below}", headers=headers, json=body)

    def _headers(self) -> dict[str, str]:
        return auth_headers(self.who or self.service.who("*"), audience="agent-crew")


def slug(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["type"]).rsplit("/")[-1]


def errors(answer: httpx2.Response) -> list[JsonObject]:
    return answer.json()["errors"]


def paths(answer: httpx2.Response) -> set[str]:
    """Where something is wrong."""
    return {str(error["path"]) for error in errors(answer)}
