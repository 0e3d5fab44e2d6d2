"""kong/kong.yaml, read once, and the parts of it that tests ask for."""

from __future__ import annotations

from typing import TypeVar

import yaml

from tests.contract.kong_format import KongFile, Service
from tests.contract.kong_plugins import Plugin
from tests.rules.repository import ROOT

TEXT = (ROOT / "kong" / "kong.yaml").read_text()
FILE = KongFile.model_validate(yaml.safe_load(TEXT))
P = TypeVar("P")


def the(wanted: type[P], plugins: list[Plugin] = FILE.plugins) -> P:
    """The one plugin of a kind, of the whole edge if not said otherwise."""
    (plugin,) = [each for each in plugins if isinstance(each, wanted)]
    return plugin


def service(name: str) -> Service:
    (found,) = [each for each in FILE.services if each.name == name]
    return found
