"""The API on one page that needs nothing but itself: no script, no style sheet and no font from anywhere."""

from __future__ import annotations

from html import escape
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
_METHODS = ("get", "post", "put", "patch", "delete")
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
details { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: .4rem; margin: .4rem 0 }
summary { padding: .5rem .8rem; cursor: pointer; display: flex; gap: .8rem; flex-wrap: wrap }
summary b { min-width: 4rem } code { font-family: ui-monospace, monospace; font-size: .9em }
details > div { padding: 0 .8rem .6rem } td { padding: .1rem .8rem .1rem 0; vertical-align: top }
"""


def page(document: JsonObject) -> str:
    info = _mapping(document.get("info"))
    sections = "".join(
        f"<h2>{escape(tag)}</h2>{''.join(operations)}" for tag, operations in sorted(_by_tag(document).items())
    )
    title = f"{_text(info.get('title'))} API {_text(info.get('version'))}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><h1>{title}</h1>'
        f"<p>{_text(info.get('description'))}</p><p>Send your key as <code>Authorization: Bearer cm_live_…</code>. "
        f'For programs: <a href="/openapi.json">openapi.json</a></p>{sections}</body></html>'
    )


def _by_tag(document: JsonObject) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    for path, item in _mapping(document.get("paths")).items():
        for method in _METHODS:
            operation = _mapping(_mapping(item).get(method))
            if operation:
                tags = operation.get("tags")
                tag = str(tags[0]) if isinstance(tags, list) and tags else "other"
                sections.setdefault(tag, []).append(_operation(method, path, operation))
    return sections


def _operation(method: str, path: str, operation: JsonObject) -> str:
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> "
        f"<span>{_text(operation.get('summary'))}</span></summary><div><p>{_text(operation.get('description'))}</p>"
        f"{_parameters(operation)}{_body(operation)}{_answers(operation)}</div></details>"
    )


def _parameters(operation: JsonObject) -> str:
    rows = "".join(
        f"<tr><td><code>{_text(each.get('name'))}</code></td><td>{_text(each.get('in'))}</td>"
        f"<td>{_text(each.get('description'))}</td></tr>"
        for each in map(_mapping, _list(operation.get("parameters")))
    )
    return f"<table>{rows}</table>" if rows else ""


def _body(operation: JsonObject) -> str:
    names = [
        f"<code>{escape(media)}</code> {_schema(content)}"
        for media, content in _mapping(_mapping(operation.get("requestBody")).get("content")).items()
    ]
    return f"<p>Body: {', '.join(names)}</p>" if names else ""


def _answers(operation: JsonObject) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(status)}</code></td><td>{_text(_mapping(answer).get('description'))}</td><td>"
        f"{', '.join(_schema(content) for content in _mapping(_mapping(answer).get('content')).values())}</td></tr>"
        for status, answer in _mapping(operation.get("responses")).items()
    )
    return f"<table>{rows}</table>"


def _schema(content: JsonValue) -> str:
    schema = _mapping(_mapping(content).get("schema"))
    name = str(schema.get("$ref", schema.get("title", schema.get("type", "")))).rsplit("/", 1)[-1]
    return f"<code>{escape(name)}</code>" if name else ""


def _text(value: JsonValue) -> str:
    return escape(str(value)) if value is not None else ""


def _mapping(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _list(value: JsonValue) -> list[JsonValue]:
    return cast("list[JsonValue]", value) if isinstance(value, list) else []
