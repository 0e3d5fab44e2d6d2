"""The page behind a link: whole without a script, closed to what is written into it, and it never decides by itself."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncGenerator, Callable
from html.parser import HTMLParser

import httpx2
import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_workflow.approvals.fields import fields_of, filled_in

from services.workflow.tests.approvals import ANN, BOB, Desk, open_desk

EVIL = """"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;{{7*7}}</textarea></pre>"""
VOID = {"meta", "input", "br", "img"}


@pytest.fixture(scope="module")
def desk_url(database_url: Callable[[str], str]) -> str:
    return database_url("workflow")


@pytest.fixture
async def desk(desk_url: str) -> AsyncGenerator[Desk]:
    async with open_desk(desk_url) as opened:
        yield opened


class Page(HTMLParser):
    """What a browser would make of the page, as far as it matters here."""

    def __init__(self, answer: httpx2.Response) -> None:
        super().__init__()
        self.answer = answer
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.values: dict[str, str] = {}
        self.text = ""
        self._open: list[str] = []
        self._area: str | None = None
        self.feed(answer.text)
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in VOID:
            self._open.append(tag)
        name = found.get("name")
        if tag == "input" and name and found.get("type") != "checkbox":
            self.values[name] = found.get("value") or ""
        if tag == "textarea" and name:
            self._area, self.values[name] = name, ""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "textarea" and self._area:
            self.values[self._area] = self.values[self._area].removeprefix("\n")
            self._area = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._area:
            self.values[self._area] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def check(self) -> Page:
        """What holds for every page."""
        policy = self.answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "script" not in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        [style] = re.findall(r"<style>(.*?)</style>", self.answer.text, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy
        assert self.answer.headers["cache-control"] == "no-store"
        assert self.answer.headers["referrer-policy"] == "no-referrer"
        assert self.answer.headers["content-type"] == "text/html; charset=utf-8"
        assert not {"script", "img", "iframe", "link", "a"} & {tag for tag, _ in self.tags}
        assert not [name for _, attributes in self.tags for name in attributes if name.startswith(("on", "style"))]
        [document] = self.named("html")
        assert document["lang"] == "en"
        assert len(self.named("h1")) == len(self.named("title")) == len(self.named("main")) == 1
        labelled = {label.get("for") for label in self.named("label")}
        for tag in ("textarea", "select", "input"):
            for control in self.named(tag):
                if control.get("type") not in ("hidden", "checkbox"):
                    assert control["id"] in labelled, control
        return self


async def page_of(desk: Desk, question: str) -> tuple[str, Page]:
    link = await desk.link(question, ANN, **{"for": "user:ann"})
    return link, await look(desk, link)


async def look(desk: Desk, link: str) -> Page:
    return Page(await desk.client.get(link, headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})).check()


async def send(desk: Desk, link: str, **fields: str) -> Page:
    headers = {"accept": "text/html", "content-type": "application/x-www-form-urlencoded"}
    return Page(await desk.client.post(link, content=str(httpx2.QueryParams(fields)).encode(), headers=headers)).check()


