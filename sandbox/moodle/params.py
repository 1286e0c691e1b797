"""Moodle's checks of parameters (`external_api::validate_parameters`).

A value is cleaned according to its type (`clean_param`) and refused if cleaning changes it, so the client
learns that something is wrong but, debugging being off, never what.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandbox.moodle.errors import INVALID_PARAMETER, MoodleError, invalid_parameter
from sandbox.moodle.phpform import PhpValue

ABSENT: Final = object()
"""The default of an optional value: absent from the call, absent from the result."""

REQUIRED: Final = object()
"""The default of a value that the call must carry."""

AUTH_PLUGINS: Final = frozenset(
    {
        "cas", "db", "email", "ldap", "lti", "manual", "mnet", "nologin", "none", "oauth2", "shibboleth",
        "webservice",
    }
)  # fmt: skip
INTERNAL_AUTH_PLUGINS: Final = frozenset({"manual", "email", "none", "nologin", "webservice"})
"""Plugins whose users have their password in Moodle; for the others the password is never stored."""

LANGUAGES: Final = frozenset({"en"})
THEMES: Final = frozenset({"boost", "classic"})

_TAG = re.compile(r"<(?!\s)")  # PHP's strip_tags takes '<' for a tag unless white space follows
_NOT_USERNAME = re.compile(r"[^-.@_a-z0-9]")
_INT = re.compile(r"0|-?[1-9][0-9]{0,18}")
_NOT_ALPHA = re.compile(r"[^a-zA-Z]")
_NOT_ALPHANUMEXT = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Value:
    """One scalar of a type named as in Moodle's `PARAM_…` constants, in lower case."""

    type: str
    default: object = REQUIRED


@dataclass(frozen=True, slots=True)
class Single:
    """An array with known keys; an unknown key is refused."""

    keys: Mapping[str, Node]
    default: object = REQUIRED


@dataclass(frozen=True, slots=True)
class Multiple:
    """A list of equal things; its keys do not matter, their order does."""

    content: Node
    default: object = REQUIRED


Node = Value | Single | Multiple

_CLEAN: Final[Mapping[str, Callable[[str], bool]]] = {
    "raw": lambda _: True,
    "raw_trimmed": lambda text: text == text.strip(" \t\n\r\0\x0b"),
    "notags": lambda text: _TAG.search(text) is None,
    "text": lambda text: _TAG.search(text) is None,
    "username": lambda text: _NOT_USERNAME.search(text) is None,
    "alpha": lambda text: _NOT_ALPHA.search(text) is None,
    "alphanumext": lambda text: _NOT_ALPHANUMEXT.search(text) is None,
    "int": lambda text: _INT.fullmatch(text) is not None,
    "bool": lambda text: text in ("0", "1"),
    "auth": lambda text: text in AUTH_PLUGINS,
    "lang": lambda text: text in LANGUAGES,
    "theme": lambda text: text == "" or text in THEMES,
    "timezone": lambda text: text == "99" or re.fullmatch(r"[A-Za-z_]+(/[A-Za-z_+-]+)*", text) is not None,
}


def is_clean(kind: str, text: str) -> bool:
    """Whether cleaning by this type would leave the text as it is."""
    return _CLEAN[kind](text)


def validate(node: Node, data: PhpValue) -> Any:
    """Return the data with its types and defaults. Raises MoodleError `invalidparameter`."""
    if isinstance(node, Value):
        return _scalar(node, data)
    if not isinstance(data, dict):
        raise invalid_parameter(f"Only arrays accepted. The bad value is: '{data}'")
    if isinstance(node, Multiple):
        content = node.content
        return [validate(content, item) for item in data.values()]
    return _single(node, data)


def _single(node: Single, data: Mapping[str, PhpValue]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    found = 0
    for key, inner in node.keys.items():
        item = data.get(key)
        if item is None:
            if inner.default is REQUIRED:
                raise invalid_parameter(f"Missing required key in single structure: {key}")
            if inner.default is not ABSENT:
                result[key] = inner.default
            continue
        found += 1
        try:
            result[key] = validate(inner, item)
        except MoodleError as error:
            raise invalid_parameter(f"{key} => {INVALID_PARAMETER}: {error.debuginfo}") from None
    if found != len(data):
        unknown = ", ".join(key for key in data if key not in node.keys)
        raise invalid_parameter(f"Unexpected keys ({unknown}) detected in parameter array.")
    return result


def _scalar(node: Value, data: PhpValue) -> str | int | bool:
    if isinstance(data, dict):
        raise invalid_parameter("Scalar type expected, array or object received.")
    if not _CLEAN[node.type](data):
        raise invalid_parameter(
            f'Invalid external api parameter: the value is "{data}", '
            f'the server was expecting "{node.type}" type'
        )
    if node.type == "int":
        return int(data)
    return data == "1" if node.type == "bool" else data
