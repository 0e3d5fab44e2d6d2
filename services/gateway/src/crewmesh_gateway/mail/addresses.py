"""Which texts are mail addresses, and how an address with an international domain is written on the wire.

Deliberately less than the standards allow: no quoted local parts, no comments, no domain literals. What nobody uses
but attackers is refused before it reaches a header or an SMTP command.
"""

from __future__ import annotations

import re

import idna

LONGEST_ADDRESS = 254
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
_LONGEST_LOCAL = 64
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)


def deliverable(address: str) -> str:
    """The address in ASCII, its domain as DNS knows it; ValueError says what is wrong with it."""
    local, at, domain = address.rpartition("@")
    if not at or len(address) > LONGEST_ADDRESS:
        raise ValueError(f"a mail address is name@domain and has at most {LONGEST_ADDRESS} characters")
    if len(local) > _LONGEST_LOCAL or not _LOCAL.fullmatch(local):
        raise ValueError("before the @ there may be letters A-Z, digits, dots and !#$%&'*+-/=?^_`{|}~")
    return f"{local}@{_ascii(domain)}"


def _ascii(domain: str) -> str:
    try:
        encoded = domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError("after the @ there must be the name of a domain") from error
    labels = encoded.split(".")
    if len(encoded) > 253 or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise ValueError("after the @ there must be the name of a domain")
    return encoded
