"""``python -m crewmesh_integration``: run the service."""

from crewmesh_kit.app import serve

from crewmesh_integration.main import create_app

if __name__ == "__main__":
    serve(create_app)
