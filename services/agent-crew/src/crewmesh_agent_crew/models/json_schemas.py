"""JSON Schemas that authors of workflows wrote: whether they are any, and whether a value follows one.

A schema may be hostile, so that it is looked at in a process of its own, bounded in time and memory by the kernel:
see ``schema_check``. Next to the question to a model, for whose answer this is done, starting one takes no time.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from crewmesh_kit.app import Resources
from crewmesh_kit.errors import InternalError, ValidationFailed
from pydantic import ValidationError

_PROGRAM = Path(__file__).with_name("schema_check.py")
_LONGEST_SCHEMA = 50_000
_AT_ONCE = 2
# On a busy machine two seconds of computing may take long; this is for one that never gets to it.
_WALL_SECONDS = 30.0


class _Verdict(Reply):
    schema_: str | None = None
    value: str | None = None


class BadSchema(ValidationFailed):
    """What was given as a JSON Schema cannot be used as one: ``why`` says what to correct."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"output_schema cannot be used as a JSON Schema: {why}. Correct it and ask again.",
            errors=[{"path": "body.output_schema", "message": why}],
        )
        self.why = why


class JsonSchemas:
    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def check(self, schema: JsonObject) -> None:
        """Raise BadSchema, with the reason, unless the schema is one."""
        if len(json.dumps(schema)) > _LONGEST_SCHEMA:
            raise BadSchema(f"it is longer than {_LONGEST_SCHEMA} characters")
        await self._verdict({"schema": schema})

    async def why_not(self, schema: JsonObject, value: JsonValue) -> str | None:
        """What is wrong with the value, in a sentence; nothing when it follows the schema."""
        return (await self._verdict({"schema": schema, "value": value})).value

    async def _verdict(self, question: JsonObject) -> _Verdict:
        async with self._places:
            said = await _asked(json.dumps(question).encode())
        try:
            verdict = _Verdict.model_validate_json(said)
        except ValidationError as error:
            raise InternalError("Checking the JSON Schema failed; try again.") from error
        if verdict.schema_ is not None:
            raise BadSchema(verdict.schema_)
        return verdict


async def _asked(question: bytes) -> bytes:
    # -I: nothing of the environment or of the folder it happens to run in is imported.
    process = await asyncio.create_subprocess_exec(sys.executable, "-I", str(_PROGRAM), stdin=PIPE, stdout=PIPE)
    try:
        async with asyncio.timeout(_WALL_SECONDS):
            said, _ = await process.communicate(question)
    except TimeoutError:
        raise _too_long() from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:  # the kernel ended it
        raise _too_long()
    return said


def _too_long() -> BadSchema:
    return BadSchema("working with it takes too long, or too much memory")


@asynccontextmanager
async def open_json_schemas(_: Resources) -> AsyncGenerator[JsonSchemas]:
    yield JsonSchemas()
