"""CrewAI brought into a state fit for a service, before anything of it is imported.

No telemetry, no traces to its vendor, no storage but a folder that goes with the process. And not its catalogue of
hosted integrations: eight megabytes of Python literals that would take 115 MB of memory for one type alias.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import logging
import os
import shutil
import sys
import tempfile
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from crewmesh_agent_crew.turns.crewai_turn import Play

_CATALOGUE = "crewai_core.platform_apps"
_TURN = "crewmesh_agent_crew.turns.crewai_turn"


def load_crewai() -> Play:
    """Import CrewAI. Takes some five seconds the first time; call it in a thread."""
    _prepare()
    is_new = _TURN not in sys.modules
    module = importlib.import_module(_TURN)
    if is_new:
        # It comes beside the start, and is half of what this process holds. The garbage collector need not walk over
        # it again and again: some 0.2 s each time, in which every answer that is being given pauses.
        gc.collect()
        gc.freeze()
    return cast("Play", module.play)


def _prepare() -> None:
    os.environ.update(
        CREWAI_DISABLE_TELEMETRY="true",
        CREWAI_DISABLE_TRACKING="true",
        CREWAI_TRACING_ENABLED="false",
        ANONYMIZED_TELEMETRY="False",
    )
    # What a turn fails of is told once, by whoever runs it.
    logging.getLogger("crewai").setLevel(logging.CRITICAL)
    logging.getLogger("crewai_core").setLevel(logging.WARNING)
    if "CREWAI_STORAGE_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="crewmesh-crewai-")
        os.environ["CREWAI_STORAGE_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if _CATALOGUE not in sys.modules:
        stand_in = ModuleType(_CATALOGUE)
        vars(stand_in)["PlatformApp"] = str
        sys.modules[_CATALOGUE] = stand_in
