"""The way from a public path to the service that owns it, and the answer's way back."""
