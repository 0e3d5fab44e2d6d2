"""``python -m crewmesh_workflow``."""

from crewmesh_kit.app import serve

from crewmesh_workflow.main import create_app

serve(create_app)
