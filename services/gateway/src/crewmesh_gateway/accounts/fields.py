"""What people write about themselves: addresses and passwords, checked where they come in."""

from __future__ import annotations

import unicodedata
from typing import Annotated, TypeAlias

import idna
from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from crewmesh_gateway.mail.addresses import LONGEST_ADDRESS, deliverable

# More than any password; what is longer is nobody's and is not worth normalising.
_LONGEST_INPUT = 1024


def _email(address: str) -> str:
    """As it was given, but an international domain in the one form that all its spellings share."""
    deliverable(address)
    local, _, domain = address.rpartition("@")
    if domain.isascii() and "xn--" not in domain.lower():
        return address
    return f"{local}@{idna.decode(idna.encode(domain, uts46=True))}"


def _password(given: SecretStr) -> SecretStr:
    """NFKC, so that it is the same from every keyboard."""
    text = given.get_secret_value()
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must be Unicode text; half of a surrogate pair is none")
    return SecretStr(unicodedata.normalize("NFKC", text))


EmailAddress: TypeAlias = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=3, max_length=LONGEST_ADDRESS), AfterValidator(_email)
]
Password: TypeAlias = Annotated[SecretStr, Field(min_length=1, max_length=_LONGEST_INPUT), AfterValidator(_password)]
# Random texts of ours: longer ones are not.
Token: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=200)]
