"""What a new organization finds: the knowledge base ``handbook``, about Crewmesh itself."""
