"""What is written in a definition and can never work: told on saving, and let be in what was saved before."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_testkit.identities import identity
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.errors import InvalidDefinitionError
from psycopg.types.json import Jsonb

from services.workflow.tests.conftest import Running

WHO = identity("workflows:write", "workflows:read", "runs:write", "runs:read", "events:write")


def node(kind: str, **members: JsonValue) -> JsonObject:
    return {"name": "w", "nodes": [{"id": "n", "kind": kind, **members}]}


def http(**members: JsonValue) -> JsonObject:
    return node("http", **{"url": "https://x.test/hook", **members})


def asking(**members: JsonValue) -> JsonObject:
    return {**node("approval", title="t", **members), "output": {"yes": "{{ steps.n.output.approved }}"}}


def labels(*labels: str) -> JsonObject:
    return node("llm", task="classify", prompt="p", labels=[*labels])


def text(template: str) -> JsonObject:
    return node("transform", output={"x": template})


def python(source: str) -> JsonObject:
    return node("code", source=source)


def started_by(**trigger: JsonValue) -> JsonObject:
    return {**text("x"), "triggers": [trigger]}


def verified(url: str) -> JsonObject:
    return http(effect="verifiable", verify={"url": url})


def rule(**members: JsonValue) -> JsonObject:
    return {**text("x"), "settings": {"approval_rules": [members]}}


TOO_MANY: list[JsonValue] = [1] * 10_001
NEVER: dict[str, tuple[JsonObject, str, str]] = {
    "no URL": (http(url="notaurl"), "nodes.n.url", "must start with http:// or https://"),
    "an empty URL": (http(url=""), "nodes.n.url", "at least 1 character"),
    "another scheme": (http(url="ftp://x.test/"), "nodes.n.url", "must start with http:// or https://"),
    "another scheme before an expression": (http(url="ftp://{{ trigger.data.x }}"), "nodes.n.url", "must start with"),
    "a URL with credentials": (http(url="https://a:b@x.test"), "nodes.n.url", "send them in a header instead"),
    "a URL to ask": (verified("/jobs"), "nodes.n.verify.url", "must start with"),
    "a URL to ask, filled in": (verified("x.test/{{ run.id }}"), "nodes.n.verify.url", "must start with"),
    "a header of ours": (http(headers={"Host": "x"}), "nodes.n.headers.Host", "leave it away"),
    "a header twice": (http(headers={"X-A": "1", "x-a": "{{ run.id }}"}), "nodes.n.headers.x-a", "keep one"),
    "no name of a header": (http(headers={"a b": "x"}), "nodes.n.headers.a b", "match pattern"),
    "no value of a header": (http(headers={"x-a": "ü"}), "nodes.n.headers.x-a", "match pattern"),
    "no time at all": (http(timeout_seconds=0), "nodes.n.timeout_seconds", "more than 0 seconds"),
    "less time than none": (
        node("agent", agent="a", task="t", timeout_seconds=-5),
        "nodes.n.timeout_seconds",
        "give it",
    ),
    "labels that are the same": (labels("a", "a"), "nodes.n.labels", "at least two different labels"),
    "a blank label": (labels("a", " "), "nodes.n.labels", "1 to 200 characters"),
    "an empty task": (node("agent", agent="a", task=""), "nodes.n.task", "at least 1 character"),
    "an empty query": (node("knowledge.search", knowledge_base="k", query=""), "nodes.n.query", "at least 1 character"),
    "until a word": (node("delay", until="tomorrow"), "nodes.n.until", "such as 2026-03-01T09:00:00+01:00"),
    "until without an offset": (node("delay", until="2026-03-01T09:00:00"), "nodes.n.until", "end it with Z"),
    "seconds in words": (node("delay", seconds="abc"), "nodes.n.seconds", "must be a number"),
    "less than no seconds": (node("delay", seconds=-5), "nodes.n.seconds", "less than 0"),
    "too many seconds": (node("delay", seconds=1e12), "nodes.n.seconds", "366 days"),
    "too many items": (
        node("for_each", items=TOO_MANY, body={"nodes": [{"id": "i", "kind": "transform", "output": {}}]}),
        "nodes.n.items",
        "at most 10000",
    ),
    "no code": (python("x = 1\ndef ("), "nodes.n.source", "in line 2; correct the code"),
    "no code behind an f-string": (python("f'{a} {b!r}'\nprint 1"), "nodes.n.source", "in line 2"),
    "no code in a compensation": (
        http(compensate={"do": {"id": "u", "kind": "code", "source": "x ="}}),
        "nodes.n.compensate.do.source",
        "no Python",
    ),
    "a format of dates": (text("{{ run.started_at | date('%Q') }}"), "nodes.n.output.x", "date has no '%Q'"),
    "a time zone of dates": (text("{{ run.started_at | date('%H', 'Mars/X') }}"), "nodes.n.output.x", "no time zone"),
    "a unit of dates": (
        text("{{ run.started_at | date_add(1, 'months') }}"),
        "nodes.n.output.x",
        "needs one of seconds",
    ),
    "an amount of dates": (text("{{ run.started_at | date_add('1') }}"), "nodes.n.output.x", "needs a number"),
    "a negative length": (text("x {{ trigger.data.x | truncate(-1) }}"), "nodes.n.output.x", "truncate needs a whole"),
    "half a place": (text("{{ trigger.data.x | slice(0.5) }}"), "nodes.n.output.x", "needs a whole number"),
    "too many digits": (text("{{ trigger.data.x | round(11) }}"), "nodes.n.output.x", "from 0 to 10"),
    "too wide an indent": (text("{{ trigger.data.x | json(9) }}"), "nodes.n.output.x", "from 0 to 8"),
    "nothing to split at": (
        text("{{ trigger.data.x | split('') }}"),
        "nodes.n.output.x",
        "separator that is not empty",
    ),
    "nothing to replace": (text("{{ trigger.data.x | replace('', 'a') }}"), "nodes.n.output.x", "that is not empty"),
    "a number to join with": (text("{{ trigger.data.x | join(1) }}"), "nodes.n.output.x", "needs a text"),
    "a number to sort by": (text("{{ trigger.data.x | sort(1) }}"), "nodes.n.output.x", "needs a text"),
    "what names no member": (text("{{ trigger.data.x | get(true) }}"), "nodes.n.output.x", "get needs a number"),
    "after another filter": (text("{{ trigger.data.x | first | pluck(2) ?? 1 }}"), "nodes.n.output.x", "pluck needs"),
    "a type of two lines": (node("emit", type="a\nb"), "nodes.n.type", "no line breaks"),
    "a subject of nothing": (node("emit", type="t", subject=""), "nodes.n.subject", "1 to 1024 characters"),
    "a type with a blank": (started_by(kind="event", type="t "), "triggers.0.type", "blank"),
    "a type of nothing but blanks": (node("wait_event", type="  "), "nodes.n.type", "blank"),
    "a type of the platform": (started_by(kind="event", type="crewmesh.run.failed.v1"), "triggers.0.type", "run_ended"),
    "waiting for the platform": (node("wait_event", type="crewmesh.run.failed.v1"), "nodes.n.type", "choose another"),
    "a key of nothing": (node("wait_event", type="t", key=""), "nodes.n.key", "has no value"),
    "a key that is nowhere": (node("wait_event", type="t", key="k", correlation=""), "nodes.n.correlation", "subject"),
    "more yes than people": (asking(assignees=["user:a"], quorum=2), "nodes.n.quorum", "or lower the quorum"),
    "more yes than people, ever": (
        asking(assignees=["user:a"], quorum=3, escalation={"after_seconds": 1, "to": ["user:b"]}),
        "nodes.n.quorum",
        "but 2 are asked",
    ),
    "more yes than people of a rule": (
        rule(assignees=["user:a"], quorum=2),
        "settings.approval_rules.0.quorum",
        "but 1 are asked",
    ),
    "somebody twice": (asking(assignees=["user:a", "role:b", "user:a"]), "nodes.n.assignees", "name each once"),
    "somebody twice in a rule": (
        rule(assignees=["role:b", "role:b"]),
        "settings.approval_rules.0.assignees",
        "name each once",
    ),
    "escalated when it is over": (
        asking(expires_seconds=60, escalation={"after_seconds": 60, "to": ["role:a"]}),
        "nodes.n.escalation.after_seconds",
        "after 60 seconds",
    ),
    "a form escalated to somebody twice": (
        node("input", title="t", form={}, escalation={"after_seconds": 1, "to": ["role:a", "role:a"]}),
        "nodes.n.escalation.to",
        "name each once",
    ),
}


def mistakes(definition: JsonObject) -> dict[str, str]:
    try:
        compile_program(Definition.model_validate(definition), all_kinds())
    except InvalidDefinitionError as error:
        return {mistake.path: mistake.message for mistake in error.mistakes}
    return {}


@pytest.mark.parametrize(("definition", "path", "message"), NEVER.values(), ids=NEVER.keys())
def test_what_can_never_work_is_refused_on_saving(definition: JsonObject, path: str, message: str) -> None:
    found = mistakes(definition)
    assert message in found.get(path, f"nothing; only {found}")
    assert len(found) == 1


@pytest.mark.parametrize("definition", [case[0] for case in NEVER.values()], ids=NEVER.keys())
def test_what_was_saved_before_still_runs(definition: JsonObject) -> None:
    assert compile_program(Definition.model_validate(definition), all_kinds(), stored=True).main.nodes


MAY_WORK: dict[str, JsonObject] = {
    "a URL": http(url="HTTPS://x.test:8443/a?b=c"),
    "a URL that is filled in": http(url="{{ trigger.data.url }}"),
    "a URL with a beginning": http(url="https://{{ trigger.data.host }}/x"),
    "a scheme that is filled in": http(url="http{{ trigger.data.s }}://x.test"),
    "headers": http(headers={"authorization": "Bearer {{ trigger.data.token }}", "x-a": "1\t2"}),
    "a task that is said later": node("agent", agent="a", task="", expected="{{ trigger.data.x }}"),
    "no wait": node("delay", seconds=0),
    "seconds as text": node("delay", seconds="1.5"),
    "computed seconds": node("delay", seconds="-{{ trigger.data.n }}"),
    "a moment that is over": node("delay", until="1999-01-01T00:00:00Z"),
    "code": python("def f(a, /, *, b=1):\n    return [x for x in a if x]\nf(x)"),
    "code of a newer Python": python("f'{x['a']}'"),
    "generic code": python("def f[T](a: T) -> T:\n    return a"),
    "code that is too deep to be read here": python("1" + "+1" * 20_000),
    "code that returns": python("return 1"),
    "another language": node("code", source="def (", language="javascript"),
    "dates": text("{{ run.started_at | date('%d.%m.%Y %%', 'Europe/Berlin') | default('') }}"),
    "what may be left out": text(
        "{{ trigger.data.x | date(null, 'UTC') | slice(-3, null) | split(null) | sort(null) }}"
    ),
    "arguments that are read": text("{{ trigger.data.x | truncate(trigger.data.n) | get('a') | get(-1) }}"),
    "a type with a blank inside": node("emit", type="Order placed"),
    "a type of wide characters": started_by(kind="event", type="😀"),
    "as many yes as people": asking(assignees=["user:a", "user:b"], quorum=2),
    "as many yes as people in the end": asking(
        assignees=["user:a"], quorum=2, escalation={"after_seconds": 1, "to": ["user:b"]}
    ),
    "groups by their names": asking(assignees=["team:Vertrieb Süd", "role:Approver (EU)", "team:x"]),
    "a team": asking(assignees=["user:a", "team:b"], quorum=20),
    "everybody": asking(quorum=20, escalation={"after_seconds": 1, "to": ["user:b"]}),
    "a day that comes every four years": started_by(kind="cron", expression="0 0 29 2 *"),
    "shorter waits than the first": http(retry={"backoff_seconds": 10, "longest_seconds": 1}),
    "a step that may take longer than its run": {**http(), "settings": {"timeout_seconds": 5}},
}


@pytest.mark.parametrize("definition", MAY_WORK.values(), ids=MAY_WORK.keys())
def test_what_may_work_is_accepted(definition: JsonObject) -> None:
    assert mistakes(definition) == {}


async def test_a_version_that_was_published_before_starts_and_runs(service: Running) -> None:
    nodes: list[JsonValue] = [{"id": "wait", "kind": "delay", "seconds": "{{ trigger.data.n }}"}]
    definition: JsonObject = {"name": "w", "nodes": nodes, "triggers": [{"kind": "event", "type": "t"}]}
    workflow = (await service.post("/v1/workflows", WHO, definition)).json()["id"]
    older: JsonObject = {**definition, "nodes": [{"id": "wait", "kind": "delay", "seconds": -5}]}
    refused = await service.post("/v1/workflows/validate", WHO, older)
    assert [mistake["path"] for mistake in refused.json()["mistakes"]] == ["nodes.wait.seconds"]
    async with service.database.system() as conn:
        await conn.execute(
            "UPDATE workflow_versions SET definition = definition || %s WHERE workflow_id = %s",
            [Jsonb({"nodes": older["nodes"]}), workflow],
        )
    sent: JsonObject = {"specversion": "1.0", "id": "e1", "source": "s", "type": "t"}
    (run,) = (await service.post("/v1/events", WHO, sent)).json()["runs"]
    await service.until(run, "completed", WHO)