class TestApproval:
    async def test_approve(self, desk: Desk) -> None:
        question = await desk.ask(details="For the server.", data={"amount": 120}, seconds=3600)
        link, page = await page_of(desk, question)
        for text in ("Pay 120 €?", "For the server.", '"amount": 120', "To be decided before"):
            assert text in page.text
        [form] = page.named("form")
        assert form["method"] == "post"
        assert "action" not in form, "it goes back to where it came from"
        done = await send(desk, link, **page.values, decision="approve")
        assert "It is approved." in done.text
        shown = await desk.read(question)
        assert (shown["verdict"], shown["proposal"]) == ("approved", 1), "what was only sent back is no change"

    async def test_reject_with_a_comment(self, desk: Desk) -> None:
        question = await desk.ask(data={"amount": 120})
        link, page = await page_of(desk, question)
        done = await send(desk, link, **{**page.values, "comment": "too\r\nmuch ", "data": "{"}, decision="reject")
        assert "It is rejected." in done.text
        [arrived] = await desk.arrived(question)
        assert arrived["decisions"] == [{"by": "ann", "approved": False, "comment": "too\nmuch"}]

    async def test_change_and_approve(self, desk: Desk) -> None:
        question = await desk.ask(data={"amount": 120})
        link, page = await page_of(desk, question)
        await send(desk, link, **{**page.values, "data": '{"amount": 100}'}, decision="approve")
        [arrived] = await desk.arrived(question)
        assert arrived["data"] == {"amount": 100}

    async def test_what_is_no_json_is_shown_again(self, desk: Desk) -> None:
        question = await desk.ask(data={"amount": 120})
        link, page = await page_of(desk, question)
        again = await send(desk, link, **{**page.values, "data": "{amount: NaN", "comment": EVIL}, decision="approve")
        assert again.answer.status_code == 422
        assert "Nothing is decided yet" in again.text
        assert again.values["data"] == "{amount: NaN"
        assert again.values["comment"] == EVIL
        assert "It is approved." in (await send(desk, link, decision="approve")).text

    async def test_of_a_quorum(self, desk: Desk) -> None:
        question = await desk.ask(quorum=3)
        link, _ = await page_of(desk, question)
        assert "2 more must agree" in (await send(desk, link, decision="approve")).text

    async def test_a_proposal_that_changed_meanwhile(self, desk: Desk) -> None:
        question = await desk.ask(data=1, quorum=2)
        link, page = await page_of(desk, question)
        await desk.decide(question, BOB, {"approved": True, "data": 2})
        refused = await send(desk, link, **page.values, decision="approve")
        assert (refused.answer.status_code, "Proposal changed" in refused.text) == (409, True)
        fresh = await look(desk, link)
        assert "bob said yes" in fresh.text
        await send(desk, link, **fresh.values, decision="approve")
        assert (await desk.read(question))["verdict"] == "approved"

    @pytest.mark.parametrize("fields", [{}, {"decision": "perhaps"}, {"decision": ""}])
    async def test_no_choice_is_no_decision(self, desk: Desk, fields: dict[str, str]) -> None:
        link, _ = await page_of(desk, await desk.ask())
        assert (await send(desk, link, **fields)).answer.status_code == 422

    async def test_nothing_that_is_written_into_it_becomes_part_of_the_page(self, desk: Desk) -> None:
        question = await desk.ask(title=EVIL, details=EVIL, data={EVIL: EVIL}, node=EVIL, quorum=2)
        await desk.decide(question, BOB, {"approved": True, "comment": EVIL})
        link, page = await page_of(desk, question)
        assert page.text.count("alert(1)") >= 6
        await send(desk, link, **page.values, decision="approve")
        assert (await desk.read(question))["proposal"] == 1


class TestOtherPages:
    async def test_a_link_that_does_not_work(self, desk: Desk) -> None:
        for page in (await look(desk, "/v1/approval-links/x"), await send(desk, "/v1/approval-links/x")):
            assert (page.answer.status_code, "Approval link not usable" in page.text) == (404, True)

    async def test_after_it_was_used(self, desk: Desk) -> None:
        link, _ = await page_of(desk, await desk.ask(quorum=2))
        for _ in range(2):
            assert "1 more must agree" in (await send(desk, link, decision="approve")).text
        assert (await send(desk, link, decision="reject")).answer.status_code == 404
        assert (await look(desk, link)).answer.status_code == 404

    async def test_after_the_end(self, desk: Desk) -> None:
        question = await desk.ask(seconds=3600)
        link, _ = await page_of(desk, question)
        await desk.execute("UPDATE waits SET until = now() WHERE id = %s", question)
        page = await look(desk, link)
        assert "The time to decide is over." in page.text
        assert page.named("form") == []
        assert (await send(desk, link, decision="approve")).answer.status_code == 409

    async def test_machines_get_json(self, desk: Desk) -> None:
        link, _ = await page_of(desk, await desk.ask())
        for accept in ("*/*", "application/json", ""):
            assert (await desk.client.get(link, headers={"accept": accept})).json()["status"] == "open"
        headers = {"accept": "*/*", "content-type": "application/x-www-form-urlencoded"}
        answer = await desk.client.post(link, content=b"decision=approve", headers=headers)
        assert answer.json()["verdict"] == "approved"

    @pytest.mark.parametrize("body", [b"decision=%ff", b"&".join(b"a%d=1" % n for n in range(500))])
    async def test_forms_that_cannot_be_read(self, desk: Desk, body: bytes) -> None:
        link, _ = await page_of(desk, await desk.ask())
        headers = {"content-type": "application/x-www-form-urlencoded"}
        assert (await desk.client.post(link, content=body, headers=headers)).status_code in (400, 422)


