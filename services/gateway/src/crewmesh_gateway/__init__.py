"""The public door of the mesh: who you are, what you may do, and the way to the service that does it."""
