"""What a process prints, on its way into its log.

A pipe of our own: with one of asyncio's, a process would count as running for as long as anything it started holds on
to the pipe.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType

from crewmesh_tools.mesh.logfiles import RotatingLog

MOST_LAST_PIECES = 64


class Output:
    def __init__(self, log: RotatingLog) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._exit, self._entrance = os.pipe()
        os.set_blocking(self._exit, False)

    def __enter__(self) -> Output:
        self._loop.add_reader(self._exit, self._pass_on)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """The last words are kept; whoever still holds the pipe speaks to nobody from now on."""
        for _ in range(MOST_LAST_PIECES):
            if not self._pass_on():
                break
        self._loop.remove_reader(self._exit)
        os.close(self._exit)

    @contextmanager
    def entrance(self) -> Generator[int]:
        """The end the child writes to. Ours is closed afterwards, so that the child's end is the end of the pipe."""
        try:
            yield self._entrance
        finally:
            os.close(self._entrance)

    def _pass_on(self) -> bool:
        try:
            piece = os.read(self._exit, 65_536)
        except BlockingIOError:
            return False
        if piece:
            self._log.write(piece)
        else:
            self._loop.remove_reader(self._exit)
        return bool(piece)
