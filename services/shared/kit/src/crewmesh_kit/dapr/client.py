"""The SDK's client for topics, state, secrets and bindings, made from our settings, with its errors translated."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from dapr.aio.clients.grpc.client import DaprGrpcClientAsync
from dapr.clients.exceptions import DaprGrpcError, DaprInternalError
from dapr.conf import settings as sdk_settings
from grpc import RpcError, StatusCode
from grpc.aio import AioRpcError

from crewmesh_kit.errors import BadGateway, GatewayTimeout, NotFound, PayloadTooLarge, Problem, Unavailable
from crewmesh_kit.settings import DaprSettings

# The sidecar has a limit of its own. With gRPC's, which is lower, what was stored could not be read back.
_ANY_LENGTH = -1
_AWAY = (StatusCode.UNAVAILABLE, StatusCode.ABORTED, StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.CANCELLED)
# Components tell a missing secret or file as an internal error, in words.
_MISSING = ("not found", "NoSuchKey")


def sdk_client(dapr: DaprSettings) -> DaprGrpcClientAsync:
    """A client for this sidecar, which must be healthy: the SDK's constructor waits for that, blocking."""
    tell_sdk(dapr)
    return DaprGrpcClientAsync(f"127.0.0.1:{dapr.grpc_port}", max_grpc_message_length=_ANY_LENGTH)


def tell_sdk(dapr: DaprSettings) -> None:
    """The SDK has one process-wide configuration; ours may come from files that the SDK does not know of."""
    vars(sdk_settings).update(
        DAPR_HTTP_PORT=dapr.http_port,
        DAPR_GRPC_PORT=dapr.grpc_port,
        DAPR_API_TOKEN=dapr.api_token.get_secret_value() or None,
    )


@contextmanager
def translated(doing: str) -> Generator[None]:
    """The SDK's errors as problems; ``doing`` completes "The sidecar could not …"."""
    try:
        yield
    except (RpcError, DaprInternalError) as error:
        raise _problem(doing, error) from error


def _problem(doing: str, error: Exception) -> Problem:
    code = error.code() if isinstance(error, (AioRpcError, DaprGrpcError)) else None
    said = f"The sidecar could not {doing}: {_details(error)}"
    if code is StatusCode.DEADLINE_EXCEEDED:
        return GatewayTimeout(said)
    if code is StatusCode.RESOURCE_EXHAUSTED:
        return PayloadTooLarge(said)
    if any(sign in said for sign in _MISSING):
        return NotFound(said)
    if code is None or code in _AWAY:
        return Unavailable(said)
    return BadGateway(said)


def _details(error: Exception) -> str:
    details = error.details() if isinstance(error, (AioRpcError, DaprGrpcError)) else None
    return str(details or error).strip()
