"""Kinds found by looking: every module of a package that defines a class with a ``kind`` of its own adds one.

A kind is one file. Nothing lists the kinds, so adding one touches nothing else; the union that pydantic validates is
built from what was found when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

KindT = TypeVar("KindT", bound=BaseModel)


class Kinds(Generic[KindT]):
    """The concrete classes below ``base()`` in the modules of ``package``, by the value of their field ``kind``."""

    def __init__(self, package: str, base: Callable[[], type[KindT]]) -> None:
        self._package = package
        self._base = base
        self._found: dict[str, type[KindT]] | None = None

    def all(self) -> Mapping[str, type[KindT]]:
        if self._found is None:
            package = import_module(self._package)
            for module in iter_modules(package.__path__):
                import_module(f"{self._package}.{module.name}")
            self._found = {_kind(class_): class_ for class_ in sorted(_concrete(self._base()), key=_kind)}
        return self._found

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {kind: handler.generate_schema(class_) for kind, class_ in self.all().items()}
        return core_schema.tagged_union_schema(choices, discriminator="kind")


def _concrete(base: type[KindT]) -> Iterator[type[KindT]]:
    for class_ in base.__subclasses__():
        yield from _concrete(class_)
        if "kind" in class_.__annotations__:
            yield class_


def _kind(class_: type[BaseModel]) -> str:
    annotation = class_.model_fields["kind"].annotation
    if get_origin(annotation) is not Literal:
        raise TypeError(f"{class_.__name__}.kind must be a Literal")
    return str(get_args(annotation)[0])
