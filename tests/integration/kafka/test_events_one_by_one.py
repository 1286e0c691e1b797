"""Bad events, met one by one by everybody who reads them, in a whole site that runs.

Each case is thrown on each topic that somebody reads, all into one partition, between events that are good.
The table knows nothing of the log's adapter: `LOGS` says over which ones it is played.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.dead_letters.rows import DeadLetter
from pipeline.eventlog.port import Headers, NewRecord, RecordTooLarge
from schemas import catalogue
from schemas.asyncapi import COMPONENTS
from schemas.envelope import EnvelopeError, Message, event_id, to_record
from schemas.events import EVENT_TYPES, ActivationRequested
from sesame.operations.people.diagnosis.reasons import explain
from sesame.testing.servers.waiting import until
from tests.integration.targets.site_kit import Site, running

LEA, PAUL, STRANGER = "22600001", "22600002", "22699999"
MARK = "Lefèvre-Zoé"
"""Somebody's name, in everything that is bad: it must be found nowhere else."""

TARGETS = ("directory", "mailbox", "moodle")
ONE_PARTITION = f"targets = {json.dumps(TARGETS)}\nlog.partitions = 1\n"
LOGS = {"embedded": ONE_PARTITION}
EXAMPLES = Path(__file__).parents[3] / "schemas" / "examples"


@dataclass(frozen=True)
class Thrown:
    """A record as it is thrown. Its topic is said beside it."""

    key: str
    headers: Headers
    value: bytes

    def with_header(self, name: str, value: bytes | None) -> Thrown:
        """With another value of a header; None: without it."""
        kept = tuple((each, said) for each, said in self.headers if each != name)
        return Thrown(self.key, kept if value is None else (*kept, (name, value)), self.value)

    def with_value(self, value: bytes) -> Thrown:
        """With another value."""
        return Thrown(self.key, self.headers, value)

    def with_field(self, name: str, value: object) -> Thrown:
        """With another value of a field."""
        return self.with_value(json.dumps(json.loads(self.value) | {name: value}).encode())


def good(topic: str, number: str = STRANGER) -> Thrown:
    """An event that this topic carries, of a student whom nobody knows."""
    model = catalogue.TOPICS[topic].types[0]
    example = min((EXAMPLES / model.type).glob("valid-*.json"))
    data = json.loads(example.read_text(encoding="utf-8")) | {"student_number": number}
    event, identity = model.from_json(json.dumps(data)), event_id(model.type, "test", topic)
    message = Message(identity, "/sesame/test", datetime.now(UTC), event)
    return Thrown(number, *to_record(message))


def elsewhere(event: Thrown) -> Thrown:
    """Of a type that no topic with a reader carries."""
    late = "fr.sesame.propagation.late.v1"
    example = min((EXAMPLES / late).glob("valid-*.json"))
    data = json.loads(example.read_text(encoding="utf-8")) | {"student_number": STRANGER}
    return event.with_header("ce_type", late.encode()).with_value(json.dumps(data).encode())


CASES: dict[str, tuple[str, Callable[[Thrown], Thrown]]] = {
    "no CloudEvent": ("not_an_event", lambda event: Thrown(event.key, (), f"bonjour {MARK}".encode())),
    "JSON, but no CloudEvent": (
        "not_an_event",
        lambda event: Thrown(event.key, (("content-type", b"application/json"),), event.value),
    ),
    "structured mode": (
        "not_an_event",
        lambda event: Thrown(event.key, (("content-type", b"application/cloudevents+json"),), event.value),
    ),
    "no id": ("not_an_event", lambda event: event.with_header("ce_id", None)),
    "an id of 10 kB": ("not_an_event", lambda event: event.with_header("ce_id", b"x" * 10_000)),
    "an id that is a name": ("not_an_event", lambda event: event.with_header("ce_id", MARK.encode())),
    "no time": ("not_an_event", lambda event: event.with_header("ce_time", None)),
    "broken JSON": ("not_an_event", lambda event: event.with_value(event.value[:-1])),
    "an empty value": ("not_an_event", lambda event: event.with_value(b"")),
    "NUL bytes": ("not_an_event", lambda event: event.with_value(b"\x00" * 64)),
    "a list": ("not_an_event", lambda event: event.with_value(b"[1, 2]")),
    "5 MB": ("not_an_event", lambda event: event.with_value(MARK.encode() * 400_000)),
    "a foreign source": (
        "foreign_source",
        lambda event: event.with_header("ce_source", f"https://portail.example/{MARK}".encode()),
    ),
    "an unknown type": ("unknown_event_type", lambda event: event.with_header("ce_type", MARK.encode())),
    "a type of tomorrow": (
        "unknown_event_type",
        lambda event: event.with_header("ce_type", b"fr.sesame.account.closed.v1"),
    ),
    "a version of tomorrow": (
        "unknown_event_type",
        lambda event: event.with_header("ce_type", dict(event.headers)["ce_type"][:-1] + b"9"),
    ),
    "a type of another topic": ("wrong_topic", elsewhere),
    "no key": ("wrong_key", lambda event: Thrown("", event.headers, event.value)),
    "somebody else's key": ("wrong_key", lambda event: Thrown(MARK, event.headers, event.value)),
    "a number as text": ("invalid_event_data", lambda event: event.with_field("student_number", 22600001)),
    "a name for a number": ("invalid_event_data", lambda event: event.with_field("student_number", MARK)),
}

READ = sorted({topic for component in COMPONENTS for topic in component.reads})
RUN = {"registry", "propagation", *TARGETS}
REMEDIES = {refusal.cause: refusal.remedy for refusal in EnvelopeError.__subclasses__()}


