"""The events of a run as sentences, for people who read what happened."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_workflow.runs.schemas import Level, LogLine, StoredEvent

_LONGEST_DETAIL = 2_000
_WAITS_FOR = {
    "timer": "until its time has come",
    "event": "for an event",
    "approval": "for somebody to agree",
    "input": "for somebody to fill in its form",
    "outcome": "for somebody to say whether its action took effect",
    "child": "for the run that it started",
}

_SAID = {
    "happened": "that it took effect",
    "not_happened": "that it did not take effect",
    "failed": "that it is given up",
}


def log_line(event: StoredEvent) -> LogLine:
    level, tell = _TYPES.get(event.type, ("info", _always(event.type)))
    return LogLine(seq=event.seq, at=event.at, level=level, path=_text(event.data.get("node")), text=tell(event.data))


def as_text(lines: Iterable[LogLine]) -> str:
    """One line each: what stands in a text can neither break it nor move the cursor of a terminal."""
    return "".join(
        f"{line.at.isoformat(timespec='milliseconds')} {line.level.upper():7} {_visible(line.path or '-')}"
        f" {_visible(line.text)}\n"
        for line in lines
    )


def _visible(text: str) -> str:
    return "".join(
        f"\\u{{{ord(char):x}}}" if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs") else char
        for char in text
    )


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def _why(data: JsonObject) -> str:
    error = data.get("error")
    if not isinstance(error, dict):
        return ""
    return f": {_text(error.get('detail')) or ''}"[:_LONGEST_DETAIL] + f" ({_text(error.get('type'))})"


def _said(data: JsonObject) -> str:
    said = data.get("said")
    if not isinstance(said, dict):
        return ""
    comment = _text(said.get("comment"))
    told = f"; {_text(said.get('by')) or 'somebody'} said {_SAID.get(_text(said.get('verdict')) or '', 'so')}"
    return (f"{told}: {comment}" if comment else told)[:_LONGEST_DETAIL]


def _seconds(value: JsonValue) -> str:
    return f"{value:g} s" if isinstance(value, int | float) else "some time"


def _attempt(data: JsonObject) -> str:
    attempt = data.get("attempt")
    return f", attempt {attempt}" if isinstance(attempt, int) and attempt > 1 else ""


def _begun(data: JsonObject) -> str:
    origin, source = _text(data.get("origin")), _text(data.get("source_run"))
    return f"the run began as a {origin} of {source}" if source else "the run began"


def _started(data: JsonObject) -> str:
    return f"began ({_text(data.get('kind')) or 'step'}{_attempt(data)})"


def _waiting(data: JsonObject) -> str:
    what = _WAITS_FOR.get(_text(data.get("waits_for")) or "", "for something")
    seconds = data.get("seconds")
    return f"waits {what}" + (f", at most {_seconds(seconds)}" if isinstance(seconds, int | float) else "")


def _completed(data: JsonObject) -> str:
    ports = _text(data.get("port")) or ""
    way = f" by {ports}" if ports not in ("", "out") else ""
    handled = f", its failure handled{_why(data)}" if "error" in data else ""
    return f"is done{way}{_attempt(data)}{handled}{_said(data)}"


def _failing(data: JsonObject) -> str:
    return f"the run is going to fail; what was done is undone first{_awaited(data)}{_why(data)}"


def _cancelling(data: JsonObject) -> str:
    return f"the run is being cancelled; what was done is undone first{_awaited(data)}"


def _awaited(data: JsonObject) -> str:
    paths = data.get("waits_for")
    named = ", ".join(str(path) for path in paths) if isinstance(paths, list) else ""
    return f", when it is known what came of {named}" if named else ""


def _moved(data: JsonObject) -> str:
    return f"the run was moved to version {data.get('to')} of its workflow"


def _always(text: str) -> Callable[[JsonObject], str]:
    return lambda _: text


_TYPES: dict[str, tuple[Level, Callable[[JsonObject], str]]] = {
    "run.queued": ("info", _always("the run waits for its turn: as many runs as allowed are at work")),
    "run.started": ("info", _begun),
    "run.waiting": ("info", _always("nothing can be done before something comes, or a time")),
    "run.paused": ("info", _always("the run is paused")),
    "run.resumed": ("info", _always("the run goes on")),
    "run.moved": ("info", _moved),
    "run.failing": ("error", _failing),
    "run.cancelling": ("warning", _cancelling),
    "run.completed": ("info", _always("the run is completed")),
    "run.failed": ("error", lambda data: f"the run failed{_why(data)}"),
    "run.cancelled": ("warning", _always("the run is cancelled")),
    "step.started": ("info", _started),
    "step.waiting": ("info", _waiting),
    "step.retrying": (
        "warning",
        lambda data: f"failed and is tried again in {_seconds(data.get('wait_seconds'))}{_why(data)}{_said(data)}",
    ),
    "step.completed": ("info", _completed),
    "step.skipped": ("info", _always("is skipped, for no way led to it")),
    "step.failed": ("error", lambda data: f"failed{_attempt(data)}{_why(data)}{_said(data)}"),
    "step.cancelled": ("warning", _always("is cancelled")),
}
