"""Faults: processes of a whole mesh die, freeze or lose their data in the middle of work, and an oracle judges.

Every trial prints its seed; CREWMESH_FAULT_SEED repeats it. ``python -m tests.faults.matrix`` runs many of them.
"""
