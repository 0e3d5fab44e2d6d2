"""The process that runs code of users: ``python`` answers requests one by one, ``javascript`` becomes deno for one."""

from __future__ import annotations

import os
import sys

from crewmesh_workflow.sandbox.limits import confine

# For the worker, and for the interpreter it starts for each request.
_PYTHON_MEMORY_MIB = 512
_PYTHON_CPU_SECONDS = 120
# What deno needs before the first line of code.
_DENO_MEMORY_MIB = 96


def main(language: str, *arguments: str) -> None:
    if language == "python":
        confine(memory_mib=_PYTHON_MEMORY_MIB, cpu_seconds=_PYTHON_CPU_SECONDS)
        from crewmesh_workflow.sandbox.python import serve  # the interpreter is loaded under the limits

        serve(sys.stdin.buffer, sys.stdout.buffer)
    else:
        deno, memory_mib, cpu_seconds = arguments
        confine(memory_mib=_DENO_MEMORY_MIB + int(memory_mib), cpu_seconds=int(cpu_seconds))
        # Its cache would be in the home of the service's user.
        os.execve(deno, deno_command(deno, int(memory_mib)), {"DENO_DIR": os.getcwd()})


def deno_command(deno: str, memory_mib: int) -> list[str]:
    """Without any permission. Modules could be loaded without one, from some hosts or from the cache: neither here.

    Without its compilers the engine needs no memory that is both writable and executable, and offers less to attack.
    """
    closed = ["--no-prompt", "--no-remote", "--no-npm", "--no-config", "--no-lock", "--cached-only"]
    return [deno, "run", "--quiet", "--ext=js", *closed, f"--v8-flags=--jitless,--max-old-space-size={memory_mib}", "-"]


if __name__ == "__main__":
    main(*sys.argv[1:])
