"""The page behind a link to a decision: plain HTML that needs no script, no image and no other file.

Everything that is not written here is escaped. The policy lets the page do nothing but be styled by its one style
sheet, which is named by its hash, and send its form back to where it came from.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC
from html import escape

from crewmesh_contracts.base import JsonValue
from fastapi.responses import HTMLResponse

from crewmesh_workflow.approvals.fields import Field, as_text, fields_of
from crewmesh_workflow.approvals.schemas import Approval

Mistakes = Sequence[tuple[str, str]]

_STYLE = """
:root{color-scheme:light dark}
body{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid;padding:.75rem}
label,legend{display:block;font-weight:600;margin-top:1rem}
input:not([type=checkbox]),select,textarea{box-sizing:border-box;width:100%;font:inherit;padding:.5rem}
textarea{min-height:6rem}
button{font:inherit;font-weight:600;padding:.75rem 1.5rem;margin:1.5rem .75rem 0 0;min-height:2.75rem}
small{display:block}
[role=alert]{border:2px solid;padding:.25rem 1rem}
""".strip()
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
_VERDICTS: Mapping[str, str] = {
    "approved": "It is approved.",
    "rejected": "It is rejected.",
    "answered": "The form is filled in.",
    "happened": "The step has happened, and the run goes on.",
    "not_happened": "The step has not happened; it is attempted again.",
    "failed": "The step has failed.",
}


def question_page(
    approval: Approval, *, status: int = 200, mistakes: Mistakes = (), posted: Mapping[str, str] | None = None
) -> HTMLResponse:
    """What is to be decided, with the form to decide it; after a mistake, with what was typed."""
    if approval.status != "open":
        return told_page(approval.title, _state(approval), status=status)
    typed = posted or {}
    form = _KINDS[approval.kind](approval, typed)
    content = (
        f"{_alert(mistakes)}{_about(approval)}"
        f'<form method="post" accept-charset="utf-8">'
        f'<input type="hidden" name="proposal" value="{approval.proposal}">{form}</form>'
    )
    return _page(approval.title, content, status=status)


def done_page(approval: Approval) -> HTMLResponse:
    """What came of the decision."""
    missing = approval.quorum - sum(each.approved and not each.void for each in approval.decisions)
    more = f"Your decision is noted. {missing} more must agree." if approval.status == "open" else ""
    return told_page(approval.title, more or f"Thank you. {_state(approval)}", status=200)


def told_page(title: str, text: str, *, status: int) -> HTMLResponse:
    return _page(title, f"<p>{escape(text)}</p>", status=status)


def _state(approval: Approval) -> str:
    if approval.status == "decided":
        return _VERDICTS[approval.verdict or "approved"]
    ended = {
        "expired": "The time to decide is over.",
        "cancelled": "Nobody waits for this decision any more.",
        "open": "It is not decided yet.",
    }
    return ended[approval.status]


def _page(title: str, content: str, *, status: int) -> HTMLResponse:
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} – Crewmesh</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{content}</main></body></html>"
    )
    return HTMLResponse(page, status_code=status, headers=_HEADERS)


def _alert(mistakes: Mistakes) -> str:
    if not mistakes:
        return ""
    items = "".join(f"<li>{escape(path)}: {escape(message)}</li>" for path, message in mistakes)
    return f'<div role="alert"><p>Nothing is decided yet. Please correct:</p><ul>{items}</ul></div>'


def _about(approval: Approval) -> str:
    parts = [f"<p>{escape(approval.details)}</p>" if approval.details else ""]
    if approval.data is not None:
        parts.append(f"<h2>What is proposed</h2><pre>{escape(as_text(approval.data))}</pre>")
    if approval.about:
        parts.append(f"<h2>The step in question</h2><pre>{escape(as_text(approval.about))}</pre>")
    if approval.decisions:
        said = "".join(_said(each.by, each.approved, each.comment, each.void) for each in approval.decisions)
        parts.append(f"<h2>Said so far</h2><ul>{said}</ul>")
    if approval.until is not None:
        parts.append(f"<p>To be decided before {approval.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC.</p>")
    return "".join(parts)


def _said(by: str, approved: bool, comment: str | None, void: bool) -> str:
    word = "yes" if approved else "no"
    if void:
        word += ", to what was proposed before"
    told = f": {escape(comment)}" if comment else ""
    return f"<li>{escape(by)} said {word}{told}</li>"


def _approval_form(approval: Approval, typed: Mapping[str, str]) -> str:
    change = ""
    if approval.data is not None:
        text = typed.get("data") or as_text(approval.data)
        change = (
            f"<details{' open' if typed else ''}><summary>Change what is proposed</summary>"
            f'<label for="data">Proposal, as JSON</label>{_textarea("data", text)}</details>'
        )
    return f"{change}{_comment(typed)}{_button('approve', 'Approve')}{_button('reject', 'Reject')}"


def _input_form(approval: Approval, typed: Mapping[str, str]) -> str:
    fields = fields_of(approval.form or {})
    if fields is None:
        schema = f"<details><summary>What is wanted</summary><pre>{escape(as_text(approval.form))}</pre></details>"
        asked = f'{schema}<label for="data">Answer, as JSON</label>{_textarea("data", typed.get("data", ""))}'
    else:
        asked = "".join(_field(f"field-{place}", field, typed) for place, field in enumerate(fields))
    return f"{asked}{_comment(typed)}{_button('send', 'Send')}"


def _outcome_form(approval: Approval, typed: Mapping[str, str]) -> str:
    _ = approval
    return (
        "<p>It is not known whether this step took effect. Look it up where it would show, then say what you found.</p>"
        '<label for="output">Output of the step, as JSON, if it happened</label>'
        f"{_textarea('output', typed.get('output', ''))}{_comment(typed)}"
        f"{_button('happened', 'It happened')}{_button('not_happened', 'It did not happen: try again')}"
        f"{_button('fail', 'Let the step fail')}"
    )


_KINDS = {"approval": _approval_form, "input": _input_form, "outcome": _outcome_form}


def _field(id_: str, field: Field, typed: Mapping[str, str]) -> str:
    hint = f'<small id="{id_}-hint">{escape(field.hint)}</small>' if field.hint else ""
    named = f'id="{id_}" name="{escape(field.key)}"' + (f' aria-describedby="{id_}-hint"' if field.hint else "")
    if field.kind == "boolean":
        checked = " checked" if (field.key in typed if typed else field.default is True) else ""
        return f'<label><input type="checkbox" {named} value="true"{checked}> {escape(field.label)}</label>{hint}'
    need = " required" if field.required else ""
    text = typed.get(field.key, "") if typed else _default(field)
    mark = "" if field.required else " (optional)"
    label = f'<label for="{id_}">{escape(field.label)}{mark}</label>{hint}'
    return f"{label}{_control(field, f'{named}{need}', text)}"


def _control(field: Field, named: str, text: str) -> str:
    if field.kind == "choice":
        options = "".join(_option(place, choice, text) for place, choice in enumerate(field.choices))
        return f'<select {named}><option value=""></option>{options}</select>'
    if field.kind == "long":
        return f"<textarea {named}>\n{escape(text)}</textarea>"
    kind = 'type="text" inputmode="decimal"' if field.kind in ("number", "integer") else 'type="text"'
    return f'<input {kind} {named} value="{escape(text)}">'


def _option(place: int, choice: JsonValue, chosen: str) -> str:
    selected = " selected" if chosen == str(place) else ""
    return f'<option value="{place}"{selected}>{escape(_plain(choice))}</option>'


def _default(field: Field) -> str:
    if field.default is None:
        return ""
    if field.kind == "choice":
        return str(field.choices.index(field.default)) if field.default in field.choices else ""
    return _plain(field.default)


def _plain(value: JsonValue) -> str:
    return value if isinstance(value, str) else as_text(value)


def _comment(typed: Mapping[str, str]) -> str:
    return f'<label for="comment">Comment (optional)</label>{_textarea("comment", typed.get("comment", ""))}'


def _textarea(name: str, text: str) -> str:
    # The first line break is the parser's own; what is typed may begin with one.
    return f'<textarea id="{name}" name="{name}">\n{escape(text)}</textarea>'


def _button(value: str, text: str) -> str:
    return f'<button type="submit" name="decision" value="{value}">{text}</button>'
