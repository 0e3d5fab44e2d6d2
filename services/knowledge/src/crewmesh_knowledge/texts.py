"""Texts that people send: kept verbatim, but storable, and not blank where a blank one would mean nothing."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must not contain half of a surrogate pair") from error
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must contain more than white space")
    return text


StorableText: TypeAlias = Annotated[str, AfterValidator(_storable)]
FilledText: TypeAlias = Annotated[str, Field(min_length=1), AfterValidator(_storable), AfterValidator(_not_blank)]
