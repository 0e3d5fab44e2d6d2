"""Patterns that texts must follow, and what each of them means to people."""

from __future__ import annotations

from collections.abc import Mapping

HEX_ID = r"[0-9a-f]{32}"

SLUG = r"^[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
RUN = rf"^run_{HEX_ID}$"
WORKFLOW = rf"^wf_{HEX_ID}$"
_PERSON = r"user:[A-Za-z0-9._@+-]{1,100}"
# By its id or by its name, which is whatever people called it.
_GROUP = r"(role|team):\S(.{0,98}\S)?"
PERSON = rf"^{_PERSON}$"
GROUP = rf"^{_GROUP}$"
ASSIGNEE = rf"^({_PERSON}|{_GROUP})$"
ACTION = r"^[a-z][a-z0-9_-]{0,63}\.[a-z][a-z0-9_-]{0,63}$"

MEANINGS: Mapping[str, str] = {
    SLUG: "a name that begins with a small letter and has small letters and digits, with single - or _ between them",
    VARIABLE: "a name of letters, digits and _ that does not begin with a digit",
    RUN: "the id of a run: run_ and 32 of the characters 0-9 and a-f",
    WORKFLOW: "the id of a workflow: wf_ and 32 of the characters 0-9 and a-f",
    PERSON: "user: and then up to 100 letters, digits and . _ @ + -",
    GROUP: "role: or team: and then its name or id",
    ASSIGNEE: "user: and an id (letters, digits and . _ @ + -), or role: or team: and its name or id",
    ACTION: "a product and what is done there, as in github.create_issue, each of small letters, digits, - and _",
    r"^[^\x00]*$": "a text without the character NUL",
    r"^[^\x00]+$": "a text that is not empty and has no character NUL",
}
