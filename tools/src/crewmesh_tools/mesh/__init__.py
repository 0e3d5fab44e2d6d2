"""The local mesh: every process of Crewmesh on one machine, started, watched and stopped together."""
