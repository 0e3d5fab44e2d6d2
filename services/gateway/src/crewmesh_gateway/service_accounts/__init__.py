"""Service accounts: somebody who is nobody in particular and acts by API keys alone."""
