"""``python -m crewmesh_gateway``"""

from __future__ import annotations

from crewmesh_kit.app import serve

from crewmesh_gateway.main import create_app

if __name__ == "__main__":
    serve(create_app)
