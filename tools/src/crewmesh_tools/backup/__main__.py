"""``python -m crewmesh_tools.backup create|restore|verify`` (docs/operate/backup.md)."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from crewmesh_tools.backup import archive, create
from crewmesh_tools.backup.errors import BackupError
from crewmesh_tools.backup.restore import Restore
from crewmesh_tools.mesh.daprfile import read_dapr_file
from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.layout import Layout, default_dapr_file
from crewmesh_tools.servers.postgres import ServerNotReadyError

PASSPHRASE = "CREWMESH_BACKUP_PASSPHRASE"


def parser() -> argparse.ArgumentParser:
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--file", type=Path, default=default_dapr_file(), help="the multi-app file (dapr.yaml)")
    place.add_argument("--home", type=Path, help="the folder that holds .crewmesh (default: where dapr.yaml is)")
    place.add_argument("--port-offset", type=int, default=0, metavar="N", help="added to every port of the mesh")
    place.add_argument("--passphrase-file", type=Path, help=f"instead of {PASSPHRASE} or a question")
    main = argparse.ArgumentParser(prog="backup", description="Backs a mesh up and puts it back.")
    verbs = main.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("create", parents=[place], help="back up the mesh that runs here")
    make.add_argument("--to", type=Path, help="the folder for the archive (default: backups, beside .crewmesh)")
    make.add_argument("--metrics", type=Path, help="the folder for backup.prom (default: .crewmesh/metrics)")
    back = verbs.add_parser("restore", parents=[place], help="put a backup in the place of a mesh that does not run")
    back.add_argument("archive", type=Path)
    back.add_argument("--replace", action="store_true", help="even where there is data; it is kept under another name")
    look = verbs.add_parser("verify", help="check every sum of an archive")
    look.add_argument("archive", type=Path)
    return main


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.verb == "verify":
            return verify(Path(options.archive))
        dapr_file = Path(options.file).resolve()
        home = Path(options.home).resolve() if options.home else dapr_file.parent
        layout = Layout(dapr_file, home, options.port_offset)
        passphrase = passphrase_of(options.passphrase_file, twice=options.verb == "create")
        if options.verb == "create":
            return back_up(layout, options.to or home / "backups", options.metrics, passphrase)
        apps = [app.app_id for app in read_dapr_file(dapr_file)]
        Restore(layout, apps, os.environ, say).run(Path(options.archive), passphrase, replace=options.replace)
    except (BackupError, MeshError, ServerNotReadyError) as error:
        print(f"backup: {error}", file=sys.stderr)
        return 1
    return 0


def back_up(layout: Layout, folder: Path, metrics: Path | None, passphrase: str) -> int:
    began = time.monotonic()
    path = create.create(create.source_of(layout, os.environ), folder, passphrase, say=say)
    create.write_metrics(metrics or layout.state / "metrics", path, time.monotonic() - began)
    return 0


def verify(path: Path) -> int:
    with archive.reading(path) as backup:
        manifest = backup.manifest
    size = sum(entry.bytes for entry in manifest.members.values())
    say(f"{path} is whole: {len(manifest.members)} parts, {size / 1e6:.1f} MB, of Crewmesh {manifest.about.crewmesh}")
    say(f"as of {manifest.about.taken_at.isoformat(timespec='seconds')}. Its secrets need the passphrase.")
    return 0


def passphrase_of(file: Path | None, *, twice: bool) -> str:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise BackupError(f"The passphrase cannot be read from {file}: {error.strerror}.") from error
    if given := os.environ.get(PASSPHRASE):
        return given
    if not sys.stdin.isatty():
        raise BackupError(f"The secrets need a passphrase: set {PASSPHRASE}, or name a file by --passphrase-file.")
    typed = getpass.getpass("Passphrase of the secrets: ")
    if twice and getpass.getpass("Once more: ") != typed:
        raise BackupError("The two are not the same.")
    return typed


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
