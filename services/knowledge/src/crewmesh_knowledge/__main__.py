"""``python -m crewmesh_knowledge``."""

from crewmesh_kit.app import serve

from crewmesh_knowledge.main import create_app

serve(create_app)
