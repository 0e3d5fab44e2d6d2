"""Who may decide, and what comes of what people say. Nothing here touches the database.

A question is decided by one no, by as many yes as its quorum wants, or by one answer. Who says yes may change what is
proposed: that is a new proposal, with this yes as its first, and what was said about the one before is void. So nobody
can be counted as agreeing to something that was changed afterwards; and a yes names the proposal it is meant for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.identity import Identity

DECIDE = "approvals:decide"
DECIDE_ANY = "approvals:decide-any"

Kind: TypeAlias = Literal["approval", "input", "outcome"]
Verdict: TypeAlias = Literal["approved", "rejected", "answered", "happened", "not_happened", "failed"]


@dataclass(frozen=True, slots=True)
class Vote:
    """What one person said about one proposal. ``data``: what was proposed or answered with it."""

    by: str
    proposal: int
    approved: bool
    comment: str | None
    data: JsonValue
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says now, before it is counted. ``proposal`` is what that person has seen."""

    approved: bool
    comment: str | None
    data: JsonValue
    proposal: int = 1


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is to be approved at present: its number, and the data as they were changed last."""

    number: int
    data: JsonValue


def voter_of(identity: Identity) -> str:
    """Whose word it is: the person's or service account's, whichever key of theirs is used."""
    return identity.behind


def names_of(identity: Identity) -> list[str]:
    """What an assignee may be called so that this identity is meant: who is behind a key, or just this key."""
    names = dict.fromkeys(f"user:{name}" for name in (voter_of(identity), identity.subject))
    return [*names, *sorted(identity.groups | identity.group_names)]


def may_decide(identity: Identity, assignees: Sequence[str]) -> bool:
    """An empty list asks everybody. That the identity may decide at all is checked at the edge."""
    if identity.allows(DECIDE_ANY) or not assignees:
        return True
    return not set(names_of(identity)).isdisjoint(assignees)


def present_proposal(original: JsonValue, votes: Sequence[Vote]) -> Proposal:
    number = max((vote.proposal for vote in votes), default=1)
    if number == 1:
        return Proposal(1, original)
    return Proposal(number, next(vote.data for vote in votes if vote.proposal == number and vote.data is not None))


def own_vote(votes: Sequence[Vote], identity: Identity, proposal: int) -> Vote | None:
    own = (voter_of(identity), identity.subject)  # the key itself, where it voted before votes were its owner's
    return next((vote for vote in votes if vote.by in own and vote.proposal == proposal), None)


def repeats(vote: Vote, said: Said) -> bool:
    """Whether the same is said again, as after an answer that was lost."""
    return (vote.approved, vote.comment) == (said.approved, said.comment) and same(vote.data, said.data)


def same(one: JsonValue, other: JsonValue) -> bool:
    """Equal as JSON: true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def is_change(said: Said, proposal: Proposal) -> bool:
    return said.approved and said.data is not None and not same(said.data, proposal.data)


def verdict_of_votes(votes: Sequence[Vote], *, proposal: int, quorum: int) -> Verdict | None:
    """One no decides; else as many yes to the present proposal as are needed."""
    if any(not vote.approved for vote in votes):
        return "rejected"
    agreed = sum(vote.approved for vote in votes if vote.proposal == proposal)
    return "approved" if agreed >= quorum else None


def verdict_of_outcome(said: Said) -> Verdict:
    """``data`` is what a resolution arrives as: {"happened": …} or {"fail": true}."""
    if isinstance(said.data, dict) and said.data.get("fail") is True:
        return "failed"
    return "happened" if said.approved else "not_happened"


def arrival(kind: Kind, proposal: Proposal, votes: Sequence[Vote], verdict: Verdict) -> JsonObject:
    """What the waiting step is told. ``votes`` ends with the one that decided."""
    last = votes[-1]
    if kind == "input":
        return {"data": last.data, "by": last.by}
    if kind == "outcome":
        said = last.data if isinstance(last.data, dict) else {}
        return {**said, "by": last.by, "comment": last.comment}
    counted = [vote for vote in votes if vote.proposal == proposal.number or not vote.approved]
    decisions: list[JsonValue] = [
        {"by": vote.by, "approved": vote.approved, "comment": vote.comment} for vote in counted
    ]
    return {"approved": verdict == "approved", "data": proposal.data, "decisions": decisions}
