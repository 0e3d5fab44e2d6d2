"""Whether a text gives orders to its reader: words, roles, calls of tools, and the same in disguise.

No list of patterns finds every attack, and none has to: what an agent may do is decided by grants, the rule of two and
people. This is for the reader of the record, and for agents that would rather not see such text at all. Every pattern
is linear in the text.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from crewmesh_agent_crew.guardrails.texts import folded, hidden_share

_SUSPICIOUS = 3
# So much of a text is read; more of it is shown to no model.
LONGEST_READ = 100_000
_HIDDEN_SHARE = 0.02
_DEEPEST_DISGUISE = 3
_MOST_BLOBS = 20

_ORDERS: tuple[tuple[str, int, str], ...] = (
    (
        "orders to forget orders",
        3,
        r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:previous|prior|above|earlier|all|your|any|these)\b"
        r".{0,40}\b(?:instructions?|prompts?|rules?|orders?|guidelines?|context|guardrails?|polic(?:y|ies)|messages?)",
    ),
    (
        "orders to forget orders",
        3,
        r"\b(?:vergiss|ignoriere|missachte)\b.{0,60}\b(?:anweisung|regeln|befehle|vorgaben)"
        r"|\b(?:ignorez?|oubliez?)\b.{0,60}\b(?:instructions?|regles|consignes)"
        r"|\b(?:ignora|olvida)\b.{0,60}\b(?:instrucciones|reglas|ordenes|istruzioni|regole)",
    ),
    (
        "a new role",
        2,
        r"\b(?:you are now|from now on you|act as|pretend to be|new (?:system )?(?:instructions?|prompt))\b",
    ),
    (
        "speaks to the assistant",
        2,
        r"\b(?:attention|note|message|instructions?|important) (?:to|for) (?:the |all |any )?"
        r"(?:ai|assistants?|agents?|llms?|language models?|chatbots?|bots?)\b",
    ),
    ("speaks to the assistant", 2, r"\b(?:dear|hey|hello|hi) (?:ai|assistant|agent|llm|chatbot|gpt|claude|gemini)\b"),
    (
        "a false permission",
        2,
        r"\b(?:user|person|admin(?:istrator)?|owner|operator|human|supervisor|system|security team)\b.{0,30}"
        r"\b(?:has|have|already|hereby)\b.{0,20}\b(?:approved|authori[sz]ed|consented|allowed|confirmed|agreed)\b",
    ),
    (
        "a false permission",
        2,
        r"\b(?:no|without) (?:further )?(?:approval|confirmation|permission)\b.{0,30}\b(?:needed|required|asking)",
    ),
    (
        "orders a tool",
        2,
        r"\b(?:call|use|invoke|run|execute|trigger)\b.{0,20}\b(?:the )?(?:tool|function|http|action|plugin|command)\b",
    ),
    (
        "orders data out",
        3,
        r"\b(?:send|post|forward|upload|exfiltrate|transmit|leak|e-?mail|submit|report|append|encode)\b.{0,80}"
        r"(?:https?://|\bto (?:this|the following) (?:url|address|endpoint|server)|@[a-z0-9-]+\.[a-z])",
    ),
    (
        "orders secrets out",
        3,
        r"\b(?:reveal|print|show|repeat|output|disclose|send|include|give)\b.{0,40}\b(?:system prompt|api keys?"
        r"|passwords?|secrets?|credentials?|tokens?|private data|confidential|your instructions)\b",
    ),
    (
        "secrecy",
        2,
        r"\b(?:do not|don't|never|without) (?:tell(?:ing)?|mention(?:ing)?|inform(?:ing)?|reveal(?:ing)?)\b"
        r".{0,30}\b(?:user|anyone|human|person|this)\b",
    ),
    (
        "orders to remember",
        2,
        r"\b(?:remember|memori[sz]e|store|save)\b.{0,40}"
        r"\b(?:forever|always|permanently|in (?:your )?memory|for (?:all )?future)\b",
    ),
)
_SHAPES: tuple[tuple[str, int, str], ...] = (
    (
        "role markers",
        3,
        r"<\|(?:im_start|im_end|system|user|assistant|endoftext|begin_of_text|start_header_id)\|?>?|\[/?INST\]|<</?SYS>>|</?(?:system|assistant)>",
    ),
    ("role markers", 2, r"(?m)^\s{0,8}(?:#{1,4} ?)?(?:system|assistant|developer) ?(?:prompt|message)? ?:"),
    (
        "a call of a tool",
        3,
        r"(?i)<(?:tool_call|function_calls?|invoke|tool_use)\b|\"(?:tool_calls|function_call)\"\s{0,8}:",
    ),
    ("a call of a tool", 3, r"\bCALL\s{1,8}[\w-]{1,64}\s{0,8}\{"),
    (
        "hidden markup",
        2,
        r"(?i)<!--[^>]{0,80}(?:ignore|assistant|instruction|system|call|send)|(?:display\s{0,4}:\s{0,4}none|font-size\s{0,4}:\s{0,4}0|visibility\s{0,4}:\s{0,4}hidden)",
    ),
    ("an image that tells", 2, r"!\[[^\]]{0,200}\]\(\s{0,8}https?://[^)\s]{1,500}[?&][^)\s]{1,500}\)"),
)
_COMPILED_ORDERS = tuple((name, score, re.compile(pattern)) for name, score, pattern in _ORDERS)
_COMPILED_SHAPES = tuple((name, score, re.compile(pattern)) for name, score, pattern in _SHAPES)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){16,}")
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2}|[A-Za-z0-9._~-]){12,}")
_SPACED = re.compile(r"(?:\b\w[ .\-_]){8,}\w\b")
_ROT13 = str.maketrans(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "NOPQRSTUVWXYZABCDEFGHIJKLMnopqrstuvwxyzabcdefghijklm"
)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """``found``: what it is suspected for, each once."""

    score: int
    found: tuple[str, ...]

    @property
    def suspicious(self) -> bool:
        return self.score >= _SUSPICIOUS


def suspicion(text: str) -> Suspicion:
    found: dict[str, int] = {}
    if hidden_share(text) > _HIDDEN_SHARE:
        found["hidden characters"] = 2
    for name, score in _findings(text[:LONGEST_READ], set(), depth=0):
        found[name] = max(score, found.get(name, 0))
    return Suspicion(sum(found.values()), tuple(sorted(found)))


def _findings(text: str, read: set[str], *, depth: int) -> Iterator[tuple[str, int]]:
    """``read``: what was looked at before; turned twice, a text is itself again."""
    read.add(text)
    plain = folded(text)
    for name, score, pattern in _COMPILED_ORDERS:
        if pattern.search(plain):
            yield name, score
    for name, score, pattern in _COMPILED_SHAPES:
        if pattern.search(text):
            yield name, score
    if depth < _DEEPEST_DISGUISE:
        for revealed in _revealed(text):
            below = [] if revealed in read else list(_findings(revealed, read, depth=depth + 1))
            if below:
                yield "orders in disguise", 3
                yield from below


def _revealed(text: str) -> Iterator[str]:
    """What the text holds in other writing."""
    for number, blob in enumerate(_BASE64.findall(text)):
        if number >= _MOST_BLOBS:
            break
        yield from _of_base64(blob)
    for blob in _HEX.findall(text)[:_MOST_BLOBS]:
        yield from _of_bytes(bytes.fromhex(blob))
    for blob in _PERCENT.findall(text)[:_MOST_BLOBS]:
        if "%" in blob and (decoded := unquote(blob)) != blob:
            yield decoded
    spaced = _SPACED.sub(lambda found: re.sub(r"[ .\-_]", "", found[0]), text)
    if spaced != text:
        yield spaced
    turned = text.translate(_ROT13)
    if "vtaber" in folded(text) or "ernpg" in folded(text):  # "ignore", "react" turned: what is worth turning back
        yield turned


def _of_base64(blob: str) -> Iterator[str]:
    trimmed = blob.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        yield from _of_bytes(base64.b64decode(trimmed + "=" * (-len(trimmed) % 4), validate=True))
    except (binascii.Error, ValueError):
        return


def _of_bytes(blob: bytes) -> Iterator[str]:
    try:
        decoded = blob.decode()
    except UnicodeDecodeError:
        return
    if decoded.isprintable() or "\n" in decoded:
        yield decoded
