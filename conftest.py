"""The fixtures of the testkit, for every test of the repository."""

pytest_plugins = ["crewmesh_testkit.fixtures"]
