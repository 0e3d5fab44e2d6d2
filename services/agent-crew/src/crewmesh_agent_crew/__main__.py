"""``python -m crewmesh_agent_crew`` runs the service."""

from crewmesh_kit.app import serve

from crewmesh_agent_crew.main import create_app

if __name__ == "__main__":
    serve(create_app)