class TestOutcome:
    @pytest.mark.parametrize(
        ("fields", "verdict"),
        [
            ({"decision": "happened", "output": '{"id": 7}'}, "happened"),
            ({"decision": "happened"}, "happened"),
            ({"decision": "not_happened"}, "not_happened"),
            ({"decision": "fail"}, "failed"),
        ],
    )
    async def test_what_came_of_a_step(self, desk: Desk, fields: dict[str, str], verdict: str) -> None:
        question = await desk.ask("outcome", node="pay")
        link, page = await page_of(desk, question)
        assert '"node": "pay"' in page.text
        await send(desk, link, **{**page.values, **fields})
        assert (await desk.read(question))["verdict"] == verdict

    async def test_an_output_is_an_object(self, desk: Desk) -> None:
        link, _ = await page_of(desk, await desk.ask("outcome"))
        assert (await send(desk, link, decision="happened", output="7")).answer.status_code == 422


FORM: JsonObject = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Full name", "description": "As in the passport", "minLength": 2},
        "story": {"type": "string", "maxLength": 5000},
        "age": {"type": "integer", "minimum": 18},
        "height": {"type": "number", "default": 1.7},
        "size": {"enum": ["S", "M", 3, None], "default": "M"},
        "news": {"type": "boolean"},
        'odd " name': {"type": "string"},
    },
    "required": ["name", "age"],
}


class TestForm:
    async def test_a_field_for_every_member(self, desk: Desk) -> None:
        question = await desk.ask("input", form=FORM)
        link, page = await page_of(desk, question)
        assert {"form.name", "form.story", "form.age", "form.height", 'form.odd " name'} <= set(page.values)
        assert "Full name" in page.text
        assert page.values["form.height"] == "1.7"
        typed = {"form.name": "Ann", "form.story": "a\r\nb", "form.age": "40", "form.size": "2", "form.news": "true"}
        await send(desk, link, **{**page.values, **typed})
        assert await desk.arrived(question) == [
            {"data": {"name": "Ann", "story": "a\nb", "age": 40, "height": 1.7, "size": 3, "news": True}, "by": "ann"}
        ]

    async def test_every_mistake_and_what_was_typed(self, desk: Desk) -> None:
        question = await desk.ask("input", form=FORM)
        link, _ = await page_of(desk, question)
        again = await send(desk, link, **{"form.name": "A", "form.age": "forty", "form.height": "", "comment": "hm"})
        assert again.answer.status_code == 422
        for place in ("data.name", "data.age"):
            assert place in again.text
        assert (again.values["form.name"], again.values["form.age"], again.values["comment"]) == ("A", "forty", "hm")

    async def test_what_is_no_plain_form_is_asked_for_as_json(self, desk: Desk) -> None:
        form: JsonObject = {"type": "object", "properties": {"list": {"type": "array"}}, "required": ["list"]}
        question = await desk.ask("input", form=form)
        link, page = await page_of(desk, question)
        assert "Answer, as JSON" in page.text
        assert (await send(desk, link, data="nothing")).answer.status_code == 422
        assert (await send(desk, link, data="{}")).answer.status_code == 422
        assert "filled in" in (await send(desk, link, data='{"list": [1]}')).text


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"type": "object"},
        {"type": "array"},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": True}},
        {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
        {"type": "object", "properties": {"a": {"$ref": "#"}}},
        {"type": "object", "properties": [1]},
        {"type": "object", "properties": {str(n): {"type": "string"} for n in range(61)}},
    ],
)
def test_forms_that_are_more_than_fields(form: JsonObject) -> None:
    assert fields_of(form) is None


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "integer"}, "12", 12),
        ({"type": "integer"}, "1.5", "1.5"),
        ({"type": "number"}, "1.5", 1.5),
        ({"type": "number"}, "1,5", "1,5"),
        ({"enum": [True, "x"]}, "0", True),
        ({"enum": [True, "x"]}, "7", "7"),
        ({"enum": [True, "x"]}, "²", "²"),
        ({"type": "boolean"}, "anything", True),
    ],
)
def test_what_is_typed_is_read_leniently(schema: JsonObject, text: str, value: JsonValue) -> None:
    fields = fields_of({"type": "object", "properties": {"a": schema}})
    assert fields is not None
    assert filled_in(fields, {"form.a": text}) == {"a": value}
