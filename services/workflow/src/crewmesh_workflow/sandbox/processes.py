"""The service's side of the processes that run code: started with nothing, spoken to through pipes, ended by force."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress

from crewmesh_workflow.sandbox.frames import frame, receive_frame
from crewmesh_workflow.sandbox.sizes import MOST_ANSWER_BYTES


class Confined:
    """A process of ``python -m crewmesh_workflow.sandbox``; the head of a group that ends with it."""

    def __init__(self, process: Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process was started without pipes")
        self._process = process
        self._in = process.stdin
        self._out = process.stdout
        self.asked = 0

    @classmethod
    async def start(cls, folder: str, *arguments: str) -> Confined:
        """``folder`` is its working directory. -I: whatever lies there, or in the environment, is not imported."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            __package__ or "",
            *arguments,
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={},
            cwd=folder,
            start_new_session=True,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ready(self) -> None:
        await receive_frame(self._out, most=MOST_ANSWER_BYTES)

    async def ask(self, message: bytes) -> bytes:
        """Of a worker: the answer to one message. Raises EOFError or OSError when the process is gone."""
        self.asked += 1
        self._write(frame(message))
        await self._in.drain()
        return await receive_frame(self._out, most=MOST_ANSWER_BYTES)

    async def tell(self, text: bytes) -> bytes | None:
        """Of a process for one script: everything it says until its end; None when that is too much.

        Raises OSError when the process is gone before it was told.
        """
        self._write(text)
        self._in.close()
        said = b""
        while more := await self._out.read(65536):
            said += more
            if len(said) > MOST_ANSWER_BYTES:
                return None
        return said

    @property
    def closed(self) -> bool:
        return self._in.is_closing()

    def _write(self, message: bytes) -> None:
        if self.closed:  # uvloop would raise a RuntimeError
            raise BrokenPipeError("the process has ended")
        self._in.write(message)

    async def end(self) -> int:
        """Ends it and what it has started, and tells how it ended."""
        with suppress(ProcessLookupError):  # all of them have ended by themselves
            os.killpg(self._process.pid, signal.SIGKILL)
        return await self._process.wait()

    async def ended(self) -> int:
        """How it ended by itself, once it has closed its output."""
        return await self._process.wait()
