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
    root = logging.getLogger()
    handlers, level, configuration = root.handlers, root.level, structlog.get_config()
    stream = io.StringIO()
    logs.configure(app_id, settings or LogSettings(), stream=stream)
    try:
        yield stream
    finally:
        root.handlers, root.level = handlers, level
        structlog.configure(**configuration)
        structlog.contextvars.clear_contextvars()
