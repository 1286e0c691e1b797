"""Answers as PHP writes them: JSON on request, XML otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

from sandbox.moodle.errors import MoodleError
from sandbox.moodle.web import Reply

JSON_TYPE: Final = "application/json"
XML_TYPE: Final = "application/xml; charset=utf-8"
_XML_HEAD: Final = '<?xml version="1.0" encoding="UTF-8" ?>\n'


def result(value: object, *, as_json: bool) -> Reply:
    """The reply with a function's result."""
    if as_json:
        return Reply(200, JSON_TYPE, _json(value))
    return Reply(200, XML_TYPE, f"{_XML_HEAD}<RESPONSE>\n{_xml(value)}</RESPONSE>\n".encode())


def error(fault: MoodleError, *, as_json: bool, debug_display: bool) -> Reply:
    """The reply with an error: HTTP 200 like any other."""
    shown = fault.shown(debug_display=debug_display)
    if as_json:
        return Reply(200, JSON_TYPE, _json(shown))
    tags = {"ERRORCODE": "errorcode", "MESSAGE": "message", "DEBUGINFO": "debuginfo"}
    lines = [f"<{tag}>{_escaped(shown[key])}</{tag}>\n" for tag, key in tags.items() if key in shown]
    body = f'{_XML_HEAD}<EXCEPTION class="{_escaped(fault.exception)}">\n{"".join(lines)}</EXCEPTION>\n'
    return Reply(200, XML_TYPE, body.encode())


def _json(value: object) -> bytes:
    # json_encode escapes what is not ASCII, and the slash
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def _xml(value: Any) -> str:
    if isinstance(value, Mapping):
        keys = "".join(f'<KEY name="{_escaped(key)}">{_xml(item)}</KEY>\n' for key, item in value.items())
        return f"<SINGLE>\n{keys}</SINGLE>\n"
    if isinstance(value, list | tuple):
        return f"<MULTIPLE>\n{''.join(_xml(item) for item in value)}</MULTIPLE>\n"
    if value is None:
        return '<VALUE null="null"/>\n'
    return f"<VALUE>{_escaped(int(value) if isinstance(value, bool) else value)}</VALUE>\n"


def _escaped(value: object) -> str:
    return escape(str(value), {'"': "&quot;"})
