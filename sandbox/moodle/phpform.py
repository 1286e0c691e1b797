"""PHP's reading of a form: nested brackets, and limits that drop fields silently.

`a[0][b]=1` becomes nested arrays. PHP arrays keep insertion order and turn decimal keys into integers; here
every array is a dict with string keys in insertion order, which is all that the service needs.

Limits (PHP 8, `main/php_variables.c`, `main/rfc1867.c`): a urlencoded body keeps one variable more than
`max_input_vars`, a query string and a multipart body keep exactly `max_input_vars`; a body above
`post_max_size` leaves no variable at all. The client does not learn of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.parser import BytesParser
from email.policy import HTTP
from itertools import islice
from urllib.parse import unquote_plus

PhpValue = str | dict[str, "PhpValue"]
PhpArray = dict[str, PhpValue]

_NESTING_LEVEL_MAX = 64  # PHP's max_input_nesting_level: a deeper variable is ignored


def parse_query(query: str, max_input_vars: int) -> PhpArray:
    """Return `$_GET`: at most `max_input_vars` variables of the query string."""
    return _collect(islice(_pairs(query), max_input_vars))


def parse_body(body: bytes, content_type: str, *, max_input_vars: int, post_max_size_bytes: int) -> PhpArray:
    """Return `$_POST`: empty for a body that is too big or no form, such as JSON."""
    if len(body) > post_max_size_bytes:
        return {}
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        text = body.decode("ascii", errors="replace")
        return _collect(islice(_pairs(text), max_input_vars + 1))
    if kind == "multipart/form-data":
        return _collect(islice(_parts(body, content_type), max_input_vars))
    return {}


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    for pair in text.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            yield _decoded(name), _decoded(value)


def _decoded(text: str) -> str:
    return unquote_plus(text, errors="replace") if "%" in text or "+" in text else text


def _parts(body: bytes, content_type: str) -> Iterable[tuple[str, str]]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", errors="replace")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str) and part.get_filename() is None:
            payload = part.get_payload(decode=True)
            yield name, payload.decode("utf-8", errors="replace") if isinstance(payload, bytes) else ""


def _collect(pairs: Iterable[tuple[str, str]]) -> PhpArray:
    variables: PhpArray = {}
    keys_of: dict[str, list[str]] = {}
    for name, value in pairs:
        keys = keys_of.get(name)
        if keys is None:
            keys = keys_of[name] = _keys(name)
        if keys and len(keys) <= _NESTING_LEVEL_MAX:
            _store(variables, keys, value)
    return variables


def _keys(name: str) -> list[str]:
    """Split `users[0][username]` into its keys, mended as PHP does. An empty key appends."""
    head, bracket, rest = name.lstrip(" ").partition("[")
    head = head.replace(" ", "_").replace(".", "_")
    if not bracket:
        return [head] if head else []
    if not head or "]" not in rest:
        # A name that opens with a bracket is dropped; a bracket that is never closed is part of the name.
        return [f"{head}_{rest}".replace(" ", "_").replace(".", "_")] if head else []
    keys = [head]
    while True:
        key, _, rest = rest.partition("]")
        keys.append(key.strip(" ") if key.isspace() else key)
        if not rest.startswith("[") or "]" not in rest:
            return keys  # what follows the last closed bracket is ignored
        rest = rest[1:]


def _store(variables: PhpArray, keys: list[str], value: str) -> None:
    target = variables
    for key in keys[:-1]:
        inner = target.get(key) if key else None
        if not isinstance(inner, dict):
            inner = {}
            target[key or _next_index(target)] = inner
        target = inner
    target[keys[-1] or _next_index(target)] = value


def _next_index(array: PhpArray) -> str:
    indices = [int(key) for key in array if key.isdigit()]
    return str(max(indices) + 1) if indices else "0"
