"""An invocation as a value: caller and callee share it, so that path and shapes cannot drift apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from crewmesh_contracts.base import Contract, Reply

RequestT = TypeVar("RequestT", bound=Contract)
ResultT = TypeVar("ResultT", bound=Reply)


@dataclass(frozen=True, kw_only=True)
class Invocation(Generic[RequestT, ResultT]):
    """``POST path`` on the service ``app``. Callers name an idempotency key when ``effect`` is true."""

    app: str
    path: str
    permission: str
    request: type[RequestT]
    result: type[ResultT]
    callers: tuple[str, ...]
    effect: bool
