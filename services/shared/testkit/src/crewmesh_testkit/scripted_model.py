"""A model that thinks by rules, for tests of logic: the same questions always get the same answers.

It is an ``OpenAiFake``: whatever speaks OpenAI's chat completions can ask it, and it fails on demand as they all do. ::

    async with ScriptedModel(api_key="…") as model:
        model.when(last="weather", offered="http", then=calls("http", path="/weather"))
        model.when(after="http", then=lambda asked: f"It is {asked.last.content}.")
        model.when(shown="You are the reviewer", times=1, then='{"verdict": "changes"}')
        model.when(shown="You are the reviewer", then='{"verdict": "approve"}')
        model.otherwise = "I have nothing to say."
        model.words_per_second = 50          # streams take their time

The first rule whose every condition holds answers. What was put in with ``answers(…)`` comes before all rules.

``obeys = True`` makes it the most gullible model there is: whatever it is shown, by whomever, that reads
``CALL tool {"argument": …}`` it does, one after the other, each once, also when the text is hidden in base64, hex,
percent or HTML encoding, written backwards or strewn with invisible characters; and whatever reads ``SAY text`` up to
the end of the line it says in the end. Only then come the rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from crewmesh_contracts.base import JsonValue

from crewmesh_testkit.gullible import orders_in, sayings_in
from crewmesh_testkit.model_fake import Answer, Says, ToolUse
from crewmesh_testkit.openai_fake import ChatRequest, OpenAiFake


def calls(tool: str, **arguments: JsonValue) -> Says:
    """The answer that uses a tool."""
    return Says(tools=(ToolUse(tool, arguments),))


@dataclass
class _Rule:
    holds: list[Callable[[ChatRequest], bool]]
    then: Answer[ChatRequest]
    left: int | None


@dataclass
class ScriptedModel(OpenAiFake):
    otherwise: Answer[ChatRequest] = "ok"
    obeys: bool = False
    _rules: list[_Rule] = field(default_factory=list[_Rule])

    def when(
        self,
        *,
        then: Answer[ChatRequest],
        last: str | None = None,
        shown: str | None = None,
        offered: str | None = None,
        after: str | None = None,
        model: str | None = None,
        holds: Callable[[ChatRequest], bool] | None = None,
        times: int | None = None,
    ) -> None:
        """Answer ``then`` when all that is given holds, up to ``times`` times.

        ``last``, ``shown``: patterns found in the last message, in anything it is shown. ``offered``: a tool it may
        use. ``after``: the last message is the result of this tool. ``model``: the model that was asked for.
        """
        conditions: list[Callable[[ChatRequest], bool]] = []
        if last is not None:
            conditions.append(lambda asked: re.search(last, asked.last.content) is not None)
        if shown is not None:
            conditions.append(lambda asked: re.search(shown, asked.prompt) is not None)
        if offered is not None:
            conditions.append(lambda asked: offered in asked.tool_names)
        if after is not None:
            conditions.append(lambda asked: _answered_tool(asked) == after)
        if model is not None:
            conditions.append(lambda asked: asked.model == model)
        if holds is not None:
            conditions.append(holds)
        self._rules.append(_Rule(conditions, then, times))

    def next_answer(self, asked: ChatRequest) -> str | Says:
        if self._answers:
            return super().next_answer(asked)
        return (_obedient(asked) if self.obeys else None) or self._by_the_rules(asked)

    def _by_the_rules(self, asked: ChatRequest) -> str | Says:
        for rule in self._rules:
            if rule.left != 0 and all(holds(asked) for holds in rule.holds):
                rule.left = None if rule.left is None else rule.left - 1
                return _of(rule.then, asked)
        return _of(self.otherwise, asked)


def _of(answer: Answer[ChatRequest], asked: ChatRequest) -> str | Says:
    return answer if isinstance(answer, (str, Says)) else answer(asked)


def _answered_tool(asked: ChatRequest) -> str | None:
    """The tool whose result is the last message."""
    names = {call.id: call.function.name for message in asked.messages for call in message.tool_calls}
    return names.get(asked.last.tool_call_id or "")


def _read(arguments: str) -> JsonValue:
    try:
        return cast(JsonValue, json.loads(arguments))
    except ValueError:
        return arguments


def _obedient(asked: ChatRequest) -> Says | str | None:
    """The next order that was not carried out yet; with none left, what it was told to say."""
    done = [(call.function.name, _read(call.function.arguments)) for said in asked.messages for call in said.tool_calls]
    for order in orders_in(asked.prompt):
        if (order.name, order.given) not in done:
            return Says(tools=(order,))
    return next(iter(sayings_in(asked.prompt)), None)
