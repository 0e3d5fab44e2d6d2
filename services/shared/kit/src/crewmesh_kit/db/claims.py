"""The rows behind idempotency keys: who claimed a key for which request, and what was answered."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeVar, cast

from crewmesh_contracts.base import JsonObject
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from crewmesh_kit.errors import IdempotencyKeyReused, InvalidRequest, OperationInProgress, Problem, RemoteProblem

ResultT = TypeVar("ResultT", bound=BaseModel)


def fingerprint_of(request: BaseModel) -> str:
    """What makes two requests the same request."""
    try:
        asked = request.model_dump_json()
    except PydanticSerializationError as error:
        raise InvalidRequest("The body holds half a character (a lone surrogate), which is no text.") from error
    return hashlib.sha256(asked.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Claim:
    """One use of a key: whose, for what, with which content."""

    organization: str
    scope: str
    key: str
    fingerprint: str

    @property
    def place(self) -> list[str]:
        return [self.organization, self.scope, self.key]

    def check(self, fingerprint: str) -> None:
        if fingerprint != self.fingerprint:
            raise IdempotencyKeyReused(
                f"The Idempotency-Key {self.key!r} was used before with another request; use a new key."
            )


async def read_row(conn: AsyncConnection[DictRow], claim: Claim) -> DictRow:
    cursor = await conn.execute(
        "SELECT fingerprint, state, status, body FROM idempotency WHERE org_id = %s AND scope = %s AND key = %s",
        claim.place,
    )
    row = await cursor.fetchone()
    if row is None:  # released or pruned in this very moment
        raise in_progress()
    return row


def stored_answer(row: DictRow, result: type[ResultT]) -> ResultT:
    if row["state"] == "failed":
        raise _stored_problem(row["status"], row["body"])
    return result.model_validate(row["body"])


def answer_json(answer: BaseModel) -> Jsonb:
    return Jsonb(answer.model_dump(mode="json", by_alias=True))


def problem_json(problem: Problem) -> Jsonb:
    return Jsonb({"problem": problem.document(), "headers": problem.headers})


def _stored_problem(status: int, body: JsonObject) -> RemoteProblem:
    document = cast(JsonObject, body["problem"])
    extensions = {
        name: value
        for name, value in document.items()
        if name not in ("type", "title", "status", "detail", "retryable")
    }
    return RemoteProblem(
        str(document["detail"]),
        status=status,
        slug=str(document["type"]).rsplit("/", 1)[-1],
        title=str(document["title"]),
        retryable=False,
        headers=cast("dict[str, str]", body["headers"]),
        **extensions,
    )


def in_progress() -> OperationInProgress:
    return OperationInProgress(
        "An operation with this Idempotency-Key is still running; ask again with the same key.",
        headers={"Retry-After": "2"},
    )
