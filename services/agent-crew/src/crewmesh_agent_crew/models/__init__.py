"""Asking a language model, whoever serves it."""
