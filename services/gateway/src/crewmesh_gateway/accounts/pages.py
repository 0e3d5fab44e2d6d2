"""The pages that mailed links open: plain HTML, without any script, one form each.

Looking at one does nothing, for mail programs look at every link they carry; sending its form does. Whoever prefers a
program sends the token of the link to the routes that the form stands for.
"""

from __future__ import annotations

from html import escape
from typing import TypeVar
from urllib.parse import parse_qsl

from crewmesh_kit.errors import UnsupportedMediaType, ValidationFailed
from fastapi import Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ValidationError

from crewmesh_gateway.accounts.password_rules import LONGEST, SHORTEST

FormT = TypeVar("FormT", bound=BaseModel)

# The token in the address is told to nobody else: no other site, no cache, no search engine. With "no-referrer"
# browsers would not say either that it is this page which sends the form.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 5


def verify_page(token: str, *, mistake: str = "", status: int = 200) -> HTMLResponse:
    field = _password_field("The password you chose when you signed up", 'autocomplete="current-password"')
    return _page(
        "Verify your address",
        f"{_alert(mistake)}<p>Is this the address you gave to Crewmesh? Then your account is ready after this step.</p>"
        f"{_form(token, f'{field}<button>Yes, verify it</button>')}",
        status=status,
    )


def reset_page(token: str, *, mistake: str = "", status: int = 200) -> HTMLResponse:
    field = _password_field(
        f"New password, at least {SHORTEST} characters", f'minlength="{SHORTEST}" autocomplete="new-password"'
    )
    return _page(
        "Choose a new password", f"{_alert(mistake)}{_form(token, f'{field}<button>Set it</button>')}", status=status
    )


def told_page(title: str, text: str, *, status: int = 200) -> HTMLResponse:
    return _page(title, f"<p>{escape(text)}</p>", status=status)


async def posted(request: Request, kind: type[FormT]) -> FormT:
    """What the form of a page sent. Raises ValidationFailed when it is something else."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise UnsupportedMediaType(f"This is what the form of the page sends: {_FORM}.")
    try:
        fields = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise ValidationFailed(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    except ValueError as error:
        raise ValidationFailed("The form cannot be read. Open the page from your mail again.") from error


def _alert(mistake: str) -> str:
    return f'<p role="alert">{escape(mistake)}</p>' if mistake else ""


def _password_field(label: str, attributes: str) -> str:
    return (
        f'<p><label>{label}<br><input type="password" name="password" required maxlength="{LONGEST}" {attributes}>'
        "</label></p>"
    )


def _form(token: str, content: str) -> str:
    hidden = f'<input type="hidden" name="token" value="{escape(token)}">'
    return f'<form method="post" accept-charset="utf-8">{hidden}{content}</form>'


def _page(title: str, content: str, *, status: int = 200) -> HTMLResponse:
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    size = '<meta name="viewport" content="width=device-width">'
    return HTMLResponse(f"{head}{size}<h1>{title}</h1>{content}</html>", status_code=status, headers=_HEADERS)
