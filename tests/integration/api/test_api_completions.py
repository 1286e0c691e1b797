"""Completions as a stream: nothing is missed by who is cut off, nothing is sent twice, nobody is named."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import audit
from pipeline.eventlog.port import NewRecord
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import Message, to_record
from schemas.events import PropagationCompleted, PropagationLate
from sesame.operations.programs import tokens
from sesame.web.api import completions
from tests.integration.api.api_kit import CAMILLE, ApiWorld, Ticking, api_world

NOW = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ApiWorld]:
    with api_world(tmp_path, f"sqlite:///{tmp_path / 'store.db'}") as made:
        yield made


def say(world: ApiWorld, *numbers: str, version: int = 1) -> None:
    """Let propagation say that these are complete; and of each that it is late, which nobody asked for."""
    for number in numbers:
        late = PropagationLate(
            student_number=number, version=version, opened_at=NOW, elapsed_s=901.0, outstanding=("moodle",)
        )
        completed = PropagationCompleted(
            student_number=number,
            version=version,
            lane=Lane.PERSONAL,
            window="within_60_min",
            opened_at=NOW,
            completed_at=NOW,
            elapsed_s=960.0,
            waited_s=0.0,
            targets_s={"moodle": 960.0},
        )
        for event in (late, completed):
            message = Message(
                id=f"{event.type[-9:]}-{number}", source="/sesame/propagation", time=NOW, event=event
            )
            headers, value = to_record(message)
            world.site.producer.append([NewRecord(catalogue.PROPAGATION, number, value, headers)])


@dataclass(frozen=True)
class Told:
    """One server-sent event."""

    id: str
    event: str
    data: Any


def events(lines: Iterator[str]) -> Iterator[Told]:
    """As a browser reads them; written for these tests (WHATWG HTML, 9.2.6)."""
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif not line and "data" in fields:
            yield Told(fields["id"], fields["event"], json.loads(fields.pop("data")))


def numbers(found: list[Told]) -> list[str]:
    return sorted(each.data["student_number"] for each in found)


def all_of(world: ApiWorld, query: str = "", last: str | None = None) -> list[Told]:
    headers = {} if last is None else {"Last-Event-ID": last}
    answered = world.get(f"/completions?wait=false{query}", "completions.follow", headers=headers)
    assert answered.status_code == 200, answered.text
    assert answered.headers["content-type"].startswith("text/event-stream")
    assert answered.headers["cache-control"] == "no-store"
    return list(events(iter(answered.text.splitlines())))


@contextmanager
def streaming(world: ApiWorld, last: str | None = None, token: str | None = None) -> Iterator[Iterator[Told]]:
    headers = {"Authorization": f"Bearer {token or world.token('completions.follow')}"}
    if last is not None:
        headers["Last-Event-ID"] = last
    with world.client.stream("GET", "/v1/completions", headers=headers) as answered:
        assert answered.status_code == 200
        lines = answered.iter_lines()
        assert next(lines).startswith((":", "retry"))
        yield events(lines)


def test_each_completion_that_is_kept_is_told_once_by_number(world: ApiWorld) -> None:
    students = [f"2260{n:04}" for n in range(40)]
    say(world, *students)
    found = all_of(world, "&everything=true")
    assert numbers(found) == students
    assert {each.event for each in found} == {"fr.sesame.propagation.completed.v1"}
    assert found[0].data["elapsed_s"] == 960.0
    assert set(found[0].data) == {
        *("student_number", "version", "lane", "window", "opened_at", "completed_at", "elapsed_s"),
        *("waited_s", "targets_s"),
    }
    assert all_of(world) == [], "and from now on, nothing"
    with world.site.database.read() as connection:
        noted = [each.action for each in audit.entries(connection, limit=9)]
    assert noted.count("completions.follow") == 2


def test_whoever_was_cut_off_anywhere_goes_on_without_gap_and_without_repetition(world: ApiWorld) -> None:
    students = [f"2260{n:04}" for n in range(12)]
    say(world, *students)
    whole = all_of(world, "&everything=true")
    for cut, each in enumerate(whole):
        rest = all_of(world, last=each.id)
        assert numbers(whole[: cut + 1] + rest) == students, cut
    say(world, "22700001")
    assert numbers(all_of(world, last=whole[-1].id)) == ["22700001"]


def test_what_happens_while_somebody_listens_is_told_at_once(world: ApiWorld) -> None:
    with streaming(world) as stream:
        say(world, "22600001")
        first = next(stream)
        say(world, "22600002")
        second = next(stream)
    assert numbers([first, second]) == ["22600001", "22600002"]
    say(world, "22600003")
    with streaming(world, last=second.id) as stream:
        assert numbers([next(stream)]) == ["22600003"]


def test_a_place_outlives_the_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with api_world(tmp_path, url) as world:
        say(world, "22600001", "22600002")
        place = all_of(world, "&everything=true")[0]
        token = world.token("completions.follow")
    with api_world(tmp_path, url, again=True) as world:
        say(world, "22600003")
        answered = world.get(
            "/completions?wait=false", token=token, headers={"Last-Event-ID": place.id}
        ).text.splitlines()
        rest = list(events(iter(answered)))
    assert numbers([place, *rest]) == ["22600001", "22600002", "22600003"]


def test_a_place_that_is_none_or_is_gone_is_a_problem_and_no_silent_jump(world: ApiWorld) -> None:
    say(world, "22600001")
    for place, status in (
        ("forged", 422),
        ("", 422),
        ("0:1,x", 422),
        ("8:0", 422),
        ("0:999999", 410),
        ("0:" + "9" * 30, 422),
    ):
        answered = world.get("/completions?wait=false", headers={"Last-Event-ID": place})
        assert answered.status_code == status, (place, answered.text)
        assert answered.headers["content-type"] == "application/problem+json"


def test_who_was_erased_is_not_told_of(world: ApiWorld) -> None:
    say(world, "22600001", "22600002")
    assert world.site.erase_in_log("22600001", "erased-0123456789abcdef", math.inf) is not None
    assert numbers(all_of(world, "&everything=true")) == ["22600002"]


def test_a_stream_ends_when_its_token_is_revoked(world: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ticking = Ticking()
    monkeypatch.setattr(completions, "time", SimpleNamespace(monotonic=ticking))
    with streaming(world, token=world.token("support")) as stream:
        say(world, "22600001")
        assert numbers([next(stream)]) == ["22600001"]
        tokens.revoke(world.site, CAMILLE, world.token("support").split("_")[1])
        ticking.now += 4.0  # a wait for events is one second more
        say(world, "22600002")
        assert list(stream) == []


def test_places_are_bounded_and_given_back(world: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completions, "_places", threading.BoundedSemaphore(1))
    with streaming(world):
        refused = world.get("/completions")
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:sesame:error:TooManyReaders"
    world.client.close()
    with completions._places:  # noqa: SLF001 (waits until it is given back)
        pass
