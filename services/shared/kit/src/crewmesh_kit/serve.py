"""Running a service as a process: uvicorn on uvloop and httptools."""

from __future__ import annotations

from collections.abc import Callable

import uvicorn
from fastapi import FastAPI


def serve(create_app: Callable[[], FastAPI]) -> None:
    uvicorn.run(create_app(), loop="uvloop", http="httptools", access_log=False)
