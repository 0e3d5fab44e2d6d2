"""Webhooks: addresses of their own for workflows, and what is answered there."""
