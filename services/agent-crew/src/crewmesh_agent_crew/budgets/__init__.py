"""Limits on what models may cost, held before the money is spent."""
