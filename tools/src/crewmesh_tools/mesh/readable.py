"""JSON log lines as a person reads them: time, level, what happened, then the rest as ``name=value``."""

from __future__ import annotations

import json
from typing import cast

_TIME = ("timestamp", "time", "ts")
_MESSAGE = ("event", "msg", "message")
# The same on every line of a Dapr program, and so of no use to a reader.
_NOISE = frozenset({"instance", "ver", "type", "app_id", "stacktrace"})


def readable(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    if not text.startswith("{"):
        return text
    try:
        fields = cast("dict[str, object]", json.loads(text))
    except ValueError:
        return text
    moment = str(_take(fields, _TIME))[11:23]
    level = str(fields.pop("level", ""))
    message = str(_take(fields, _MESSAGE))
    rest = (f"{name}={_value(value)}" for name, value in fields.items() if name not in _NOISE)
    return " ".join(part for part in (moment, f"{level:7}" if level else "", message, *rest) if part)


def _take(fields: dict[str, object], names: tuple[str, ...]) -> object:
    return next((fields.pop(name) for name in names if name in fields), "")


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
