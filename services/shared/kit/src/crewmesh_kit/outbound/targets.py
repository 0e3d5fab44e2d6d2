"""A URL, read strictly and only once.

Parsers that disagree about a URL are how guards are passed by. So the text is taken apart here, anything unusual is an
error, and the client is given a URL built from the checked parts: nobody reads the original text again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import idna
from yarl import URL

from crewmesh_kit.outbound.addresses import Address, address_of

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_FORBIDDEN_CHARACTER = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")
_AUTHORITY = re.compile(r"^(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@%/?#]+))(?P<port>:[0-9]{1,5})?$")
_LABEL = re.compile(r"^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$")
# What inet_aton and browsers would still take for an IPv4 address: 2130706433, 0x7f.1, 0177.0.0.1, 127.1
_NUMBER_LABEL = re.compile(r"^(?:[0-9]+|0x[0-9a-f]*)$")


_OTHER_SCHEME = "it must start with http:// or https://"


class BadUrlError(ValueError):
    """The text is not a URL that a request can be sent to; the message says why, without repeating it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. ``address`` is set when the URL itself names an IP address."""

    scheme: str
    host: str
    port: int
    path: str
    query: str
    address: Address | None

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Host and port as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> URL:
        query = f"?{self.query}" if self.query else ""
        return URL(f"{self.scheme}://{self.authority}{self.path}{query}", encoded=True)


def parse_target(text: str) -> Target:
    """Take a URL apart; raise :class:`BadUrlError` at the first thing that is not plain and clear."""
    if _FORBIDDEN_CHARACTER.search(text):
        raise BadUrlError("it contains blanks, control characters or a backslash; percent-encode them")
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise BadUrlError("it is not a well-formed URL") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise BadUrlError(_OTHER_SCHEME)
    if "@" in parts.netloc:
        raise BadUrlError("it contains credentials; send them in a header instead")
    match = _AUTHORITY.match(parts.netloc)
    if match is None:
        raise BadUrlError("its host or port is missing or malformed")
    host, address = _host(match["v6"], match["name"])
    port = int(match["port"][1:]) if match["port"] else _DEFAULT_PORTS[parts.scheme]
    if not 0 < port < 65536:
        raise BadUrlError("its port must be between 1 and 65535")
    return Target(parts.scheme, host, port, _quoted(parts.path or "/"), _quoted(parts.query), address)


def check_beginning(text: str) -> None:
    """Of a URL whose rest is not known yet; raise :class:`BadUrlError` when nothing can follow that makes it one."""
    beginnings = [f"{scheme}://" for scheme in _DEFAULT_PORTS]
    if not any(text.lower().startswith(each) or each.startswith(text.lower()) for each in beginnings):
        raise BadUrlError(_OTHER_SCHEME)


def _quoted(text: str) -> str:
    """Percent-encode what is not ASCII; the rest is the caller's spelling and stays."""
    return quote(text, safe=_ASCII)


def _host(v6: str | None, name: str | None) -> tuple[str, Address | None]:
    if v6 is not None:
        address = address_of(v6)
        if address is None or address.version != 6:
            raise BadUrlError("the host in brackets is not an IPv6 address")
        return str(address), address
    host = _ascii_name(name or "")
    address = address_of(host)
    if address is not None:
        if host != name:
            raise BadUrlError("its host is an IP address in an unusual spelling")
        return host, address
    labels = host.split(".")
    if _NUMBER_LABEL.match(labels[-1]):
        raise BadUrlError("its host looks like an IP address but is not one in the usual four decimal numbers")
    if len(host) > 253 or not all(_LABEL.match(label) for label in labels):
        raise BadUrlError("its host is not a valid domain name")
    return host, None


def _ascii_name(name: str) -> str:
    """Lower-case, without the dot of the root, international names in their ASCII form."""
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True, std3_rules=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise BadUrlError("its host is not a valid international domain name") from error
    name = name.lower()
    return name[:-1] if name.endswith(".") else name
