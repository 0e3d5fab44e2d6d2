"""What agents can be granted, one module per kind."""
