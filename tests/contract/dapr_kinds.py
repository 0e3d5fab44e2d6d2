"""What may be said to Dapr's sidecar injector, read from Dapr itself: misspelt ones are ignored in silence."""

from __future__ import annotations

import re
from functools import cache

from tests.contract.crds import dapr_files


@cache
def known_annotations() -> frozenset[str]:
    text = (dapr_files() / "pkg" / "injector" / "annotations" / "annotations.go").read_text(encoding="utf-8")
    found = frozenset(re.findall(r'"(dapr\.io/[a-z0-9-]+)"', text))
    assert "dapr.io/app-id" in found
    return found
