"""Prompt templates: texts with variables, kept with their versions, and used by agents and tasks."""

from __future__ import annotations

import pytest
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.crews.resolving import Resolver
from crewmesh_agent_crew.prompt_templates.models import PromptTemplateDefinition
from crewmesh_contracts.base import JsonObject, JsonValue
from pydantic import ValidationError

from .harness import Running
from .records_api import Api, agent, crew, paths, slug

STYLE: JsonObject = {
    "name": "style",
    "text": "Write for {audience}, in at most {words} words. {{audience}} {unknown} {0.__class__}",
    "variables": [
        {"name": "audience", "type": "choice", "choices": ["customers", "engineers"]},
        {"name": "words", "type": "number", "default": 200},
    ],
}


@pytest.fixture
def templates(service: Running) -> Api:
    return Api(service, "prompt-templates")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ([{"name": "audience"}, {"name": "audience"}], "there twice"),
        ([{"name": "elsewhere"}], "nowhere in the text"),
        ([{"name": "__class__"}], "pattern"),
        ([{"name": "audience", "type": "choice"}], "has choices"),
        ([{"name": "audience", "choices": ["a"]}], "has choices"),
        ([{"name": "audience", "type": "choice", "choices": ["a"], "default": "b"}], "must be one of a"),
        ([{"name": "audience", "type": "number", "default": "7"}], "must be a number"),
        ([{"name": "audience", "default": 7}], "must be a text"),
        ([{"name": "audience", "default": True}], "valid"),
    ],
)
def test_variables_must_fit(variables: JsonValue, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        PromptTemplateDefinition.model_validate({"name": "x", "text": "{audience}", "variables": variables})


@pytest.mark.parametrize(
    ("value", "written"), [(7, "7"), (7.0, "7"), (0.5, "0.5"), (-1, "-1"), (10**20, "100000000000000000000")]
)
def test_numbers_are_written_as_people_write_them(value: float, written: str) -> None:
    template = PromptTemplateDefinition.model_validate(
        {"name": "x", "text": "<{n}>", "variables": [{"name": "n", "type": "number"}]}
    )
    assert template.rendered({"n": value}) == f"<{written}>"


def test_a_value_is_never_read_as_a_placeholder() -> None:
    template = PromptTemplateDefinition.model_validate(
        {"name": "x", "text": "{a} {b}", "variables": [{"name": "a"}, {"name": "b"}]}
    )
    assert template.rendered({"a": "{b} {a} {{b}} \\1 %s", "b": "B"}) == "{b} {a} {{b}} \\1 %s B"


async def test_a_template_is_kept_rendered_and_versioned(templates: Api) -> None:
    await templates.made(STYLE)
    rendered = await templates.do("style/render", {"variables": {"audience": "engineers"}})
    assert rendered.json() == {
        "text": "Write for engineers, in at most 200 words. {{audience}} {unknown} {0.__class__}",
        "version": 1,
    }
    wrong = await templates.do("style/render", {"variables": {"audience": "cats", "words": "7", "mood": "x"}})
    assert slug(wrong) == (422, "invalid-definition")
    assert paths(wrong) == {"variables.audience", "variables.words", "variables.mood"}
    await templates.put("style", {**STYLE, "text": "For {audience}: {words}."}, if_match='"1"')
    for version, text in ((None, "For customers: 200."), (2, "For customers: 200."), (1, "Write for customers")):
        body: JsonObject = {"variables": {"audience": "customers"}, "version": version}
        assert (await templates.do("style/render", body)).json()["text"].startswith(text)
    body = {"variables": {"audience": "customers"}, "version": 3}
    assert slug(await templates.do("style/render", body)) == (404, "unknown-version")
    diff = (await templates.get("style/versions/1/diff/2")).json()
    assert [change["path"] for change in diff["changes"]] == ["text"]
    assert (await templates.do("style/rollback", {"version": 1})).json()["version"] == 3
    assert slug(await templates.get("nothing")) == (404, "unknown-prompt-template")
    assert slug(await templates.create(STYLE)) == (409, "prompt-template-exists")
    assert await templates.listed("tag=x") == []
    assert await templates.listed("prefix=sty") == ["style"]


async def test_a_template_that_is_used_stays_and_reaches_who_uses_it(templates: Api) -> None:
    service = templates.service
    agents, crews = Api(service, "agents"), Api(service, "crews")
    await templates.made(STYLE)
    use: JsonObject = {"use": "style", "variables": {"audience": "customers"}}
    await agents.made(agent("ann", prompt=use))
    pinned: JsonObject = {**use, "version": 1}
    tell: JsonObject = {"name": "tell", "agent": "teller", "prompt": pinned, "expected_output": "Words."}
    await crews.made(crew("tellers", inputs=[{"name": "unknown"}], tasks=[tell]))
    refused = await templates.delete("style")
    assert slug(refused) == (409, "still-used")
    assert refused.json()["used_by"] == ["the crew tellers", "the agent ann"]

    await templates.put("style", {**STYLE, "text": "New words for {audience} {words}."})
    resolver, who = service.resources.get(Resolver), service.who("*")
    async with service.database.tenant(service.organization) as connection:
        ann = (await resolver.agent(connection, who, "ann")).definition
        tellers = (await resolver.pinned(connection, who, "tellers")).definition
    assert (ann.backstory, ann.prompt) == ("New words for customers 200.", None)
    assert tellers.tasks[0].described({"unknown": "U"}).startswith("Write for customers, in at most 200 words.")
    assert CrewDefinition.model_validate(tellers.model_dump(mode="json")) == tellers


async def test_every_route_wants_its_permission(templates: Api) -> None:
    await templates.made(STYLE)
    reader = templates.as_(templates.service.who("crews:read"))
    assert (await reader.do("style/render", {"variables": {"audience": "engineers"}})).status_code == 200
    refused = [
        await reader.create({**STYLE, "name": "x"}),
        await reader.put("style", STYLE),
        await reader.delete("style"),
        await reader.do("style/rollback", {"version": 1}),
        await reader.import_("name: x\ntext: y"),
    ]
    assert [answer.status_code for answer in refused] == [403] * 5
    nobody = templates.as_(templates.service.who("knowledge:read"))
    assert (await nobody.get("style")).status_code == 403
    assert (await nobody.do("style/render", {})).status_code == 403
