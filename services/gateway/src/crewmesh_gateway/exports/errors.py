"""What may be in the way of an export."""

from __future__ import annotations

from crewmesh_kit.errors import Conflict, NotFound


class ExportUnknown(NotFound):
    """There is no such export in this organization."""

    def __init__(self) -> None:
        super().__init__("There is no such export; GET /v1/exports lists those there are.")


class ExportRunning(Conflict):
    """One export at a time: another one of this organization is not finished. The answer names it."""

    slug, title = "export-running", "Export running"

    def __init__(self, export: str) -> None:
        super().__init__(f"The export {export} is still running; wait for it, or delete it.", export=export)


class ExportNotReady(Conflict):
    """The file of an export is there when its status is done, until it expires."""

    slug, title = "export-not-ready", "Export not ready"

    def __init__(self, status: str) -> None:
        super().__init__(f"This export is {status}. Its file can be had when it is done, until it expires.")
