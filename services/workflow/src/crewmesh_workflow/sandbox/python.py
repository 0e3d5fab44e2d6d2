"""The worker's side of Python: every request is run by monty, in a process of its own that is used once.

monty is an interpreter written for untrusted code: no imports but its own few modules, no files, no network, no
attributes that lead to the inside. Its values come here, not to the service, and leave as JSON or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from pydantic_monty import (
    Monty,
    MontyCrashedError,
    MontyError,
    MontyRuntimeError,
    MontySyntaxError,
    OSPolicy,
    ResourceLimits,
)

from crewmesh_workflow.sandbox.frames import frame, read_frame
from crewmesh_workflow.sandbox.sizes import LONGEST_MESSAGE, MOST_PRINTED, MOST_RESULT_BYTES

if TYPE_CHECKING:  # a worker starts faster, and is smaller, without the rest of the service
    from crewmesh_contracts.base import JsonObject, JsonValue

_MOST_RECURSION = 500
_SCRIPT = "code.py"
# Clocks and sleep are answered by a host that answers nothing.
_NO_CLOCK: OSPolicy = {"datetime": "call_host", "sleep": "call_host"}
_NO_MEMORY = re.compile("memory limit exceeded|exceeded its memory limit")
_LONGEST_INTEGER = 2**63


class NotJson(Exception):  # noqa: N818  what it says of a value
    """The value cannot leave the sandbox."""


class _Printed:
    def __init__(self) -> None:
        self._texts: list[str] = []
        self._left = MOST_PRINTED

    def __call__(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        kept = text[: self._left]
        self._left -= len(kept)
        self._texts.append(kept)

    def text(self) -> str:
        return "".join(self._texts)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until nobody asks any more. The first message says that the worker is ready."""
    with Monty(min_processes=1, max_processes=1, max_checkouts_per_worker=1) as monty:
        answers.write(frame(b"{}"))
        answers.flush()
        while (request := read_frame(requests)) is not None:
            answers.write(frame(_answer(monty, cast("JsonObject", json.loads(request)))))
            answers.flush()


def _answer(monty: Monty, request: JsonObject) -> bytes:
    printed = _Printed()
    try:
        result = json.dumps(plain(_run(monty, request, printed)), ensure_ascii=False).encode()
        if len(result) > MOST_RESULT_BYTES:
            raise NotJson(f"the result is larger than {MOST_RESULT_BYTES // 1024} KiB of JSON")
    except (MontyError, NotJson, MemoryError, RecursionError) as error:
        return json.dumps({"printed": printed.text(), "failure": _failure(error)}).encode()
    return b'{"printed":%s,"result":%s}' % (json.dumps(printed.text()).encode(), result)


def _run(monty: Monty, request: JsonObject, printed: _Printed) -> object:
    limits: ResourceLimits = {
        "max_feed_duration_secs": cast(float, request["timeout_seconds"]),
        "max_memory": cast(int, request["memory_mib"]) * 1024 * 1024,
        "max_recursion_depth": _MOST_RECURSION,
    }
    with monty.checkout(script_name=_SCRIPT, limits=limits, os_policy=_NO_CLOCK) as session:
        return cast(
            object,
            session.feed_run(
                str(request["source"]),
                inputs=cast("JsonObject", request["inputs"]),
                print_callback=printed,
            ),
        )


def plain(value: object) -> JsonValue:
    """The value as JSON would read it back. Raises NotJson, or RecursionError."""
    match value:
        case None | bool() | str():
            return value
        case int() if not -_LONGEST_INTEGER <= value < _LONGEST_INTEGER:
            raise NotJson("the result holds an integer of more than 64 bits; make it text")
        case float() if value != value or value in (float("inf"), float("-inf")):
            raise NotJson("the result holds a number that is not finite")
        case int() | float():
            return value
        case list() | tuple():
            return [plain(item) for item in cast(Sequence[object], value)]
        case dict():
            return {_key(key): plain(member) for key, member in cast(Mapping[object, object], value).items()}
        case _:
            raise NotJson(f"the result holds a value of type {type(value).__name__}, which JSON does not have")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise NotJson(f"the result holds a key of type {type(key).__name__}; in JSON every key is text")
    return key


def _failure(error: Exception) -> JsonObject:
    if isinstance(error, MontyCrashedError):
        # The interpreter ends by itself only for want of memory; when it was killed, that was for its time.
        return {"kind": "time" if error.timed_out else "memory"}
    message = str(error)[:LONGEST_MESSAGE]
    if isinstance(error, MemoryError) or _NO_MEMORY.search(message):
        return {"kind": "memory", "line": _line(error)}
    if "time limit exceeded" in message:
        return {"kind": "time", "line": _line(error)}
    if isinstance(error, RecursionError):
        return {"message": "the result is nested too deeply"}
    return {"message": message, "line": _line(error)}


def _line(error: Exception) -> int | None:
    """Where it happened, in the words of the innermost frame."""
    if not isinstance(error, MontyRuntimeError | MontySyntaxError):
        return None
    frames = error.traceback()
    return frames[-1].line if frames else None
