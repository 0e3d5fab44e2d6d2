"""How asking a model fails.

::

    Unavailable ── ModelUnavailable 503     GatewayTimeout ── ModelTimeout 504     BadGateway ── ModelRefused 502
"""

from __future__ import annotations

from crewmesh_kit.errors import BadGateway, GatewayTimeout, Unavailable


class ModelUnavailable(Unavailable):
    """The model server is busy, away or failing, and stayed so over several attempts. Try again in a while."""

    slug, title = "model-unavailable", "Model unavailable"


class ModelTimeout(GatewayTimeout):
    """The model did not answer within its time. Try again, ask for fewer tokens, or raise the timeout."""

    slug, title = "model-timeout", "Model timed out"


class ModelRefused(BadGateway):
    """The model server refuses such requests, or answers nonsense: its URL, key or model name is wrong."""

    slug, title = "model-refused", "Model refused"
