"""Roles of a person at a service of ours, from the attributes that CAS releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from sesame.login.port import Validated

_Role = TypeVar("_Role", bound=str)


def roles_of(rules: Mapping[_Role, Sequence[str]], validated: Validated) -> frozenset[_Role]:
    """The roles that at least one released value gives.

    `rules`: by role, what gives it: `ATTRIBUTE=VALUE` each, e.g. `memberOf=cn=operators,ou=groups,dc=univ`.
    Values are compared as directories compare names (RFC 4517, caseIgnoreMatch; RFC 4514): without regard to
    case, and to blanks next to a comma or at an end.
    """
    released = {
        (name.casefold(), _comparable(value))
        for name, values in validated.attributes.items()
        for value in values
    }
    return frozenset(
        role for role, wanted in rules.items() if any(_split(each) in released for each in wanted)
    )


def _split(rule: str) -> tuple[str, str]:
    name, _, value = rule.partition("=")
    return name.strip().casefold(), _comparable(value)


def _comparable(value: str) -> str:
    return ",".join(part.strip() for part in value.casefold().split(","))
