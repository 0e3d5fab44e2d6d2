"""Whether a person has to agree to a use, whether one did, and to what.

Nothing that a model reads or writes counts as an agreement: what people said is in the record of the run.
"""

from __future__ import annotations

from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject

from crewmesh_agent_crew.guardrails.rules import Rules
from crewmesh_agent_crew.guardrails.taint import Taint
from crewmesh_agent_crew.tools.metrics import TOOL_QUESTIONS
from crewmesh_agent_crew.tools.tool import AnyTool
from crewmesh_agent_crew.tools.toolbox import NeedsDecisionError, Question
from crewmesh_agent_crew.tools.work import WorkContext, question_id


@dataclass(frozen=True, slots=True)
class Wanted:
    """One use that the model asks for."""

    tool: AnyTool
    arguments: JsonObject
    key: str


@dataclass(frozen=True, slots=True)
class Agreed:
    """``arguments``: with these instead. ``question``: the one that was answered, none when nobody had to be asked.

    ``blanket``: it was said of the tool and not of this use alone.
    """

    arguments: JsonObject | None = None
    question: str | None = None
    blanket: bool = False


class RejectedError(Exception):
    """A person said no to it."""

    def __init__(self, question: str) -> None:
        super().__init__(question)
        self.question = question


class Approvals:
    def __init__(self, rules: Rules, work: WorkContext) -> None:
        self._rules = rules
        self._work = work

    def agreed(self, wanted: Wanted, taint: Taint) -> Agreed:
        """What people said to it. Raises NeedsDecisionError until they did, and RejectedError when they said no.

        That a tool may be used for the whole run is no agreement to a third of the rule of two: who said so had not
        seen what is sent.
        """
        tool = wanted.tool
        needed = self._rules.approval(
            tool.grant.approval, kind=tool.kind, outward=tool.may_reach_out, name=tool.grant.name
        )
        third = self._rules.guardrails.rule_of_two and taint.both and tool.reaches_out(wanted.arguments)
        if needed == "always" or third:
            return self._said(wanted, question_id("use", wanted.key), why="rule-of-two" if third else "always")
        if needed == "single":
            return self._said(wanted, self._of_the_tool(wanted), why="single")
        return Agreed()

    def _of_the_tool(self, wanted: Wanted) -> str:
        return question_id("tool", self._work.crew_run, self._rules.agent.name, wanted.tool.grant.name)

    def _said(self, wanted: Wanted, question: str, *, why: str) -> Agreed:
        verdict = self._work.verdict(question)
        if verdict is None:
            TOOL_QUESTIONS.labels(why).inc()
            raise NeedsDecisionError(self._question(wanted, question, why))
        if not verdict.approved:
            raise RejectedError(question)
        return Agreed(verdict.arguments, question, blanket=why == "single")

    def _question(self, wanted: Wanted, id_: str, why: str) -> Question:
        agent, tool = self._rules.agent.name, wanted.tool.grant.name
        titles = {
            "single": f"May {agent} use {tool} in this run?",
            "always": f"May {agent} use {tool} so?",
            "rule-of-two": f"{agent} has read private data and words of strangers. May it reach out with {tool} so?",
        }
        return Question(id=id_, kind="tool", title=titles[why], agent=agent, tool=tool, arguments=wanted.arguments)
