"""Kong's Lua functions, run: a sandbox with Kong's own list of names, and as much of its plugin API as they use.

LuaJIT is the real one. Each text is evaluated once, and what it returns is run for each request, as the plugins
pre-function and post-function do; an answer that is given early ends the phase.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Protocol, cast

from lupa.luajit21 import LuaRuntime
from multidict import CIMultiDict

from tests.contract.kong_plugins import REFERENCE
from tests.edge.exchange import Exchange

# kong/tools/kong-lua-sandbox.lua of 3.9.1, without what nobody here needs (coroutine, most of math and os).
_NAMES = """
_VERSION assert error ipairs next pairs pcall select tonumber tostring type unpack xpcall
math.abs math.ceil math.floor math.huge math.max math.min math.random os.clock os.date os.difftime os.time
string.byte string.char string.find string.format string.gmatch string.gsub string.len string.lower string.match
string.rep string.reverse string.sub string.upper table.concat table.insert table.maxn table.remove table.sort
"""

_SANDBOX = """
function(code, names, kong, ngx)
  local env = { kong = kong, ngx = ngx }
  for name in names:gmatch("%S+") do
    local module, method = name:match("([^%.]+)%.([^%.]+)")
    if module then
      env[module] = env[module] or {}
      env[module][method] = _G[module][method]
    else
      env[name] = _G[name]
    end
  end
  local chunk = assert(loadstring(code))
  setfenv(chunk, env)
  return chunk()
end
"""

# Lua only hands on: what the functions do to an exchange is done in Python, where tests can look at it.
_KONG = """
function(api)
  local kong = {
    request = {
      get_raw_path = function() return api.raw_path() end,
      get_method = function() return api.method() end,
      get_header = function(name) return api.header(name) end,
      get_headers = function(most) return api.headers(most) end,
      get_forwarded_scheme = function() return api.scheme() end,
    },
    service = { request = {
      set_header = function(name, value) api.set_header(name, value) end,
      clear_header = function(name) api.clear_header(name) end,
    } },
    response = {
      exit = function(status, body, headers) api.exit(status, body, headers) end,
      get_status = function() return api.status() end,
      get_source = function() return api.source() end,
      get_header = function(name) return api.answered(name) end,
      set_header = function(name, value) api.set_answered(name, value) end,
      add_header = function(name, value) api.add_answered(name, value) end,
      clear_header = function(name) api.clear_answered(name) end,
      get_raw_body = function() return api.raw_body() end,
      set_raw_body = function(body) api.set_raw_body(body) end,
    },
    vault = { get = function(reference) return api.vault(reference) end },
    ctx = { plugin = setmetatable({}, {
      __index = function(_, key) return api.recall(key) end,
      __newindex = function(_, key, value) api.remember(key, value) end,
    }) },
  }
  return kong, { decode_base64 = function(text) return api.decode_base64(text) end }
end
"""


class LuaTable(Protocol):
    def items(self) -> Sequence[tuple[object, object]]: ...


class LuaFunctions:
    """Compiles texts, and runs them on whichever exchange it is given."""

    def __init__(self) -> None:
        # Bytes pass as they are, whatever a client sends.
        lua = cast("Callable[..., LuaRuntime]", LuaRuntime)(encoding="latin-1")  # its stubs know no option
        self._api = _Api(lua)
        make_kong = cast("Callable[[object], tuple[object, object]]", lua.eval(_KONG))
        self._kong, self._ngx = make_kong(self._api)
        self._sandbox = cast("Callable[..., Callable[[], None]]", lua.eval(_SANDBOX))

    def compile(self, code: str) -> Callable[[Exchange], None]:
        text = code.encode().decode("latin-1")
        function = self._sandbox(text, _NAMES, self._kong, self._ngx)

        def run(exchange: Exchange) -> None:
            self._api.exchange = exchange
            function()

        return run


class _Api:
    """What Lua calls, under its own names."""

    def __init__(self, lua: LuaRuntime) -> None:
        self._lua = lua
        self.exchange = cast("Exchange", None)

    def raw_path(self) -> str:
        return self.exchange.raw_path

    def method(self) -> str:
        return self.exchange.method

    def scheme(self) -> str:
        return self.exchange.scheme

    def header(self, name: str) -> str | None:
        return self.exchange.headers.get(name)

    def headers(self, most: int) -> object:
        """The first ``most`` of them by lower-case name; what was sent twice is a table."""
        sent = CIMultiDict(islice(self.exchange.headers.items(), most))
        every = {name.lower(): sent.getall(name) for name in sent}
        return self._lua.table_from(
            {name: values[0] if len(values) == 1 else self._lua.table_from(values) for name, values in every.items()}
        )

    def set_header(self, name: str, value: str) -> None:
        self.exchange.headers[name] = value

    def clear_header(self, name: str) -> None:
        self.exchange.headers.popall(name, None)

    def exit(self, status: int, body: object, headers: object) -> None:
        self.exchange.exit(status, _plain(body), cast("dict[str, str]", _plain(headers) or {}))

    def status(self) -> int:
        return self.exchange.answer.status

    def source(self) -> str:
        return self.exchange.answer.source

    def answered(self, name: str) -> str | None:
        return self.exchange.answer.headers.get(name)

    def set_answered(self, name: str, value: str) -> None:
        self.exchange.answer.headers[name] = value

    def add_answered(self, name: str, value: str) -> None:
        self.exchange.answer.headers.add(name, value)

    def clear_answered(self, name: str) -> None:
        self.exchange.answer.headers.popall(name, None)

    def raw_body(self) -> str:
        return self.exchange.answer.body.decode("latin-1")

    def set_raw_body(self, body: str) -> None:
        self.exchange.answer.body = body.encode("latin-1")

    def vault(self, reference: str) -> str | None:
        found = REFERENCE.fullmatch(reference)
        assert found, f"{reference} is no reference to the environment"
        return self.exchange.environment.get(found[1].upper().replace("-", "_"))

    def decode_base64(self, text: str) -> str | None:
        try:
            return base64.b64decode(text, validate=True).decode("latin-1")
        except ValueError:
            return None

    def recall(self, key: str) -> object:
        return self.exchange.context.get(key)

    def remember(self, key: str, value: object) -> None:
        self.exchange.context[key] = value


def _plain(value: object) -> object:
    """A table of Lua as a dict; our functions answer flat ones only."""
    if isinstance(value, str):
        return value.encode("latin-1").decode()
    if value is None or isinstance(value, int | float):
        return value
    return {str(key): _plain(inner) for key, inner in cast("LuaTable", value).items()}
