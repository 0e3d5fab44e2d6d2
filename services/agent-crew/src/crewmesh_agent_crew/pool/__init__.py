"""Places for model calls: few enough for every server, and shared fairly."""
