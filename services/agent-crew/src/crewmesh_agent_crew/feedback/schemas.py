"""Feedback and insights, as the public API takes and shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from crewmesh_contracts.base import Contract, Reply
from pydantic import ConfigDict, Field, StringConstraints

Words = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", strip_whitespace=True, max_length=2_000)]
About = Annotated[str, StringConstraints(pattern=r"^(crew|agent):[a-z0-9][a-z0-9_-]{0,79}$")]


class FeedbackRequest(Contract):
    """A comment becomes an insight: later runs of the same crew or agent are told it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rating": 2, "comment": "Name the source of every figure."}]}
    )

    rating: Annotated[int, Field(ge=1, le=5, description="From 1, of no use, to 5, just right.")]
    comment: Words = ""


class FeedbackView(Reply):
    id: str
    crew_run: str
    about: str
    rating: int
    comment: str
    by: str
    at: datetime


class InsightRequest(Contract):
    """``about``: ``crew:`` or ``agent:`` and its name or id."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"about": "crew:answer-desk", "text": "Answer in the language of the question."}]
        }
    )

    about: About
    text: Annotated[Words, Field(min_length=1)]


class InsightView(Reply):
    """``feedback``: what it was learnt from; none: somebody wrote it down.

    ``trusted``: by somebody who may change the crew or agent, and so told it as an instruction.
    """

    id: str
    about: str
    text: str
    trusted: bool
    feedback: str | None
    by: str
    at: datetime
