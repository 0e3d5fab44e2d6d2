"""Roles: sets of permissions, four that every organization has and those that it makes itself."""
