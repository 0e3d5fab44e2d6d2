"""Policies: who may say them, what is refused, and how they hold for agents by their tags."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

import httpx2
import pytest
from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.guardrails.errors import ForbiddenByPolicy, GuardrailTripped
from crewmesh_agent_crew.guardrails.policies.models import PolicyDefinition
from crewmesh_agent_crew.guardrails.rules import rules_for
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEND_HTTP
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.identity import Identity
from crewmesh_testkit.audit_trail import audit_line
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import auth_headers

from .harness import Running
from .tool_desk import CODE, HANDBOOK, POST, WEB, ToolDesk, agent, question_of

POLICY: JsonObject = {"name": "customer-data", "tag": "customers", "pii": "mask"}
PATH = "/v1/policies"


class Api:
    def __init__(self, service: Running) -> None:
        self.service = service
        self.admin = service.who("policies:read", "policies:write")

    async def ask(
        self,
        method: str,
        path: str = PATH,
        body: JsonValue = None,
        *,
        who: Identity | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        proof = auth_headers(who or self.admin, audience="agent-crew")
        return await self.service.client.request(method, path, json=body, headers={**proof, **(headers or {})})

    async def create(self, **more: JsonValue) -> httpx2.Response:
        return await self.ask("POST", body={**POLICY, **more})


@pytest.fixture
def api(service: Running) -> Api:
    return Api(service)


class TestAccess:
    async def test_without_permission(self, api: Api) -> None:
        await api.create()
        nobody, reader = api.service.who("crews:write"), api.service.who("policies:read")
        for method, path in (("GET", PATH), ("GET", f"{PATH}/customer-data")):
            assert (await api.ask(method, path, who=nobody)).status_code == 403
            assert (await api.ask(method, path, who=reader)).status_code == 200
        for method, path in (("POST", PATH), ("PUT", f"{PATH}/customer-data"), ("DELETE", f"{PATH}/customer-data")):
            assert (await api.ask(method, path, POLICY, who=reader)).status_code == 403

    async def test_another_organization_finds_nothing(self, api: Api) -> None:
        await api.create()
        stranger = api.service.who("policies:read", "policies:write", organization="org_" + "e" * 32)
        unknown = await api.ask("GET", f"{PATH}/no-such-policy", who=stranger)
        for method in ("GET", "PUT", "DELETE"):
            hidden = await api.ask(method, f"{PATH}/customer-data", POLICY, who=stranger, headers={"if-match": "*"})
            assert hidden.status_code == unknown.status_code == 404
            assert hidden.json()["type"] == unknown.json()["type"]
        assert (await api.ask("GET", who=stranger)).json()["items"] == []


class TestRecords:
    async def test_created_read_changed_deleted(self, api: Api) -> None:
        created = await api.create()
        assert (created.status_code, created.headers["location"]) == (201, f"{PATH}/customer-data")
        read = await api.ask("GET", created.headers["location"])
        assert read.json() == created.json()
        same = await api.ask("GET", created.headers["location"], headers={"if-none-match": created.headers["etag"]})
        assert same.status_code == 304
        body: JsonObject = {**POLICY, "rule_of_two": True}
        changed = await api.ask("PUT", created.headers["location"], body, headers={"if-match": created.headers["etag"]})
        assert (changed.status_code, changed.json()["version"]) == (200, 2)
        stale = await api.ask("DELETE", created.headers["location"], headers={"if-match": created.headers["etag"]})
        assert stale.status_code == 412
        assert (await api.ask("DELETE", created.headers["location"])).status_code == 204
        assert (await api.ask("GET", created.headers["location"])).status_code == 404
        sidecar = cast(FakeSidecar, api.service.resources.get(Sidecar))
        for action in ("policy.created", "policy.updated", "policy.deleted"):
            line = await audit_line(sidecar, action, created.json()["id"])
            assert line.organization == api.service.organization

    async def test_a_change_names_the_version_it_is_meant_for(self, api: Api) -> None:
        etag = (await api.create()).headers["etag"]
        path = f"{PATH}/customer-data"
        assert (await api.ask("PUT", path, POLICY)).status_code == 428
        answers = await asyncio.gather(*(api.ask("PUT", path, POLICY, headers={"if-match": etag}) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]
        renamed = await api.ask("PUT", path, {**POLICY, "name": "other"}, headers={"if-match": "*"})
        assert renamed.json()["type"].endswith("/policy-renamed")

    async def test_once_per_key_and_name(self, api: Api) -> None:
        answers = await asyncio.gather(
            *(api.ask("POST", body=POLICY, headers={"idempotency-key": "k"}) for _ in range(5))
        )
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert (await api.create()).json()["type"].endswith("/policy-exists")

    async def test_lists_in_pages(self, api: Api) -> None:
        for name in ("c", "a", "b"):
            await api.create(name=name, tag="*" if name == "a" else "customers")
        first = (await api.ask("GET", f"{PATH}?limit=2")).json()
        rest = (await api.ask("GET", f"{PATH}?limit=2&cursor={first['next_cursor']}")).json()
        assert [item["definition"]["name"] for page in (first, rest) for item in page["items"]] == ["a", "b", "c"]
        some = (await api.ask("GET", f"{PATH}?tag=customers")).json()
        assert [item["definition"]["name"] for item in some["items"]] == ["b", "c"]

    @pytest.mark.parametrize(
        "more",
        [
            {"name": "__proto__"},
            {"name": "a" * 65},
            {"name": "\u202eabc"},
            {"tag": "**"},
            {"tag": ""},
            {"unknown": 1},
            {"pii": "perhaps"},
            {"forbidden_patterns": ["("]},
            {"forbidden_patterns": ["(?=a)b"]},
            {"forbidden_patterns": ["(a{1000}){1000}"]},
            {"forbidden_patterns": ["a\u0000"]},
            {"forbidden_phrases": ["  "]},
            {"forbidden_models": ["a b"]},
            {"approvals": [{"approval": "never"}]},
            {"limits": {"model_calls": 0}},
            {"description": "x\u0000"},
        ],
    )
    async def test_what_is_wrong_is_refused(self, api: Api, more: JsonObject) -> None:
        assert (await api.ask("POST", body={**POLICY, **more})).status_code == 422


def policies(*definitions: JsonObject) -> Sequence[PolicyDefinition]:
    return [
        PolicyDefinition.model_validate({"name": f"p{number}", **definition})
        for number, definition in enumerate(definitions)
    ]


class TestStrictest:
    def test_by_tag_of_agent_or_crew_or_all(self) -> None:
        said = policies({"tag": "*", "pii": "mask"}, {"tag": "bank", "pii": "refuse"}, {"tag": "shop", "pii": "refuse"})
        assert rules_for(agent(), (), said).guardrails.pii == "mask"
        assert rules_for(agent(tags=["bank"]), (), said).guardrails.pii == "refuse"
        assert rules_for(agent(), ("shop",), said).guardrails.pii == "refuse"

    def test_the_agent_may_be_stricter(self) -> None:
        said = policies({"pii": "mask", "injection": "mark", "limits": {"model_calls": 100, "seconds": 30}})
        rules = rules_for(agent(pii="refuse", injection="withhold"), (), said)
        assert (rules.guardrails.pii, rules.guardrails.injection) == ("refuse", "withhold")
        assert (rules.limits.model_calls, rules.limits.seconds, rules.limits.tokens) == (12, 30, None)
        governed: AgentDefinition = rules.governed()
        assert (governed.limits, governed.guardrails) == (rules.limits, rules.guardrails)

    def test_limits_at_most(self) -> None:
        said = policies({"limits": {"tokens": 500, "tool_calls": 3}}, {"limits": {"tokens": 700}})
        rules = rules_for(agent(), (), said)
        assert (rules.limits.tokens, rules.limits.tool_calls) == (500, 3)

    def test_models_by_pattern(self) -> None:
        assert rules_for(agent(), (), ()).forbidden_model("openrouter/x") is None
        rules = rules_for(agent(), (), policies({"forbidden_models": ["openrouter/*"]}))
        refusal = rules.forbidden_model("smart", "openrouter/x")
        assert isinstance(refusal, ForbiddenByPolicy)
        assert refusal.extensions["policy"] == "p0"
        assert rules.forbidden_model("openrouter-like") is None


class TestTools:
    async def test_a_policy_asks_for_approvals(self, desk: ToolDesk) -> None:
        await desk.policy(tag="*", approvals=[{"tools": {"outward": True, "kinds": ["http"]}, "approval": "always"}])
        box = await desk.open(agent({**POST, "approval": "never"}, CODE))
        await box.use("python", {"source": "1"}, key="t1")
        await question_of(box, "post", {"method": "POST"}, key="t2")

    async def test_by_name(self, desk: ToolDesk) -> None:
        await desk.policy(tag="*", approvals=[{"tools": {"name": "po*"}, "approval": "single"}])
        box = await desk.open(agent(POST, WEB))
        await box.use("web", {}, key="t1")
        desk.approve(await question_of(box, "post", {"method": "POST"}, key="t2"))
        await box.use("post", {"method": "POST"}, key="t2")
        await box.use("post", {"method": "POST"}, key="t3")

    async def test_what_is_forbidden_is_not_offered_and_says_who_forbids_it(self, desk: ToolDesk) -> None:
        await desk.policy(name="no-writing", tag="quiet", forbidden_tools=[{"kinds": ["http"], "name": "post"}])
        box = await desk.open(agent(POST, WEB), tags=["quiet"])
        assert [spec.name for spec in box.specs] == ["web"]
        assert "no-writing" in await box.use("post", {"method": "POST"}, key="t1")
        assert not desk.asked(SEND_HTTP)
        assert desk.recorded[0].status == "forbidden"

    async def test_a_model_that_is_forbidden(self, desk: ToolDesk) -> None:
        await desk.policy(name="local-only", forbidden_models=["default"])
        refusal = (await desk.open(agent())).forbidden_model("default")
        assert refusal is not None
        assert "local-only" in refusal.detail

    async def test_words_that_must_not_be_said(self, desk: ToolDesk) -> None:
        await desk.policy(name="quiet", forbidden_phrases=["Project  Zeus"], forbidden_patterns=["(?i)zeus-[0-9]+$"])
        box = await desk.open(agent())
        for text in ("We call it project\nzeus.", "PROJECT ZEUS", "see ZEUS-12"):
            with pytest.raises(GuardrailTripped) as raised:
                await box.said(text)
            assert "quiet" in raised.value.detail
        assert await box.said("Zeus was a god.") == "Zeus was a god."

    async def test_a_change_holds_for_the_next_turn(self, desk: ToolDesk) -> None:
        before = await desk.open(agent(HANDBOOK))
        await desk.policy(forbidden_tools=[{"kinds": ["knowledge"]}])
        assert len(before.specs) == 1
        assert (await desk.open(agent(HANDBOOK), turn="task/worker/2")).specs == ()
