"""The closed list of filters: each is pure, bounded, and knows only its value and its arguments."""

from __future__ import annotations

from collections.abc import Mapping

from crewmesh_workflow.expressions.filters import coding, dates, lists, numbers, texts
from crewmesh_workflow.expressions.filters.base import Filter, filters_of

FILTERS: Mapping[str, Filter] = {
    filter_.name: filter_
    for module in (coding, dates, lists, numbers, texts)
    for filter_ in sorted(filters_of(module), key=lambda filter_: filter_.name)
}

__all__ = ["FILTERS", "Filter"]
