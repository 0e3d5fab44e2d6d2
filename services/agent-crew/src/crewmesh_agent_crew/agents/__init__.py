"""Asking one agent of a crew, without the rest of the crew."""
