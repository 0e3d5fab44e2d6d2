"""What agents may read, say and do, whatever a model wants."""
