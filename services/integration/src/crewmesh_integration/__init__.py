"""Everything that leaves the mesh for the world: guarded, signed, once."""
