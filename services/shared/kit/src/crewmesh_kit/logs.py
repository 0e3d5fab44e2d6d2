"""Logs as JSON lines with trace, run and organization; what libraries log takes the same way.

``bind(run=…)`` adds fields to every later line of the same request or task. Values under names that sound secret are
replaced, so that a careless line gives nothing away.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, cast

import structlog
from opentelemetry import trace
from structlog.types import EventDict, Processor, WrappedLogger

from crewmesh_kit.settings import LogSettings

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

_SECRET_NAMES = ("authorization", "token", "password", "secret", "api_key", "apikey", "cookie")
# Chatty at "info", and told better by our own metrics and traces.
_QUIET_LIBRARIES = (
    "aiohttp.access",
    "durabletask-client",
    "durabletask-worker",
    "httpx2",
    "opentelemetry",
    "psycopg.pool",
    "urllib3",
    "uvicorn.error",
)


# Plain tracebacks: the pretty ones show local variables, and with them whatever secret is among them.
_TEXT = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)

# What holds until configure() is called: in tests and tools.
structlog.configure(processors=[structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level, _TEXT])


def configure(app_id: str, settings: LogSettings, *, stream: TextIO | None = None) -> None:
    """Send everything, ours and the standard library's, through one pipeline to ``stream`` (standard output)."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _AppName(app_id),
        add_trace,
        redact,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(settings)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level.upper())
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _rendering(settings: LogSettings) -> list[Processor]:
    if settings.format == "text":
        return [_TEXT]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str, ensure_ascii=False)]


def get_logger(name: str) -> BoundLogger:
    return structlog.stdlib.get_logger(name)


def bind(**fields: str | int | float | bool | None) -> None:
    """Add ``fields`` to every later log line of this request or task."""
    structlog.contextvars.bind_contextvars(**fields)


@contextmanager
def bound(**fields: str | int | float | bool | None) -> Generator[None]:
    """Add ``fields`` to the log lines written inside the block."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


class _AppName:
    def __init__(self, app_id: str) -> None:
        self._app_id = app_id

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["app"] = self._app_id
        return event


def add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    current = trace.get_current_span().get_span_context()
    if current.is_valid:
        event["trace_id"] = f"{current.trace_id:032x}"
        event["span_id"] = f"{current.span_id:016x}"
    return event


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name in cast("MutableMapping[str, object]", event):
        if any(secret in name.lower() for secret in _SECRET_NAMES):
            event[name] = "[redacted]"
    return event
