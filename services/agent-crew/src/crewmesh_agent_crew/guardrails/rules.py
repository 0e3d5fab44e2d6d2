"""What holds for one agent in one run: its own guardrails and limits, and the policies of its tags. The strictest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias, TypeVar, get_args

import jsonschema_rs

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.guardrails.errors import ForbiddenByPolicy
from crewmesh_agent_crew.guardrails.policies.models import PolicyDefinition, named_so, says_no_to
from crewmesh_agent_crew.guardrails.settings import Guardrails, Injection, Limits, Pii
from crewmesh_agent_crew.guardrails.texts import folded

ApprovalNeeded: TypeAlias = Literal["never", "single", "always"]
LevelT = TypeVar("LevelT")
NumberT = TypeVar("NumberT", int, float)

_APPROVALS: tuple[ApprovalNeeded, ...] = get_args(ApprovalNeeded)
_PII: tuple[Pii, ...] = get_args(Pii)
_INJECTION: tuple[Injection, ...] = get_args(Injection)


@dataclass(frozen=True)
class Rules:
    """``policies``: those of the agent's and its crew's tags."""

    agent: AgentDefinition
    policies: tuple[PolicyDefinition, ...] = ()

    @cached_property
    def guardrails(self) -> Guardrails:
        own = self.agent.guardrails
        said = [policy.rule_of_two for policy in self.policies if policy.rule_of_two is not None]
        return Guardrails(
            pii=_strictest(_PII, [own.pii, *(policy.pii for policy in self.policies)]),
            injection=_strictest(_INJECTION, [own.injection, *(policy.injection for policy in self.policies)]),
            rule_of_two=any(said) if said else own.rule_of_two,
        )

    @cached_property
    def limits(self) -> Limits:
        own, others = self.agent.limits, [policy.limits for policy in self.policies]
        return Limits(
            model_calls=min([own.model_calls, *_said(each.model_calls for each in others)]),
            tool_calls=min([own.tool_calls, *_said(each.tool_calls for each in others)]),
            seconds=min([own.seconds, *_said(each.seconds for each in others)]),
            tokens=min(_said([own.tokens, *(each.tokens for each in others)]), default=None),
        )

    def and_(self, others: Rules) -> Rules:
        """What holds when those hold as well."""
        new = tuple(policy for policy in others.policies if policy not in self.policies)
        return Rules(self.agent, (*self.policies, *new)) if new else self

    def governed(self) -> AgentDefinition:
        """The agent as it may be."""
        return self.agent.model_copy(update={"guardrails": self.guardrails, "limits": self.limits})

    def approval(self, own: str, *, kind: str, outward: bool, name: str) -> ApprovalNeeded:
        """``own``: what the grant says; a policy can only ask for more."""
        wanted: list[ApprovalNeeded] = [
            rule.approval
            for policy in self.policies
            for rule in policy.approvals
            if rule.tools.holds_for(kind=kind, outward=outward, name=name)
        ]
        granted: ApprovalNeeded = own if own in ("single", "always") else "never"
        return _strictest(_APPROVALS, [granted, *wanted])

    def forbidding(self, *, kind: str, outward: bool, name: str) -> str | None:
        """The policy that forbids the tool."""
        return next(
            (
                policy.name
                for policy in self.policies
                if any(tools.holds_for(kind=kind, outward=outward, name=name) for tools in policy.forbidden_tools)
            ),
            None,
        )

    @staticmethod
    def strictest_pii(several: Iterable[Rules]) -> Pii:
        return _strictest(_PII, [rules.guardrails.pii for rules in several])

    def forbidden_model(self, *names: str) -> ForbiddenByPolicy | None:
        """What is told when the agent may not think with a model that goes by one of these names."""
        for policy, pattern in self._forbidden_models:
            for name in names:
                if named_so(pattern, name):
                    return ForbiddenByPolicy(policy, f"the model {name!r} to the agent {self.agent.name!r}")
        return None

    @cached_property
    def _forbidden_models(self) -> Sequence[tuple[str, str]]:
        return [(policy.name, pattern) for policy in self.policies for pattern in policy.forbidden_models]

    @property
    def forbids_words(self) -> bool:
        return any(policy.forbidden_phrases or policy.forbidden_patterns for policy in self.policies)

    def forbidden_words(self, text: str) -> str | None:
        """The policy by which this must not be said."""
        plain = folded(text)
        for policy in self.policies:
            if any(folded(phrase) in plain for phrase in policy.forbidden_phrases):
                return policy.name
            if not all(check.is_valid(text) for check in self._checks[policy.name]):
                return policy.name
        return None

    @cached_property
    def _checks(self) -> dict[str, Sequence[jsonschema_rs.Validator]]:
        return {policy.name: [says_no_to(each) for each in policy.forbidden_patterns] for policy in self.policies}


def _strictest(levels: Sequence[LevelT], named: Iterable[LevelT]) -> LevelT:
    return max(named, key=levels.index)


def _said(values: Iterable[NumberT | None]) -> list[NumberT]:
    return [value for value in values if value is not None]


def rules_for(agent: AgentDefinition, crew_tags: Iterable[str], policies: Iterable[PolicyDefinition]) -> Rules:
    tags = {"*", *agent.tags, *crew_tags}
    return Rules(agent, tuple(policy for policy in policies if policy.tag in tags))
