"""What Crewmesh is made of besides its own code: listed, checked for known weaknesses, and allowed by its licence."""
