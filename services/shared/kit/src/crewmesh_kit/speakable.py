"""Paths and queries as logs, traces and the audit log may keep them.

Some hold secrets: the address of a webhook, a link in a mail. Whoever could read them where we write could use them.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote_plus

MASK = "•••"
_LONGEST = 500
_ID = re.compile(r"[a-z]{2,6}_[0-9a-f]{32}")
# What stands in a path and is neither an id nor reads like a name may be a secret, such as that of an invitation.
_READS_LIKE_A_NAME = re.compile(r"(?!.*[0-9a-z]{25})[a-z0-9._-]{1,64}")
_SHORT = 20


def speakable(path: str) -> str:
    """The path without what may be a secret in it, and without what cannot be kept."""
    segments = path.replace("\0", "").encode(errors="replace").decode().split("/")
    return "/".join(segment if _may_be_told(segment) else MASK for segment in segments)[:_LONGEST]


def speakable_query(query: str) -> str:
    """The same for what stands behind the question mark."""
    told = [
        f"{quote_plus(name)}={quote_plus(value) if _may_be_told(value) else MASK}"
        for name, value in parse_qsl(query, keep_blank_values=True)
    ]
    return "&".join(told)[:_LONGEST]


def _may_be_told(segment: str) -> bool:
    return len(segment) < _SHORT or bool(_ID.fullmatch(segment) or _READS_LIKE_A_NAME.fullmatch(segment))
