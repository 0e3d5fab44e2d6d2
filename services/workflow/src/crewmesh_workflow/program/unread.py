"""What could not be read of a definition whose shape is wrong, so that nothing is told that only follows from that."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from crewmesh_contracts.base import JsonObject

# In one of these there may be a node that sets any variable.
_MAY_SET = frozenset({"nodes", "kind", "on_failure", "variables"})
# Below these expressions stand that read outputs of steps.
_MAY_READ = frozenset({"nodes", "output", "settings", "on_failure"})
# What the ports of a node follow from, and its output.
_PORTS = ("kind", "cases", "branches")
_OUTPUT = ("kind", "output", "variables", "body.output")


@dataclass(frozen=True, slots=True)
class Unread:
    """``places``: where something is wrong, or missing under its name; in ``left_out`` nothing was read at all.

    ``document``: what the definition was read from.
    """

    places: Set[str] = frozenset()
    left_out: Set[str] = frozenset()
    document: JsonObject | None = None
    around: Set[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "around", _with_all_around(self.places))

    def at(self, *places: str) -> bool:
        return not self.places.isdisjoint(places)

    def ports(self, node: str) -> bool:
        """Whether the node at this place may have other ports as well."""
        return not self.around.isdisjoint(f"{node}.{name}" for name in _PORTS)

    def output(self, node: str) -> bool:
        return self.at(*(f"{node}.{name}" for name in _OUTPUT))

    def tells(self, place: str) -> bool:
        """Whether something is told of this place already, or of one around it that was left out."""
        return place in self.places or not self.left_out.isdisjoint(_with_all_around({place}))

    @property
    def variables(self) -> bool:
        of_nodes = (place for place in self.places if place.partition(".")[0] in ("nodes", "on_failure"))
        return any(place.rpartition(".")[2] in _MAY_SET for place in of_nodes)

    @property
    def expressions(self) -> bool:
        """Whether outputs may be read where nothing could be."""
        return any(place.partition(".")[0] in _MAY_READ for place in self.places)


def _with_all_around(places: Set[str]) -> frozenset[str]:
    around: set[str] = set()
    for place in places:
        while place and place not in around:
            around.add(place)
            place = place.rpartition(".")[0]
    return frozenset(around)


NOTHING_UNREAD = Unread()
