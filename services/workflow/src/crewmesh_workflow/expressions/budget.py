"""What one rendering may still do. Many small expressions can each name one large value."""

from __future__ import annotations

from crewmesh_workflow.expressions.errors import ExpressionError

MAX_RENDERED_BYTES = 4 * 1024 * 1024
MAX_WORK_BYTES = 16 * 1024 * 1024


class Budget:
    """``produce`` counts what is rendered, ``work`` what filters go over on the way."""

    __slots__ = ("_left", "_work")

    def __init__(self) -> None:
        self._left = MAX_RENDERED_BYTES
        self._work = MAX_WORK_BYTES

    def produce(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            limit = MAX_RENDERED_BYTES // 1024 // 1024
            raise ExpressionError(f"the rendered value is larger than {limit} MiB; name a smaller part of the data")

    def work(self, size: int) -> None:
        self._work -= size
        if self._work < 0:
            limit = MAX_WORK_BYTES // 1024 // 1024
            raise ExpressionError(f"the filters go over more than {limit} MiB of data; name a smaller part of it")
