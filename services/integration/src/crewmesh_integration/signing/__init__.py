"""Signatures by which receivers know that a request is ours, unchanged and fresh (Standard Webhooks)."""
