"""The guide to models is true: its requests are answered, one after the other, as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path

from crewmesh_kit.ids import new_id
from crewmesh_testkit.identities import auth_headers

from .harness import Running

GUIDE = Path(__file__).parents[3] / "docs/guides/models.md"
_REQUEST = re.compile(r"```http\n([A-Z]+) (\S+)\n(?:If-Match: (\S+)\n)?(?:\n(.*?))?```", re.DOTALL)


async def test_every_request_of_the_guide_is_answered(service: Running) -> None:
    requests = _REQUEST.findall(GUIDE.read_text(encoding="utf-8"))
    assert len(requests) == 8
    for method, path, if_match, body in requests:
        headers = auth_headers(service.who("*"), audience="agent-crew") | {"idempotency-key": new_id("test")}
        if if_match:
            headers["if-match"] = if_match
        content = json.loads(body) if body else None
        answer = await service.client.request(method, path, json=content, headers=headers)
        assert answer.is_success, f"{method} {path}: {answer.text}"
