"""How much may go in and out. A module of its own, for the worker loads no more than it needs."""

from __future__ import annotations

# The result as JSON. More belongs into the data of the workflow, not into a variable of a script.
MOST_RESULT_BYTES = 1024 * 1024
# What was printed, in characters; the rest is dropped.
MOST_PRINTED = 64 * 1024
# A printed character may take six bytes in JSON.
MOST_ANSWER_BYTES = MOST_RESULT_BYTES + 6 * MOST_PRINTED + 16 * 1024
MOST_DEPTH = 100
LONGEST_MESSAGE = 1_000
