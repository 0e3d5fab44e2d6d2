"""The first start of an installation: somebody exists and has a key."""
