"""What a server's failure is for whoever asked."""

from __future__ import annotations

import math

from crewmesh_kit.errors import Problem

from crewmesh_agent_crew.catalogue.models import ModelEntry
from crewmesh_agent_crew.models.errors import (
    ModelFiltered,
    ModelRateLimited,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    PromptTooLong,
)
from crewmesh_agent_crew.providers.protocol import FailureKind, ProviderError

_USUAL_PAUSE = 5.0

_PROBLEMS: dict[FailureKind, tuple[type[Problem], str]] = {
    "limited": (ModelRateLimited, "takes no more requests right now: {detail}. Try again later."),
    "overloaded": (ModelUnavailable, "is too busy: {detail}. Try again later."),
    "unavailable": (ModelUnavailable, "cannot be asked right now: {detail}. Try again later."),
    "cut": (ModelUnavailable, "broke off its answer: {detail}. Try again later."),
    "timeout": (ModelTimeout, "did not answer in time: {detail}. Try again later, or give it more time."),
    "unreadable": (ModelRefused, "answers what is no answer of its protocol: {detail}. Check the account's URL."),
    "bad-key": (ModelRefused, "does not accept the key: {detail}. Set another key for the account."),
    "refused": (ModelRefused, "refuses the request: {detail}."),
    "too-long": (PromptTooLong, "cannot read that much: {detail}. Shorten the text, or name a model that reads more."),
    "filtered": (ModelFiltered, "does not answer this: {detail}."),
}


def problem_of(entry: ModelEntry, error: ProviderError) -> Problem:
    kind, sentence = _PROBLEMS[error.kind]
    at = f" of the account {entry.provider}" if entry.source != "deployment" else ""
    detail = f"The model {entry.name}{at} {sentence.format(detail=error.detail.rstrip('. '))}"
    if not kind.retryable:
        return kind(detail)
    pause = _USUAL_PAUSE if error.pause is None else error.pause
    return kind(detail, headers={"Retry-After": str(max(math.ceil(pause), 1))})
