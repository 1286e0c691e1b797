"""Compare an answer with the recorded one: everything but what no two sites share.

Ids differ from site to site: a recorded id stands for one actual id, for ever and for nothing else. The
theme revision in picture addresses, times and the private access key differ too. Elisions of the recording
("... 11 more of the same shape", `_list_of`, a text cut with "…") are compared by count, by shape and by
what is left.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any

_MORE = re.compile(r"\.\.\. (\d+) more of the same shape")
_REVISION = re.compile(r"(/theme/image\.php/boost/core/)\d+(/u/)")
_EPOCH = re.compile(r"\b1[6-9]\d{8}\b")
_ACCESS_KEY = re.compile(r"[0-9a-f]{32}")
_ID_KEYS = {"userid": "user", "userids": "user", "cohortid": "cohort", "itemid": "user"}


class Ids:
    """Which actual id stands for which recorded one, users and cohorts apart."""

    def __init__(self) -> None:
        self._actual: dict[tuple[str, int], int] = {}
        self._recorded: dict[tuple[str, int], int] = {}

    def actual(self, kind: str, recorded: int) -> int:
        """Return the actual id; an id that was never seen is an absent one, and stays as it is."""
        return self._actual.get((kind, recorded), recorded)

    def agree(self, kind: str, recorded: int, actual: int) -> bool:
        """Say whether the two may stand for each other, and remember it."""
        known = self._actual.setdefault((kind, recorded), actual)
        back = self._recorded.setdefault((kind, actual), recorded)
        return known == actual and back == recorded


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the answer the comparison is, and whose ids are met there."""

    ids: Ids
    kind: str
    path: str

    def at(self, step: str) -> _Place:
        return dataclasses.replace(self, path=f"{self.path}{step}")


def differences(expected: Any, actual: Any, ids: Ids, *, kind: str, path: str = "answer") -> list[str]:
    """Return what differs, one line each; `kind` says whose ids a plain `id` is (user or cohort)."""
    return _compare(expected, actual, _Place(ids, kind, path))


def _compare(expected: Any, actual: Any, place: _Place) -> list[str]:
    if isinstance(expected, dict):
        return _of_object(expected, actual, place)
    if isinstance(expected, list):
        return _of_list(expected, actual, place)
    if isinstance(expected, str) and isinstance(actual, str):
        same = _same_text(expected, actual)
    else:
        same = type(expected) is type(actual) and expected == actual
    return [] if same else [f"{place.path}: expected {expected!r}, got {actual!r}"]


def _same_text(expected: str, actual: str) -> bool:
    expected, actual = (_EPOCH.sub("TIME", _REVISION.sub(r"\1REV\2", text)) for text in (expected, actual))
    if expected.endswith("…"):
        return actual.startswith(expected[:-1])
    return expected == actual


def _of_object(expected: dict[str, Any], actual: Any, place: _Place) -> list[str]:
    if "_list_of" in expected:
        return _of_summary(expected["_list_of"], expected, actual, place)
    if not isinstance(actual, dict):
        return [f"{place.path}: expected an object, got {actual!r}"]
    if "_warnings_count" in expected:
        summary = {"first": expected["_first"]}
        return _of_summary(expected["_warnings_count"], summary, actual.get("warnings"), place)
    if "_users_count" in expected or "_usernames" in expected:
        return _of_search(expected, actual, place)
    if list(expected) != list(actual):
        return [f"{place.path}: expected the keys {list(expected)}, got {list(actual)}"]
    found: list[str] = []
    for key, value in expected.items():
        found += _of_member(key, value, actual[key], place.at(f".{key}"))
    return found


