"""How Crewmesh is tested: real processes for the edges we own, faithful fakes for those we do not."""
