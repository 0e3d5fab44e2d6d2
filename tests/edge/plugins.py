"""What the plugins of kong.yaml do to an exchange, phase by phase, in Kong's order.

The figures and spans of prometheus and opentelemetry leave no trace in an exchange, so nothing stands for them here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from uuid import uuid4

from tests.contract.kong_format import KongFile, Route, Service
from tests.contract.kong_plugins import (
    PRIORITIES,
    CorrelationId,
    IpRestriction,
    Plugin,
    PostFunction,
    PreFunction,
    RateLimiting,
    RequestTermination,
    ResponseTransformer,
)
from tests.edge.exchange import Exchange
from tests.edge.pdk import LuaFunctions

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "month": 2_592_000, "year": 31_536_000}


class Plugins:
    """All plugins of the file; counters and compiled functions live as long as this."""

    def __init__(self, file: KongFile) -> None:
        self._file = file
        self.now: Callable[[], float] = time.time
        self._lua = LuaFunctions()
        self._functions: dict[str, Callable[[Exchange], None]] = {}
        self.counts: Counter[tuple[str, str, str, int]] = Counter()

    def access(self, exchange: Exchange, service: Service | None, route: Route) -> None:
        """Ends with ``Exited`` when the edge answers itself."""
        for plugin in self._in_order(service, route):
            match plugin:
                case PreFunction() | PostFunction():
                    self._run(plugin.config.access, exchange)
                case CorrelationId():
                    if not exchange.headers.get(plugin.config.header_name):
                        exchange.headers[plugin.config.header_name] = str(uuid4())
                    exchange.context["correlation"] = exchange.headers[plugin.config.header_name]
                case IpRestriction():
                    _restrict(plugin, exchange)
                case RateLimiting():
                    self._count(plugin, service.name if service else route.name, exchange)
                case RequestTermination():
                    kind = {"Content-Type": plugin.config.content_type} if plugin.config.content_type else {}
                    exchange.exit(plugin.config.status_code, plugin.config.body, kind)
                case _:
                    pass

    def header_filter(self, exchange: Exchange, service: Service | None, route: Route) -> None:
        for plugin in self._in_order(service, route):
            match plugin:
                case PreFunction() | PostFunction():
                    self._run(plugin.config.header_filter, exchange)
                case CorrelationId() if plugin.config.echo_downstream:
                    # What was refused before this plugin's turn gets an id as well.
                    known = exchange.context.get("correlation") or exchange.headers.get(plugin.config.header_name)
                    exchange.answer.headers[plugin.config.header_name] = str(known or uuid4())
                case ResponseTransformer():
                    _transform(plugin, exchange)
                case _:
                    pass

    def body_filter(self, exchange: Exchange, service: Service | None, route: Route) -> None:
        for plugin in self._in_order(service, route):
            if isinstance(plugin, PreFunction | PostFunction):
                self._run(plugin.config.body_filter, exchange)

    def _in_order(self, service: Service | None, route: Route) -> list[Plugin]:
        """Of each kind only the one that stands nearest to the route."""
        chosen: dict[str, Plugin] = {}
        for plugins in (self._file.plugins, service.plugins if service else [], route.plugins):
            chosen |= {plugin.name: plugin for plugin in plugins if plugin.enabled}
        return sorted(chosen.values(), key=lambda plugin: -PRIORITIES[plugin.name])

    def _run(self, codes: list[str], exchange: Exchange) -> None:
        for code in codes:
            if code not in self._functions:
                self._functions[code] = self._lua.compile(code)
            self._functions[code](exchange)

    def _count(self, plugin: RateLimiting, place: str, exchange: Exchange) -> None:
        """As the policy redis: what is asked is counted at once, refused or not."""
        now, headers = self.now(), exchange.answer.headers
        left: dict[str, float] = {}
        for period, limit in plugin.config.limits.items():
            key = place, exchange.address, period, int(now // _SECONDS[period])
            left[period] = limit - self.counts[key]
            self.counts[key] += 1
            headers[f"X-RateLimit-Limit-{period.title()}"] = f"{limit:g}"
            headers[f"X-RateLimit-Remaining-{period.title()}"] = f"{max(0, left[period] - 1):g}"
        period = min(left, key=lambda each: left[each])
        reset = max(1, int(_SECONDS[period] - now % _SECONDS[period]))
        headers["RateLimit-Limit"] = f"{plugin.config.limits[period]:g}"
        headers["RateLimit-Remaining"] = f"{max(0, left[period] - 1):g}"
        headers["RateLimit-Reset"] = str(reset)
        if left[period] <= 0:
            headers["Retry-After"] = str(reset)
            exchange.error(int(plugin.config.error_code), plugin.config.error_message)


def _restrict(plugin: IpRestriction, exchange: Exchange) -> None:
    address, config = ip_address(exchange.address), plugin.config
    denied = any(address in ip_network(each) for each in config.deny or [])
    allowed = not config.allow or any(address in ip_network(each) for each in config.allow)
    if denied or not allowed:
        exchange.error(int(config.status or 403), config.message or "IP address not allowed")


def _transform(plugin: ResponseTransformer, exchange: Exchange) -> None:
    headers, config = exchange.answer.headers, plugin.config
    for name in config.remove.headers:
        headers.popall(name, None)
    for pair in config.replace.headers:
        name, _, value = pair.partition(":")
        if name in headers:
            headers[name] = value
    for pair in config.add.headers:
        name, _, value = pair.partition(":")
        headers.setdefault(name, value)
    for pair in config.append.headers:
        name, _, value = pair.partition(":")
        headers.add(name, value)
