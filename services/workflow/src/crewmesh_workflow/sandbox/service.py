"""Runs code of users in processes of their own, a few at a time.

Workers for Python are started when they are needed and used again. A worker is thrown away whenever a request does not
end with its answer: it took too long, the caller went away, or what came back cannot be read.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_contracts.base import JsonValue
from crewmesh_kit.logs import get_logger
from crewmesh_kit.resources import Resources
from pydantic import ValidationError

from crewmesh_workflow.sandbox import javascript
from crewmesh_workflow.sandbox.errors import CodeFailed, CodeTimedOut, SandboxCrashed
from crewmesh_workflow.sandbox.frames import FrameTooLong
from crewmesh_workflow.sandbox.model import Answer, CodeRequest, CodeResult, Failure
from crewmesh_workflow.sandbox.processes import Confined
from crewmesh_workflow.sandbox.sizes import MOST_DEPTH

# The interpreter ends the code by itself at its time; this much later nobody waits any more.
_GRACE_SECONDS = 1.5
_START_SECONDS = 30.0
_MOST_WORKERS = 4
# Its limit of processor time counts all that it has done.
_MOST_USES = 1_000
# A message becomes the error of a step: NUL cannot be stored there, and other controls are not for people.
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

log = get_logger(__name__)


class Sandbox:
    """``workers``: how many scripts run at a time; more of them wait."""

    def __init__(self, folder: str, *, workers: int) -> None:
        self._folder = folder
        self._slots = asyncio.Semaphore(workers)
        self._idle: list[Confined] = []

    async def run(self, request: CodeRequest) -> CodeResult:
        """The result, or CodeFailed, CodeTimedOut, SandboxMissing or SandboxCrashed."""
        async with self._slots:
            process = await self._process(request)
            kept = False
            try:
                async with asyncio.timeout(request.timeout_seconds + _GRACE_SECONDS):
                    answer = await self._ask(process, request)
                kept = request.language == "python" and process.asked < _MOST_USES
            except TimeoutError:
                answer = Answer(failure=Failure(kind="time"))
            except (EOFError, OSError, FrameTooLong) as error:
                raise SandboxCrashed("The process that ran the code ended in the middle.") from error
            finally:
                if kept:
                    self._idle.append(process)
                else:
                    await process.end()
        return _result(request, answer)

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(process.end() for process in idle if process.alive))

    async def _process(self, request: CodeRequest) -> Confined:
        if request.language == "javascript":
            return await javascript.start(self._folder, request)
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
        return await self._start_worker()

    async def _start_worker(self) -> Confined:
        process = await Confined.start(self._folder, "python")
        try:
            async with asyncio.timeout(_START_SECONDS):
                await process.ready()
        except BaseException as error:
            await process.end()
            if isinstance(error, EOFError | TimeoutError):
                raise SandboxCrashed("The process that runs code could not be started.") from error
            raise
        log.info("started a worker for code", pid=process.pid)
        return process

    async def _ask(self, process: Confined, request: CodeRequest) -> Answer | bytes:
        if request.language == "javascript":
            return await javascript.run(process, request)
        return await process.ask(request.model_dump_json().encode())


def _result(request: CodeRequest, answer: Answer | bytes) -> CodeResult:
    if isinstance(answer, bytes):
        try:
            answer = Answer.model_validate_json(answer)
        except ValidationError as error:
            raise CodeFailed(
                "its answer cannot be read: it is nested too deeply, or holds text that is none"
            ) from error
    if answer.failure is not None:
        raise _problem(request, answer.failure)
    if not _shallow(answer.result, MOST_DEPTH):
        raise CodeFailed("the result is nested too deeply")
    return CodeResult(result=answer.result, printed=answer.printed)


def _problem(request: CodeRequest, failure: Failure) -> CodeFailed | CodeTimedOut:
    if failure.kind == "time":
        return CodeTimedOut(f"The code took longer than {request.timeout_seconds:g} seconds.")
    if failure.kind == "memory":
        return CodeFailed(f"the code needed more than its {request.memory_mib} MiB of memory", line=failure.line)
    return CodeFailed(_UNFIT.sub("\ufffd", failure.message) or "the code failed", line=failure.line)


def _shallow(value: JsonValue, depth: int) -> bool:
    if not isinstance(value, list | dict):
        return True
    members = value if isinstance(value, list) else value.values()
    return depth > 0 and all(_shallow(member, depth - 1) for member in members)


@asynccontextmanager
async def open_sandbox(_: Resources) -> AsyncGenerator[Sandbox]:
    """For the lifetime of the service. Nothing is started before the first code step."""
    with tempfile.TemporaryDirectory(prefix="crewmesh-sandbox-") as folder:
        os.chmod(folder, 0o500)  # nothing is left there by one script for another
        sandbox = Sandbox(folder, workers=min(os.cpu_count() or 1, _MOST_WORKERS))
        try:
            yield sandbox
        finally:
            await sandbox.close()
