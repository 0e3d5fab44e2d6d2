"""What a service logs, as it would write it; the process's logging is put back afterwards."""

from __future__ import annotations

import io
import logging
from collections.abc import Generator
from contextlib import contextmanager

import structlog
from crewmesh_kit import logs
from crewmesh_kit.settings import LogSettings


@contextmanager
def captured_log(app_id: str, settings: LogSettings | None = None) -> Generator[io.StringIO]:
    stream = io.StringIO()
    with logging_as_before():
        logs.configure(app_id, settings or LogSettings(), stream=stream)
        yield stream


@contextmanager
def logging_as_before() -> Generator[None]:
    root = logging.getLogger()
    handlers, level, configuration = root.handlers, root.level, structlog.get_config()
    try:
        yield
    finally:
        root.handlers, root.level = handlers, level
        structlog.configure(**configuration)
        structlog.contextvars.clear_contextvars()
