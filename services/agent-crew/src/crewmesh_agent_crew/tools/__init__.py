"""What agents can do beside talking: each use checked, allowed, bounded, and done once."""
