"""Keys and passwords in text, which nobody is told: ours, those of large providers, and what names itself one."""

from __future__ import annotations

import re

from crewmesh_kit.audit import without_secrets
from crewmesh_kit.speakable import MASK

# Each begins with what its issuer gives it, so that nothing else is taken for one.
_ISSUED = re.compile(
    r"\b(?:sk-(?:ant-|proj-|or-v1-)?[A-Za-z0-9_-]{16,200}|gsk_[A-Za-z0-9]{20,100}|AIza[A-Za-z0-9_-]{30,60}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{30,255}"
    r"|glpat-[A-Za-z0-9_-]{20,100}|xox[abeprs]-[A-Za-z0-9-]{10,250}|whsec_[A-Za-z0-9+/=]{16,200}"
    r"|(?:r|s)k_(?:live|test)_[A-Za-z0-9]{16,200}|npm_[A-Za-z0-9]{30,80}|hf_[A-Za-z0-9]{30,80})"
)
_NAMED = re.compile(
    r"(?i)\b((?:api[_ -]?key|secret(?:[_ -]?key)?|password|passwd|access[_ -]?token|client[_ -]?secret)"
    r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?)([^\s\"',;]{8,200})"
)


def without_keys(text: str) -> str:
    return _NAMED.sub(lambda found: found[1] + MASK, _ISSUED.sub(MASK, without_secrets(text)))
