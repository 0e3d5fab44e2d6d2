"""HTTP of feedback and insights."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter, Query, Response

from crewmesh_agent_crew.feedback.insights import Insights
from crewmesh_agent_crew.feedback.schemas import (
    About,
    FeedbackRequest,
    FeedbackView,
    InsightRequest,
    InsightView,
)
from crewmesh_agent_crew.feedback.service import Feedback

router = APIRouter(tags=["feedback"])

Reader = Annotated[Identity, requires("crews:read")]
Runner = Annotated[Identity, requires("crews:run")]
Writer = Annotated[Identity, requires("crews:write")]
TheFeedback = Annotated[Feedback, provided(Feedback)]
TheInsights = Annotated[Insights, provided(Insights)]


@router.post(
    "/v1/crew-runs/{crew_run}/feedback", status_code=201, summary="Say how good it was, and what to do otherwise"
)
async def give_feedback(
    crew_run: str,
    body: FeedbackRequest,
    identity: Runner,
    feedback: TheFeedback,
    response: Response,
    key: IdempotencyKey,
) -> FeedbackView:
    """Said again, it takes the place of what one said before."""
    said = await feedback.say(identity, crew_run, key, body)
    response.headers["Location"] = f"/v1/crew-runs/{crew_run}/feedback"
    return said


@router.get("/v1/crew-runs/{crew_run}/feedback", summary="What people think of what came of it")
async def list_feedback(crew_run: str, identity: Reader, feedback: TheFeedback, page: PageQuery) -> Page[FeedbackView]:
    return await feedback.of_run(identity, crew_run, page)


@router.get("/v1/insights", summary="What a crew or an agent was taught, the newest first")
async def list_insights(
    about: Annotated[About, Query(description="crew:… or agent:… by name or id.")],
    identity: Reader,
    insights: TheInsights,
    page: PageQuery,
) -> Page[InsightView]:
    return await insights.page(identity, about, page)


@router.post("/v1/insights", status_code=201, summary="Teach a crew or an agent something for its later runs")
async def create_insight(
    body: InsightRequest, identity: Writer, insights: TheInsights, response: Response, key: IdempotencyKey
) -> InsightView:
    learnt = await insights.teach(identity, key, body)
    response.headers["Location"] = f"/v1/insights?about={learnt.about}"
    return learnt


@router.delete("/v1/insights/{insight}", status_code=204, summary="Let it be forgotten")
async def delete_insight(insight: str, identity: Writer, insights: TheInsights) -> None:
    await insights.drop(identity, insight)
