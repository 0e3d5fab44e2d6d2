"""Names of headers that more than one service must spell in the same way."""

from __future__ import annotations

# Basic authentication of callers of public paths. Sidecars read the user name of Authorization as the callee, so the
# edge moves it here.
BASIC_AUTHORIZATION = "crewmesh-authorization"