def readers(topic: str) -> set[str]:
    """Who reads a topic, of those who run here, as the AsyncAPI document has it."""
    return {component.name for component in COMPONENTS if topic in component.reads} & RUN


@pytest.fixture(params=sorted(LOGS))
def site(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    # A foreign producer keeps to no bound of ours, and other logs' bounds are their own.
    monkeypatch.setattr("pipeline.eventlog.sqlite.RECORD_BYTES_MAX", 10_000_000)
    site = Site(tmp_path / "site", LOGS[request.param], in_memory=TARGETS)
    yield site
    site.close()


def complete(site: Site, number: str) -> bool:
    person = site.person(number)
    return person is not None and person.state == "completed"


def test_each_bad_event_is_a_dead_letter_with_its_place_and_remedy_and_the_rest_goes_on(
    site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    expected: dict[tuple[str, str, int, int], str] = {}

    def throw(topic: str, cause: str, record: Thrown) -> None:
        (_, partition), offset = site.throw(topic, record.key, record.value, record.headers)
        for reader in readers(topic):
            expected[reader, topic, partition, offset] = cause

    site.enrol_and_activate(LEA, "Martin", "Léa")
    for topic in READ:
        for cause, spoil in CASES.values():
            throw(topic, cause, spoil(good(topic)))
    site.enrol_and_activate(PAUL, "Durand", "Paul")

    with running(site):
        until(lambda: complete(site, LEA) and complete(site, PAUL), site.consumers)
        until(lambda: len(bad(site)) >= len(expected), lambda: (len(bad(site)), len(expected)))
    letters = bad(site)
    assert {place(letter): letter.cause for letter in letters} == expected
    assert len(letters) == len(expected)
    for letter in letters:
        assert letter.message.startswith(f"{letter.topic}/{letter.partition}@{letter.offset}: ")
        assert letter.message.endswith(REMEDIES[letter.cause])
        assert letter.student_number is None
        assert explain(letter.cause).kind == "dead"
    assert site.consumers() == {}, "who ends as it should is not missed"

    with running(site):  # nothing comes again
        site.enrol_and_activate("22600003", "Petit", "Anne")
        until(lambda: complete(site, "22600003"), site.consumers)
    assert bad(site) == letters
    assert complete(site, LEA)

    said = capfd.readouterr()
    shown = json.dumps([letter.__dict__ for letter in letters], ensure_ascii=False)
    announced = list(site.records(catalogue.DEAD_LETTERS))
    for text in (said.out, said.err, shown, repr(site.consumers()), repr(announced)):
        assert MARK not in text
        assert "Zo" not in text


def place(letter: DeadLetter) -> tuple[str, str, int, int]:
    assert letter.topic is not None
    assert letter.partition is not None
    assert letter.offset is not None
    return letter.consumer, letter.topic, letter.partition, letter.offset


def bad(site: Site) -> list[DeadLetter]:
    return sorted((letter for letter in site.letters() if letter.cause in REMEDIES), key=place)


def test_events_that_fit_but_cannot_be_true_are_dead_letters_too(site: Site) -> None:
    site.enrol_and_activate(LEA, "Martin", "Léa")
    accounts, outcomes = (catalogue.both_lanes(each) for each in (catalogue.ACCOUNTS, catalogue.OUTCOMES))
    for topic in (*accounts, *outcomes):
        event = good(topic, str(22699000 + READ.index(topic)))  # bells of one student would be one turn
        site.throw(topic, event.key, event.value, event.headers)
    expected = {
        ("unknown_student", target, topic) for target in ("directory", "moodle") for topic in accounts
    }
    expected |= {("unknown_version", "propagation", topic) for topic in outcomes}

    def seen() -> set[tuple[str, str, str | None]]:
        return {(each.cause, each.consumer, each.topic) for each in site.letters()}

    with running(site):
        until(lambda: complete(site, LEA), site.consumers)
        until(lambda: expected <= seen(), seen)
    for letter in site.letters():
        assert letter.offset is not None
        assert explain(letter.cause).next


def test_a_producer_of_ours_is_told_that_its_record_is_too_large_and_nothing_is_appended(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    event, large = good(catalogue.ACTIVATIONS), b"x" * 5_000_000
    records = [
        NewRecord(catalogue.ACTIVATIONS, event.key, event.value, event.headers),
        NewRecord(catalogue.ACTIVATIONS, STRANGER, large, event.headers),
    ]
    with pytest.raises(RecordTooLarge, match="5000000") as refused:
        site.producer.append(records)
    assert catalogue.ACTIVATIONS in str(refused.value)
    assert set(site.log.end_offsets(catalogue.ACTIVATIONS).values()) == {0}


def test_an_event_of_a_newer_writer_with_fields_that_nobody_knows_is_read(site: Site) -> None:
    model = ActivationRequested(student_number=LEA)
    site.enrol_and_activate(PAUL, "Durand", "Paul")
    headers, value = to_record(Message("newer", "/sesame/test", datetime.now(UTC), model))
    assert EVENT_TYPES[model.type] is ActivationRequested
    padded = value[:-1] + b', "campus": "' + b"x" * 900_000 + b'"}'
    site.throw(catalogue.ACTIVATIONS, LEA, padded, headers)
    site.enrol_and_activate(LEA, "Martin", "Léa")
    with running(site):
        until(lambda: complete(site, LEA) and complete(site, PAUL), site.consumers)
    assert bad(site) == []
