"""The CloudEvents envelope: what is written reads back, and what is not ours is refused with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from schemas import catalogue
from schemas.account import Hold, Lane, Stage
from schemas.envelope import (
    EnvelopeError,
    ForeignSource,
    Headers,
    InvalidData,
    Message,
    NotAnEvent,
    UnknownType,
    WrongKey,
    WrongTopic,
    event_id,
    from_record,
    to_record,
)
from schemas.events import (
    EVENT_TYPES,
    AccountChanged,
    Cause,
    EnrolmentRecorded,
    PropagationCompleted,
    TargetWaiting,
)

NUMBER = "22604711"
RENTREE = datetime(2026, 9, 1, 8, 30, 0, 250_000, tzinfo=UTC)
EXAMPLES = Path(__file__).parents[3] / "schemas" / "examples"

MESSAGE = Message(
    id=event_id(AccountChanged.type, "registry", 3, "4f2a", 1),
    source="/sesame/registry",
    time=RENTREE,
    event=AccountChanged(
        student_number=NUMBER,
        version=3,
        stage=Stage.ACTIVE,
        holds=(Hold.SUSPENDED,),
        lane=Lane.PERSONAL,
        cause=Cause.ACTIVATION,
    ),
    caused_by="4f2a",
)
HEADERS, VALUE = to_record(MESSAGE)


def changed(**headers: bytes | None) -> Headers:
    """The headers with some changed, added, or (None) left out."""
    named = {name.replace("_", "-", 1) if name == "content_type" else name: v for name, v in headers.items()}
    kept = tuple((name, value) for name, value in HEADERS if name not in named)
    return kept + tuple((name, value) for name, value in named.items() if value is not None)


# --- writing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/valid-*.json")), ids=lambda path: path.stem)
def test_every_event_comes_back_as_it_was_sent(path: Path) -> None:
    event = EVENT_TYPES[path.parent.name].from_json(path.read_text(encoding="utf-8"))
    message = Message("id-1", "/sesame/moodle", RENTREE, event)
    headers, value = to_record(message)
    assert from_record(event.student_number, headers, value) == message


def test_a_record_is_a_cloudevent_in_the_binary_mode_of_the_kafka_binding() -> None:
    headers = dict(HEADERS)
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": MESSAGE.id.encode(),
        "ce_source": b"/sesame/registry",
        "ce_type": b"fr.sesame.account.changed.v1",
        "ce_time": headers["ce_time"],
        "ce_subject": NUMBER.encode(),
        "ce_partitionkey": NUMBER.encode(),
        "ce_causationid": b"4f2a",
        "content-type": b"application/json",
    }
    assert datetime.fromisoformat(headers["ce_time"].decode()) == RENTREE
    assert json.loads(VALUE) == {
        "student_number": NUMBER,
        "version": 3,
        "stage": "active",
        "holds": ["suspended"],
        "lane": "personal",
        "cause": "activation",
    }


def test_any_cloudevents_library_reads_it() -> None:
    read = from_binary(KafkaMessage(dict(HEADERS), NUMBER, VALUE), JSONFormat(), CloudEvent)
    assert (read.get_id(), read.get_type()) == (MESSAGE.id, AccountChanged.type)


def test_a_time_is_written_in_utc_whatever_its_zone() -> None:
    paris = timezone(timedelta(hours=2))
    headers, value = to_record(replace(MESSAGE, time=RENTREE.astimezone(paris)))
    assert dict(headers)["ce_time"] == dict(HEADERS)["ce_time"]
    assert from_record(NUMBER, headers, value).time.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_not_written() -> None:
    with pytest.raises(ValueError, match="zone"):
        to_record(replace(MESSAGE, time=RENTREE.replace(tzinfo=None)))


def test_what_is_unknown_is_left_out_rather_than_null() -> None:
    event = EVENT_TYPES["fr.sesame.activation.requested.v1"](student_number=NUMBER)
    headers, value = to_record(Message("id-1", "/sesame/activation", RENTREE, event))
    assert json.loads(value) == {"student_number": NUMBER}
    assert "ce_causationid" not in dict(headers)


def test_french_and_other_letters_come_back() -> None:
    known = json.loads((EXAMPLES / EnrolmentRecorded.type / "valid-everything-known.json").read_text())
    known |= {"student_number": NUMBER, "given_name": "Zoé 學生", "birth_name": "N’Guyen-Łuczak"}
    event = EnrolmentRecorded.from_json(json.dumps(known))
    headers, value = to_record(replace(MESSAGE, event=event))
    assert from_record(NUMBER, headers, value).event == event


def test_the_emitter_is_the_source_without_its_prefix() -> None:
    assert MESSAGE.emitter == "registry"


# --- identifiers ------------------------------------------------------------------------------------------


def test_the_same_fact_has_the_same_id_and_another_attempt_another_one() -> None:
    def outcome(*parts: str | int | None) -> str:
        return event_id(TargetWaiting.type, "moodle", *parts)

    assert outcome(3, "4f2a", 1) == outcome(3, "4f2a", 1)
    others = {outcome(3, "4f2a", 2), outcome(4, "4f2a", 1), outcome(3, "4f2b", 1), outcome(3, None, 1)}
    assert len(others | {outcome(3, "4f2a", 1), event_id(TargetWaiting.type, "mailbox", 3, "4f2a", 1)}) == 6


def test_parts_of_an_id_do_not_run_into_one_another() -> None:
    assert event_id("t", "e", "12", "3") != event_id("t", "e", "1", "23")


# --- reading what is not ours -------------------------------------------------------------------------------


def refused(
    error: type[EnvelopeError], key: str = NUMBER, headers: Headers = HEADERS, value: bytes = VALUE
) -> str:
    with pytest.raises(EnvelopeError) as caught:
        from_record(key, headers, value)
    assert type(caught.value) is error
    return str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        changed(ce_specversion=None),
        changed(ce_specversion=b"0.3"),
        changed(ce_id=None),
        changed(ce_id=b""),
        changed(ce_source=None),
        changed(ce_type=None),
        changed(ce_time=None),
        changed(ce_time=b"hier"),
        changed(ce_time=b"2026-09-01T08:30:00"),
        changed(ce_id=b"\xff\xfe"),
        changed(ce_causationid=b"\xff"),
        (*HEADERS, ("ce_id", b"another")),
        (*HEADERS, ("CE_ID", b"another")),
        (("ce_specversion", bytes(range(256))),),
    ],
    ids=lambda headers: ",".join(f"{name}={value!r}"[:40] for name, value in headers[-1:]),
)
def test_headers_that_are_no_cloudevent_s_are_refused(headers: Headers) -> None:
    refused(NotAnEvent, headers=headers)


def test_a_missing_id_is_never_made_up() -> None:
    assert "ce_id" in refused(NotAnEvent, headers=changed(ce_id=None))


def test_headers_of_others_beside_ours_are_let_through_even_twice() -> None:
    others = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("x", b"\xff"))
    headers = others + HEADERS + others
    assert from_record(NUMBER, headers, VALUE) == MESSAGE


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"3",
        b"\xff\xfe\x00",
        VALUE[:-1],
        VALUE + b"}",
        b"[" * 100_000,
        b'{"version":' + b"9" * 5_000 + b"}",
    ],
    ids=lambda value: repr(value[:12]),
)
def test_a_value_that_is_no_json_object_is_refused(value: bytes) -> None:
    refused(NotAnEvent, value=value)


@pytest.mark.parametrize(
    "value",
    [
        VALUE.replace(b'"version": 3', b'"version":"3"'),
        VALUE.replace(b'"version": 3', b'"version":NaN'),
        VALUE.replace(b'"active"', b'"\\ud800"'),
        b"{}",
        b'{"student_number":"22604711","version":' + b"[" * 300 + b"]" * 300 + b"}",
    ],
    ids=["text for a number", "not a number", "half a character", "empty", "deep"],
)
def test_data_that_does_not_fit_its_schema_is_refused(value: bytes) -> None:
    assert value != VALUE
    refused(InvalidData, value=value)


def test_the_refusal_names_the_fields_and_never_their_values() -> None:
    value = VALUE.replace(b'"active"', '"Zoé Lefèvre"'.encode()).replace(b'"version": 3', b'"version": -3')
    told = refused(InvalidData, value=value)
    assert told == "fr.sesame.account.changed.v1: wrong in stage, version"


@pytest.mark.parametrize(
    "type_", [b"fr.sesame.account.changed.v2", b"fr.sesame.account.changed", b"fr.sesame.account.closed.v1"]
)
def test_a_type_or_a_version_of_tomorrow_is_unknown(type_: bytes) -> None:
    assert type_.decode() in refused(UnknownType, headers=changed(ce_type=type_))


@pytest.mark.parametrize("prefix", [b"com.example.", b"fr.sesame."])
def test_another_s_type_is_unknown_and_its_name_is_not_repeated(prefix: bytes) -> None:
    told = refused(UnknownType, headers=changed(ce_type=prefix + "Zoé Lefèvre".encode() * 1_000))
    assert "Lef" not in told
    assert len(told) < 250


@pytest.mark.parametrize(
    "source",
    [b"https://portail.example/zoe", b"/sesame", b"/sesame/", "/sesame/Zoé".encode(), b"/sesame/a/b"],
)
def test_an_event_of_somebody_else_s_is_refused_and_its_source_not_repeated(source: bytes) -> None:
    told = refused(ForeignSource, headers=changed(ce_source=source))
    assert "zo" not in told.lower()


@pytest.mark.parametrize("id_", [b"x" * 65, "Zoé Lefevre".encode(), b"a b", b"a\nb"])
@pytest.mark.parametrize("header", ["ce_id", "ce_causationid"])
def test_an_id_that_no_table_takes_is_no_id(header: str, id_: bytes) -> None:
    told = refused(NotAnEvent, headers=changed(**{header: id_}))
    assert "Lefevre" not in told


def test_an_event_on_a_topic_of_other_types_is_refused_and_on_its_own_it_is_read() -> None:
    for topic in (None, *catalogue.both_lanes(catalogue.ACCOUNTS)):
        assert from_record(NUMBER, HEADERS, VALUE, topic=topic) == MESSAGE
    with pytest.raises(WrongTopic, match=r"does not travel on sesame\.enrolments"):
        from_record(NUMBER, HEADERS, VALUE, topic=catalogue.ENROLMENTS)


def test_a_key_of_a_table_is_not_repeated_by_the_refusal_of_its_value() -> None:
    path = next(EXAMPLES.glob(f"{PropagationCompleted.type}/valid-*.json"))
    data = json.loads(path.read_text(encoding="utf-8")) | {"student_number": NUMBER}
    data["targets_s"] = {"Zoé Lefèvre": -1}
    headers = changed(ce_type=PropagationCompleted.type.encode())
    told = refused(InvalidData, headers=headers, value=json.dumps(data).encode())
    assert told == f"{PropagationCompleted.type}: wrong in targets_s"


@pytest.mark.parametrize("key", ["22604712", "", " 22604711", "22604711\n"])
def test_a_key_that_is_not_the_student_number_is_refused(key: str) -> None:
    told = refused(WrongKey, key=key)
    assert NUMBER not in told


def test_each_refusal_has_a_cause_of_its_own_for_the_dead_letters() -> None:
    refusals: list[type[EnvelopeError]] = [EnvelopeError, *EnvelopeError.__subclasses__()]
    causes = [refusal.cause for refusal in refusals]
    assert len(causes) == 7
    assert len(set(causes)) == len(causes)


def test_a_value_of_5_mb_is_judged_like_any_other() -> None:
    padded = VALUE[:-1] + b',"note":"' + b"x" * 5_000_000 + b'"}'
    assert from_record(NUMBER, HEADERS, padded) == MESSAGE
    refused(InvalidData, value=VALUE.replace(b"activation", b"x" * 5_000_000))
    refused(NotAnEvent, value=b"x" * 5_000_000)


def test_a_field_of_a_newer_writer_is_ignored() -> None:
    assert from_record(NUMBER, HEADERS, VALUE[:-1] + b',"campus":"\xc3\x89vry"}') == MESSAGE


def test_the_content_type_may_say_its_charset() -> None:
    headers = changed(content_type=b"application/json; charset=utf-8")
    assert from_record(NUMBER, headers, VALUE) == MESSAGE


@given(
    st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=12)), max_size=4),
    st.binary(max_size=40),
    st.sampled_from([lambda headers: headers, lambda headers: HEADERS + headers]),
)
def test_whatever_is_on_the_log_reading_ends_in_a_refusal_and_never_in_a_crash(
    headers: list[tuple[str, bytes]], value: bytes, mixed: Callable[[Headers], Headers]
) -> None:
    with pytest.raises(EnvelopeError):
        from_record(NUMBER, mixed(tuple(headers)), value)
