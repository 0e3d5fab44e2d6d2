"""Logins: the tokens that prove them, how they go on, and how they end."""
