"""API keys: how a caller proves who it is."""