def _of_member(key: str, expected: Any, actual: Any, place: _Place) -> list[str]:
    id_kind = place.kind if key == "id" else _ID_KEYS.get(key)
    if id_kind is not None and isinstance(expected, int) and isinstance(actual, int):
        agreed = place.ids.agree(id_kind, expected, actual)
        return [] if agreed else [f"{place.path}: {actual} does not stand for the recorded {expected}"]
    if key == "userids":
        return _of_members(expected, actual, place)
    if key == "userprivateaccesskey":
        valid = isinstance(actual, str) and _ACCESS_KEY.fullmatch(actual)
        return [] if valid else [f"{place.path}: {actual!r} is not an access key"]
    return _compare(expected, actual, place)


def _of_members(expected: list[Any], actual: Any, place: _Place) -> list[str]:
    """Compare lists whose order means nothing: members that share their names."""
    shown, more = _without_elision(expected)
    if not isinstance(actual, list) or len(actual) != len(shown) + more:
        return [f"{place.path}: expected {len(shown) + more} user ids, got {actual!r}"]
    missing = [recorded for recorded in shown if place.ids.actual("user", recorded) not in actual]
    doubled = len(set(actual)) != len(actual)
    return [f"{place.path}: {missing} are missing or some come twice"] if missing or doubled else []


def _without_elision(expected: list[Any]) -> tuple[list[Any], int]:
    matched = _MORE.fullmatch(expected[-1]) if expected and isinstance(expected[-1], str) else None
    return (expected, 0) if matched is None else (expected[:-1], int(matched[1]))


def _of_list(expected: list[Any], actual: Any, place: _Place) -> list[str]:
    shown, more = _without_elision(expected)
    if not isinstance(actual, list) or len(actual) != len(shown) + more:
        return [f"{place.path}: expected a list of {len(shown) + more}, got {actual!r}"]
    found: list[str] = []
    for index, (wanted, given) in enumerate(zip(shown, actual, strict=False)):
        found += _compare(wanted, given, place.at(f"[{index}]"))
    for index, given in enumerate(actual[len(shown) :], start=len(shown)):
        if _shape(given) != _shape(shown[-1]):
            found.append(f"{place.path}[{index}]: {given!r} has another shape")
    return found


def _shape(value: Any) -> object:
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    return [_shape(item) for item in value[:1]] if isinstance(value, list) else type(value)


def _of_summary(count: int, ends: dict[str, Any], actual: Any, place: _Place) -> list[str]:
    """Compare a list of which the recording keeps the length and the ends."""
    if not isinstance(actual, list) or len(actual) != count:
        length = f"a list of {len(actual)}" if isinstance(actual, list) else repr(actual)
        return [f"{place.path}: expected a list of {count}, got {length}"]
    found: list[str] = []
    for end, index in (("first", 0), ("last", -1)):
        if end in ends:
            found += _compare(ends[end], actual[index], place.at(f"[{end}]"))
    return found


def _of_search(expected: dict[str, Any], actual: dict[str, Any], place: _Place) -> list[str]:
    users = actual.get("users")
    found = _compare(expected["warnings"], actual.get("warnings"), place.at(".warnings"))
    if not isinstance(users, list):
        return [*found, f"{place.path}.users: expected a list, got {users!r}"]
    if "_users_count" in expected:
        summary = {"first": expected["_first"]}
        return found + _of_summary(expected["_users_count"], summary, users, place.at(".users"))
    usernames = [user["username"] for user in users]
    return found + _compare(expected["_usernames"], usernames, place.at(".users"))


def body_differences(expected: Any, body: bytes, ids: Ids, *, kind: str) -> list[str]:
    """Compare a body as it came: JSON by value, anything else by its text and its length in bytes."""
    if isinstance(expected, dict) and "_raw_body" in expected:
        found = differences(expected["_raw_body"], body.decode(), ids, kind=kind, path="body")
        if len(body) != expected["_bytes"]:
            found.append(f"body: expected {expected['_bytes']} bytes, got {len(body)}")
        return found
    try:
        actual = json.loads(body)
    except ValueError:
        return [f"body: expected JSON, got {body[:200]!r}"]
    return differences(expected, actual, ids, kind=kind)
