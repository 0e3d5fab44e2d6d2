"""A piece of an answer as it travels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from crewmesh_agent_crew.live.streams import Fields

# restart: what was said before is void, the answer begins anew. done: all of it is said.
Kind: TypeAlias = Literal["words", "restart", "done"]

BEGINNING = "0-0"
_ID = re.compile(r"^(\d{1,20})-(\d{1,20})$")


@dataclass(frozen=True, slots=True)
class Word:
    """``id`` is where it stands in its stream. ``at``: how many characters of the answer come before ``text``.

    ``voice``: who says it; after a crash that is somebody else.

    Who gets a word beyond the end of what it has, has missed something; the final text says what.
    """

    id: str
    answer: str
    voice: str
    kind: Kind
    text: str
    at: int

    @property
    def place(self) -> tuple[int, int]:
        return place_of(self.id)

    @classmethod
    def of(cls, id_: str, fields: Fields) -> Word:
        return cls(
            id_,
            fields["answer"],
            fields["voice"],
            cast(Kind, fields["kind"]),
            fields.get("text", ""),
            int(fields["at"]),
        )


def place_of(id_: str) -> tuple[int, int]:
    """Ids in the order of their stream; whatever is no id stands before all of them."""
    found = _ID.match(id_)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def readable(id_: str | None) -> str:
    """An id that Redis takes, whatever a client sent back."""
    milliseconds, number = place_of(id_ or BEGINNING)
    return f"{min(milliseconds, 2**63)}-{min(number, 2**63)}"


class Voices:
    """Who says each answer. Whoever begins it anew has the word from then on, and who had it before has not."""

    def __init__(self) -> None:
        self._heard: dict[str, str] = {}

    def admit(self, word: Word) -> bool:
        before = self._heard.get(word.answer)
        if before is not None and before != word.voice and (word.at != 0 or word.kind == "done"):
            return False
        self._heard[word.answer] = word.voice
        return True
