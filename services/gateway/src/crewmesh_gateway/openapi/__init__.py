"""The description of the whole public API, for programs and for people."""
