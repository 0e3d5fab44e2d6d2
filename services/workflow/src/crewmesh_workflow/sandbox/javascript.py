"""The service's side of JavaScript: one process of deno for one script."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
from functools import cache
from pathlib import Path

from crewmesh_workflow.sandbox.errors import SandboxCrashed, SandboxMissing
from crewmesh_workflow.sandbox.model import Answer, CodeRequest, Failure
from crewmesh_workflow.sandbox.processes import Confined
from crewmesh_workflow.sandbox.sizes import LONGEST_MESSAGE, MOST_PRINTED, MOST_RESULT_BYTES

_HARNESS = Path(__file__).with_name("harness.js")


def find_deno() -> str:
    """Beside this Python, where a wheel puts it, or on the PATH."""
    places = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)))
    found = shutil.which("deno", path=places)
    if found is None:
        raise SandboxMissing(
            "JavaScript needs deno beside the workflow service: install it there (uv pip install deno, or the package "
            "of the system), or write the step in Python."
        )
    return found


async def start(folder: str, request: CodeRequest) -> Confined:
    # Its own end, should nobody be left to end it.
    cpu_seconds = math.ceil(request.timeout_seconds) + 5
    return await Confined.start(folder, "javascript", find_deno(), str(request.memory_mib), str(cpu_seconds))


def script(request: CodeRequest) -> bytes:
    """The whole program. The user's source is in it as data."""
    asked = json.dumps(
        {
            "source": request.source,
            "inputs": request.inputs,
            "most_printed": MOST_PRINTED,
            "most_result_bytes": MOST_RESULT_BYTES,
            "longest_message": LONGEST_MESSAGE,
        }
    )
    return _harness().replace("REQUEST)", json.dumps(asked) + ")", 1).encode()


@cache
def _harness() -> str:
    return _HARNESS.read_text(encoding="utf-8")


async def run(process: Confined, request: CodeRequest) -> Answer | bytes:
    """What the script answered, unread, or why it did not."""
    said = await process.tell(script(request))
    if said is None:
        return Answer(failure=Failure(message="the code wrote far too much"))
    if said:
        return said
    return _silent(await process.ended())


def _silent(code: int) -> Answer:
    if code == -signal.SIGKILL:
        raise SandboxCrashed("The process that ran the code was ended from outside.")
    if code == -signal.SIGXCPU:
        return Answer(failure=Failure(kind="time"))
    if code < 0:
        return Answer(failure=Failure(kind="memory"))
    return Answer(failure=Failure(message="the code ended the process before it had a result"))
