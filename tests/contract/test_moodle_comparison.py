"""The comparison of answers can fail: whatever is changed in a recorded answer is noticed."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.moodle import MoodleStandIn
from tests.contract.comparing import Ids, differences
from tests.contract.recording import RECORDED, Entry, load_entries
from tests.contract.replay import SITE_URL, Replay, is_replayable

ENTRIES = load_entries()
ANSWERS = [
    entry for entry in ENTRIES if isinstance(entry.expected, dict | list) and "…" not in str(entry.fields)
]

_ID_NAMES = ("id", "userid", "cohortid", "itemid")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every leaf whose value is the same on every site."""
    items = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if items is None:
        yield path
        return
    for key, item in items:
        if key not in (*_ID_NAMES, "userids", "userprivateaccesskey") and not str(key).startswith("_"):
            yield from leaves(item, (*path, key))


def changed(value: Any, path: tuple[Any, ...]) -> Any:
    """Return a copy of the value with one leaf changed."""
    result = copy.deepcopy(value)
    target = result
    for key in path[:-1]:
        target = target[key]
    old = target[path[-1]]
    target[path[-1]] = f"{old}!" if isinstance(old, str) else (not old if isinstance(old, bool) else "other")
    return result


@pytest.mark.parametrize("entry", ANSWERS, ids=lambda entry: entry.key)
def test_any_changed_leaf_is_noticed(entry: Entry) -> None:
    actual = unabridged(entry.expected)
    assert differences(entry.expected, actual, Ids(), kind="user") == []
    for path in leaves(entry.expected):
        if path and not str(get(entry.expected, path)).startswith("... "):
            wrong = changed(entry.expected, path)
            assert differences(wrong, actual, Ids(), kind="user"), f"a change of {path} went unseen"


def get(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def unabridged(expected: Any) -> Any:
    """Return an answer that the recording may have come from: elided elements repeat the last one shown."""
    if isinstance(expected, dict):
        if "_list_of" in expected:
            middle = [expected["first"]] * (expected["_list_of"] - 2)
            return [expected["first"], *middle, expected["last"]]
        if "_warnings_count" in expected:
            return {"warnings": [expected["_first"]] * expected["_warnings_count"]}
        if "_users_count" in expected:
            users = [expected["_first"]] * expected["_users_count"]
            return {"users": users, "warnings": expected["warnings"]}
        if "_usernames" in expected:
            users = [{"username": name} for name in expected["_usernames"]]
            return {"users": users, "warnings": expected["warnings"]}
        return {key: unabridged(value) for key, value in expected.items()}
    if isinstance(expected, list) and expected and str(expected[-1]).startswith("... "):
        count = int(expected[-1].split()[1])
        last = expected[-2]
        more = [1000 + n for n in range(count)] if isinstance(last, int) else [last] * count
        return [unabridged(item) for item in expected[:-1]] + more
    return [unabridged(item) for item in expected] if isinstance(expected, list) else expected


@pytest.mark.parametrize(
    ("recorded", "actual"),
    [
        ([{"id": 4}, {"id": 4}], [{"id": 7}, {"id": 8}]),  # one recorded user, two actual ones
        ([{"id": 4}, {"id": 5}], [{"id": 7}, {"id": 7}]),  # two recorded users, one actual one
        ([{"id": 4}], [{"id": 7}, {"id": 8}]),
        ([{"id": 4}], []),
        ([1, "... 2 more of the same shape"], [1, 2]),
        ([{"id": 4}, "... 1 more of the same shape"], [{"id": 4}, {"username": "c1"}]),
        ({"_list_of": 2, "first": {"id": 4}, "last": {"id": 5}}, [{"id": 4}]),
        ({"warnings": []}, {"warnings": [], "exception": "x"}),
        ({"warnings": []}, None),
        (None, {"warnings": []}),
        ("begins so …", "begins otherwise"),
        ({"cohortid": 1, "userids": [3, 4]}, {"cohortid": 1, "userids": [3, 5]}),
        ({"userprivateaccesskey": "0" * 32}, {"userprivateaccesskey": "short"}),
        ({"visible": True}, {"visible": 1}),
    ],
)
def test_a_wrong_relation_shape_or_count_is_noticed(recorded: Any, actual: Any) -> None:
    assert differences(recorded, actual, Ids(), kind="user") != []


def test_a_replay_of_wrong_expectations_reports_each_of_them(tmp_path: Path) -> None:
    first = [entry for entry in ENTRIES if is_replayable(entry) and "response" in entry.fields][:40]
    wrong = [dataclasses.replace(entry, fields=_spoiled(entry)) for entry in first]
    with MoodleStandIn(tmp_path, site_url=SITE_URL, site_name="Lab Moodle") as moodle:
        found = Replay(moodle, RECORDED).run(wrong)
    assert [key for key, differing in found.items() if not differing] == []


def _spoiled(entry: Entry) -> dict[str, Any]:
    """Return the entry's fields with a wrong status, type or answer, by turns."""
    if entry.index % 3 == 0:
        return {**entry.fields, "status": 500}
    if entry.index % 3 == 1:
        return {**entry.fields, "content_type": "text/plain"}
    return {**entry.fields, "response": {"exception": "x", "errorcode": "y", "message": "z"}}
