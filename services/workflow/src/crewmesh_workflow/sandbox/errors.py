"""What can go wrong with code of users.

::

    Problem
    ├── CodeFailed 422       it raised an error, or its result is no JSON
    ├── CodeTimedOut 422     it took longer than it may
    ├── SandboxMissing 501   what runs this language is not installed
    └── SandboxCrashed 500   the sandbox ended in the middle (retryable)
"""

from __future__ import annotations

from crewmesh_kit.errors import Problem


class CodeFailed(Problem):
    """The code raised an error, needed too much memory, or its result is no JSON. ``line``: where, if that is known."""

    status, slug, title = 422, "code-failed", "Code failed"

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message if line is None else f"Line {line}: {message}", line=line, message=message)


class CodeTimedOut(Problem):
    """The code took longer than the step's timeout_seconds. Let it do less, or give it more time (60 s at most)."""

    status, slug, title = 422, "code-timed-out", "Code timed out"


class SandboxMissing(Problem):
    """What runs this language is not installed beside the workflow service. The answer says how to install it."""

    status, slug, title = 501, "sandbox-missing", "Sandbox missing"


class SandboxCrashed(Problem):
    """The sandbox ended in the middle of the code. It has been replaced; the step is tried again."""

    status, slug, title = 500, "sandbox-crashed", "Sandbox crashed"
    retryable = True
