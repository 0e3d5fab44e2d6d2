"""Roles that are shipped: who an agent can be by naming a preset, each a file in the folder ``roles``."""
