"""A record's content comes back unchanged; what the log refuses it refuses whole."""

from __future__ import annotations

import time

import pytest

from pipeline.eventlog.port import (
    RECORD_BYTES_MAX,
    EventLog,
    Headers,
    NewRecord,
    Producer,
    RecordTooLarge,
    UnknownTopic,
)
from sesame.testing.eventlog.fixtures import Join, NewTopic
from sesame.testing.eventlog.kit import read


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("ce_id", b"4f2a"), ("ce_type", b"fr.sesame.account.changed.v1")),
        (("every-byte", bytes(range(256))),),
        (("empty", b""), ("", b"no name")),
        (("trace", b"2"), ("other", b"x"), ("trace", b"1"), ("trace", b"2")),
        (("étape-€", "Licence à Évry".encode()),),
    ],
    ids=["none", "text", "binary", "empty", "repeated names in order", "unicode"],
)
def test_headers_come_back_byte_for_byte_in_their_order(
    headers: Headers, producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    producer.append([NewRecord(topic, "22604711", b"{}", headers)])
    (record,) = read(join(topic), 1)
    assert record.headers == headers


@pytest.mark.parametrize(
    "key",
    [
        "22604711",
        "é",
        "e\N{COMBINING ACUTE ACCENT}",
        "學生-\U0001f600",
        "a\x00b",
        "K" * 500,
    ],
)
def test_a_key_comes_back_as_it_was_whatever_its_characters(
    key: str, producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic(4)
    producer.append([NewRecord(topic, key, b"x")])
    (record,) = read(join(topic), 1)
    assert record.key == key


@pytest.mark.parametrize("value", [b"", b"\x00", bytes(range(256)) * 3], ids=["empty", "nul", "binary"])
def test_a_value_comes_back_byte_for_byte(
    value: bytes, producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    producer.append([NewRecord(topic, "22604711", value)])
    (record,) = read(join(topic), 1)
    assert record.value == value


def test_records_of_the_largest_size_are_taken_and_read_one_after_the_other(
    producer: Producer, new_topic: NewTopic, join: Join
) -> None:
    topic = new_topic()
    values = [bytes([number]) * RECORD_BYTES_MAX for number in range(25)]
    producer.append([NewRecord(topic, "22604711", value) for value in values[:5]])
    for value in values[5:]:
        producer.append([NewRecord(topic, "22604711", value)])
    assert [record.value for record in read(join(topic), 25)] == values


def test_a_record_that_is_too_large_is_refused_with_its_whole_batch(
    producer: Producer, new_topic: NewTopic, log: EventLog
) -> None:
    topic = new_topic()
    small, large = NewRecord(topic, "a", b"x"), NewRecord(topic, "b", b"x" * (RECORD_BYTES_MAX + 1))
    with pytest.raises(RecordTooLarge, match=str(RECORD_BYTES_MAX)):
        producer.append([small, large])
    assert set(log.end_offsets(topic).values()) == {0}


def test_a_record_for_an_unknown_topic_is_refused_with_its_whole_batch(
    producer: Producer, new_topic: NewTopic, log: EventLog
) -> None:
    topic = new_topic()
    with pytest.raises(UnknownTopic, match=r"sesame\.nowhere"):
        producer.append([NewRecord(topic, "a", b"x"), NewRecord("sesame.nowhere", "a", b"x")])
    assert set(log.end_offsets(topic).values()) == {0}


def test_an_empty_batch_is_no_append(producer: Producer, new_topic: NewTopic, log: EventLog) -> None:
    topic = new_topic()
    assert producer.append([]) == []
    assert set(log.end_offsets(topic).values()) == {0}


def test_a_record_says_when_it_was_appended(producer: Producer, new_topic: NewTopic, join: Join) -> None:
    topic = new_topic()
    before_ms = int(time.time() * 1000)
    producer.append([NewRecord(topic, "22604711", b"x")])
    after_ms = int(time.time() * 1000)
    (record,) = read(join(topic), 1)
    assert before_ms <= record.timestamp_ms <= after_ms
