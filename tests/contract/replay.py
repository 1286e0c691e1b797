"""Replay the recorded entries in order on a fresh site, and say for each what differs."""

from __future__ import annotations

import ast
import sqlite3
from pathlib import Path
from typing import Any

from sandbox.moodle import MoodleStandIn
from tests.contract.comparing import Ids, body_differences, differences
from tests.contract.recording import Entry, Naming
from tests.contract.sending import Answer, Client
from tests.contract.states import LOOKS, kind_of, prepare, recorded_look, request_of, sending_of

SITE_URL = "https://moodle.example"


def is_replayable(entry: Entry) -> bool:
    """Say whether the entry is a request, or a look into the database, that can be repeated as it stands."""
    return entry.name in LOOKS or request_of(entry, Naming("", "", str), Ids()) is not None


class Replay:
    """One site, one naming, one set of ids: entries are repeated in the order in which they were recorded."""

    def __init__(self, moodle: MoodleStandIn, naming: Naming) -> None:
        self._moodle = moodle
        self._naming = naming
        self._client = Client(moodle.endpoint, moodle.token)
        self._ids = Ids()

    def run(self, entries: list[Entry]) -> dict[str, list[str]]:
        """Return the differences by entry key."""
        found: dict[str, list[str]] = {}
        dirty = False
        for entry in entries:
            look = LOOKS.get(entry.name)
            if look is not None:
                found[entry.key] = self._look(entry, *look)
                continue
            if dirty:
                self._moodle.reset()
            dirty = prepare(self._moodle, entry)
            found[entry.key] = self._repeat(entry)
        self._client.close()
        return found

    def _repeat(self, entry: Entry) -> list[str]:
        request = request_of(entry, self._naming, self._ids)
        if request is None:
            return ["the entry has no request"]
        answer = self._client.call(request["wsfunction"], request["params"], sending_of(entry))
        return self._transport_differences(entry, answer) + self._answer_differences(
            entry, answer, kind_of(request["wsfunction"])
        )

    def _transport_differences(self, entry: Entry, answer: Answer) -> list[str]:
        pairs: list[tuple[str, Any, Any]] = []
        if "status" in entry.fields:
            pairs.append(("status", entry.fields["status"], answer.status))
            pairs.append(("content type", entry.fields["content_type"], answer.content_type))
        for name, value in (entry.fields.get("headers") or {}).items():
            pairs.append((name, value, answer.headers.get(name)))
        return [f"{what}: expected {old!r}, got {new!r}" for what, old, new in pairs if old != new]

    def _answer_differences(self, entry: Entry, answer: Answer, kind: str) -> list[str]:
        if "count" in entry.fields:  # the recorder kept the number of users and the warnings
            users = answer.value["users"]
            wanted = {"_users_count": entry.fields["count"], "_first": users[0] if users else None}
            expected = {**wanted, "warnings": entry.fields["warnings"]}
        elif isinstance(entry.expected, str):  # the recorder kept its own rendering of the object
            expected = ast.literal_eval(entry.expected)
        else:
            expected = entry.expected
        return body_differences(self._naming.value(expected), answer.body, self._ids, kind=kind)

    def _look(self, entry: Entry, query: str, names: tuple[str, ...]) -> list[str]:
        rows = look_into(self._moodle.data_file, query, tuple(self._naming.text(name) for name in names))
        # The recorder's shell cut what is white at the end of the whole.
        actual = "\n".join("\t".join(str(column) for column in row) for row in rows).rstrip("\t\n")
        return differences(recorded_look(entry, self._naming), actual, self._ids, kind="user", path="rows")


def look_into(data_file: Path, query: str, arguments: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """Return rows of the stand-in's database, read beside the running site."""
    database = sqlite3.connect(f"file:{data_file}?mode=ro", uri=True)
    try:
        return database.execute(query, arguments).fetchall()
    finally:
        database.close()
