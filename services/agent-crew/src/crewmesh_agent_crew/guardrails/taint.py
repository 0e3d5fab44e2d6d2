"""What a crew run has seen so far: words of strangers, private data.

The rule of two: untrusted content, private data, and reaching out into the world are at most two together, unless a
person agrees. Agents of a run hear from one another in many ways, so that what one has seen counts for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, weakref_slot=True)
class Taint:
    """Shared by all turns of a run; it only grows."""

    untrusted: bool = False
    private: bool = False

    def add(self, *, untrusted: bool = False, private: bool = False) -> None:
        self.untrusted |= untrusted
        self.private |= private

    @property
    def both(self) -> bool:
        """Reaching out now would be the third."""
        return self.untrusted and self.private
