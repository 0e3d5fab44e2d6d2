"""A program of its own: a JSON Schema and a value come in, what is wrong with them goes out.

A few lines of schema can describe work without end, and the library that does it fast holds the interpreter meanwhile.
Here the kernel ends it, and nobody else has to wait. Imports as little as possible, because it is started often.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any, NoReturn

import jsonschema_rs

CPU_SECONDS = 2
_MEMORY_BYTES = 1024 * 1024 * 1024
_LONGEST_REASON = 500


def verdict(question: dict[str, Any]) -> dict[str, str | None]:
    """``{"schema": …}``: is it one? With ``"value"``: does that follow it? The reason, or null where all is well."""
    try:
        # Patterns run on an engine that is linear in the text.
        validator = jsonschema_rs.validator_for(
            question["schema"], pattern_options=jsonschema_rs.RegexOptions(), retriever=_nothing_else
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        return {"schema_": str(error).split("\n", 1)[0][:_LONGEST_REASON], "value": None}
    try:
        if "value" in question:
            validator.validate(question["value"])
    except jsonschema_rs.ValidationError as error:
        place = "".join(f"[{json.dumps(part)}]" for part in error.instance_path)
        return {"schema_": None, "value": f"{place or 'the whole'}: {error.message}"[:_LONGEST_REASON]}
    return {"schema_": None, "value": None}


def _nothing_else(uri: str) -> NoReturn:
    raise ValueError(f"it refers to {uri[:200]}, and may refer to nothing outside of itself")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    json.dump(verdict(json.load(sys.stdin)), sys.stdout)
