"""LDAP filters (RFC 4515) as BSS's clients use them.

They have and, or, not, equality, presence and substrings.

The brackets around the outermost one may be left out, as those clients do (`mail=u*`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sandbox.partage.accounts import Accounts

_DEPTH_MAX: Final = 20
_ITEM: Final = re.compile(r"([A-Za-z][A-Za-z0-9.;-]*)=([^()]*)")
_HEX: Final = re.compile(r"\\([0-9A-Fa-f]{2})")


class FilterInvalid(ValueError):
    """This is no filter, or one that is not understood."""


def matching(accounts: Accounts, text: str) -> set[str]:
    """Ids of the accounts that a filter finds; an empty one finds all. Raises `FilterInvalid`."""
    text = text.strip()
    if not text:
        return accounts.ids()
    found, end = _filter(accounts, text if text.startswith("(") else f"({text})", 0, 0)
    if end < len(text):
        raise FilterInvalid(text[end:])
    return found


def _filter(accounts: Accounts, text: str, at: int, depth: int) -> tuple[set[str], int]:
    """The findings of the filter that begins at this bracket, and its end."""
    if depth > _DEPTH_MAX or text[at : at + 1] != "(":
        raise FilterInvalid(text[at:])
    operator = text[at + 1 : at + 2]
    if operator in ("&", "|", "!"):
        parts, at = [], at + 2
        while text[at : at + 1] == "(":
            found, at = _filter(accounts, text, at, depth + 1)
            parts.append(found)
        result = _combined(operator, parts, accounts)
    else:
        item = _ITEM.match(text, at + 1)
        if item is None:
            raise FilterInvalid(text[at:])
        result, at = _item(accounts, item[1], item[2]), item.end()
    if text[at : at + 1] != ")":
        raise FilterInvalid(text[at:])
    return result, at + 1


def _combined(operator: str, parts: list[set[str]], accounts: Accounts) -> set[str]:
    if not parts or (operator == "!" and len(parts) > 1):
        raise FilterInvalid(operator)
    if operator == "|":
        return set().union(*parts)
    if operator == "&":
        return parts[0].intersection(*parts[1:])
    return accounts.ids() - parts[0]


def _item(accounts: Accounts, attribute: str, value: str) -> set[str]:
    if "*" not in value:
        return accounts.with_value(attribute, _unescaped(value))
    pattern = re.compile(
        ".*".join(re.escape(_unescaped(piece)) for piece in value.split("*")), re.IGNORECASE | re.DOTALL
    )
    return set(_scan(accounts, attribute, pattern))


def _scan(accounts: Accounts, attribute: str, pattern: re.Pattern[str]) -> Iterator[str]:
    for account in accounts.all():
        if any(pattern.fullmatch(value) for value in account.values(attribute)):
            yield account.id


def _unescaped(value: str) -> str:
    return _HEX.sub(lambda found: chr(int(found[1], 16)), value)
