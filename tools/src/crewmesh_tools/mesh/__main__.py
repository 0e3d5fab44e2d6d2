"""``python -m crewmesh_tools.mesh up|stop|status|logs``"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from crewmesh_tools.mesh import commands
from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.layout import Layout, default_dapr_file


def parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--file", type=Path, default=default_dapr_file(), help="the multi-app file (dapr.yaml)")
    shared.add_argument("--home", type=Path, help="the folder that holds .crewmesh (default: where dapr.yaml is)")
    shared.add_argument("--port-offset", type=int, default=0, metavar="N", help="added to every port of the mesh")
    main = argparse.ArgumentParser(prog="mesh", description="Runs the whole mesh on this machine.")
    verbs = main.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", parents=[shared], help="start the mesh, or say that it runs")
    up.add_argument("--foreground", action="store_true", help="stay attached: show the logs, stop the mesh at Ctrl-C")
    up.add_argument("--replicas", type=int, choices=(1, 2), default=1, help="of each service, with its sidecar")
    verbs.add_parser("stop", parents=[shared], help="stop the mesh and keep its data")
    status = verbs.add_parser("status", parents=[shared], help="show every process")
    status.add_argument("--json", action="store_true", help="for programs")
    logs = verbs.add_parser("logs", parents=[shared], help="show the logs of all processes together")
    logs.add_argument("names", nargs="*", help="only these processes")
    logs.add_argument("-n", "--lines", type=int, default=100, help="how many lines to begin with")
    logs.add_argument("--no-follow", action="store_true", help="end after them")
    return main


def main() -> int:
    options = parser().parse_args()
    console = Console()
    dapr_file = Path(options.file).resolve()
    home = Path(options.home).resolve() if options.home else dapr_file.parent
    layout = Layout(dapr_file, home, options.port_offset, getattr(options, "replicas", 1))
    try:
        return _run(options, layout, console)
    except MeshError as error:
        Console(stderr=True).print(f"mesh: {error}", markup=False, highlight=False, soft_wrap=True)
        return 1


def _run(options: argparse.Namespace, layout: Layout, console: Console) -> int:
    match options.verb:
        case "up":
            return commands.up(layout, console, foreground=options.foreground)
        case "stop":
            return commands.stop(layout, console)
        case "status":
            return commands.status(layout, console, as_json_document=options.json)
        case _:
            following = not options.no_follow
            return commands.logs(layout, console, names=options.names, count=options.lines, following=following)


if __name__ == "__main__":
    sys.exit(main())
