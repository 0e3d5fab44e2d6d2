"""Launchers of the real servers that the local mesh and the tests run: how to prepare, start and reach each."""
