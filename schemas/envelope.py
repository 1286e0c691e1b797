"""The CloudEvents 1.0 envelope in the Kafka binding's binary mode: attributes in headers, data as value.

The only file that imports the CloudEvents library. Sources: CloudEvents 1.0.2, its Kafka protocol binding,
and the partitioning extension (`partitionkey`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from cloudevents.core.bindings import kafka as binding
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from pydantic import ValidationError

from schemas.account import utc
from schemas.catalogue import TOPICS
from schemas.events import EVENT_TYPES, TYPE_PREFIX, Event

Headers = tuple[tuple[str, bytes], ...]
_FORMAT = JSONFormat()
SOURCE_PREFIX = "/sesame/"
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")  # what tables, headers and logs take as it is
_OURS = re.compile(r"/sesame/[a-z][a-z0-9_-]{0,63}")
_TYPE = re.compile(re.escape(TYPE_PREFIX) + r"[a-z.]{1,60}(\.v[0-9]{1,3})?")
_REQUIRED = frozenset({"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"})


_STOP = "find the producer that is not ours (the record's headers may name it), and stop it"
_MEND = "mend the producer, then let it publish the fact again"


class EnvelopeError(ValueError):
    """The record is not an event that this version understands. The text never repeats what the record says,
    but for names of Sésame's own types and fields: anything else in it may be a person's.

    Attributes:
        cause: of the dead letter.
        remedy: what to do, in the operator's words.
    """

    cause: ClassVar[str] = "unreadable_event"
    remedy: ClassVar[str] = "look at the record"


class NotAnEvent(EnvelopeError):
    """The record is no CloudEvent in binary mode, or its data is not JSON: it was written by a producer that
    is not ours. Find that producer (the record's headers may name it) and stop it."""

    cause = "not_an_event"
    remedy = _STOP


class ForeignSource(EnvelopeError):
    """The event says that it comes from somebody else than Sésame: its source does not begin with
    `/sesame/`. Find that producer and stop it, or have it name a source of ours."""

    cause = "foreign_source"
    remedy = _STOP


class UnknownType(EnvelopeError):
    """The event's type or version is unknown to this version of Sésame. Upgrade the consumer, then replay."""

    cause = "unknown_event_type"
    remedy = "upgrade, then let its producer publish it again"


class WrongTopic(EnvelopeError):
    """The event is on a topic that does not carry its type: it would pass in the wrong lane, be kept for too
    long, or be read by nobody. Mend the producer, then let it publish the event again."""

    cause = "wrong_topic"
    remedy = _MEND


class InvalidData(EnvelopeError):
    """The event's data does not fit its schema. Mend the producer, then let it publish the fact again."""

    cause = "invalid_event_data"
    remedy = _MEND


class WrongKey(EnvelopeError):
    """The record's key is missing, or not the student number that its data names: its order cannot be
    trusted. Mend the producer, then let it publish the fact again."""

    cause = "wrong_key"
    remedy = _MEND


@dataclass(frozen=True)
class Message:
    """An event in its envelope.

    Attributes:
        id: recognises a redelivery; see `event_id`.
        source: `/sesame/` and the emitter's name, e.g. `/sesame/registry`.
        time: when it happened, UTC. For a person's act this opens the window.
        caused_by: the id of the event that led to this one, if any.
    """

    id: str
    source: str
    time: datetime
    event: Event
    caused_by: str | None = None

    @property
    def emitter(self) -> str:
        """The emitter's name, without the prefix."""
        return self.source.removeprefix(SOURCE_PREFIX)


def event_id(event_type: str, emitter: str, *parts: str | int | None) -> str:
    """The id of an event: a hash of its type, its emitter and what tells it from the next one.

    For an outcome they are target, student, account version, cause and attempt: a redelivery has the same id,
    a replay another one.
    """
    text = "\x1f".join([event_type, emitter, *("" if part is None else str(part) for part in parts)])
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def to_record(message: Message) -> tuple[Headers, bytes]:
    """Return the headers and value of a message's record. Raises ValueError for a time without a zone."""
    attributes: dict[str, object] = {
        "id": message.id,
        "source": message.source,
        "type": message.event.type,
        "specversion": "1.0",
        "time": utc(message.time),
        "subject": message.event.student_number,
        "partitionkey": message.event.student_number,
        "datacontenttype": "application/json",
    }
    if message.caused_by is not None:
        attributes["causationid"] = message.caused_by
    data = message.event.model_dump(mode="json", exclude_none=True)
    record = binding.to_binary(CloudEvent(attributes, data), _FORMAT)
    return tuple(record.headers.items()), record.value


def from_record(key: str, headers: Headers, value: bytes, *, topic: str | None = None) -> Message:
    """The message that a record carries, validated.

    Args:
        topic: where the record was read; None: it was kept elsewhere since, and has been validated before.

    Raises:
        NotAnEvent, ForeignSource, UnknownType, WrongTopic, InvalidData, WrongKey: each says what to do.
    """
    message = binding.KafkaMessage(_attributes(headers), key, value)
    try:
        carried = binding.from_binary(message, _FORMAT, CloudEvent)
        data, time = carried.get_data(), carried.get_time()
    except (CloudEventValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotAnEvent(f"not a CloudEvent in binary mode: {type(error).__name__}") from error
    if not isinstance(data, dict) or time is None or time.tzinfo is None:
        raise NotAnEvent("the event has no JSON object as data, or no time with a zone")
    for name in (carried.get_id(), carried.get_extension("causationid")):
        if name is not None and not _ID.fullmatch(name):
            raise NotAnEvent(
                "an id of the event is longer than 64 characters, or has others than A-Z a-z 0-9 . _ : -"
            )
    if not _OURS.fullmatch(carried.get_source()):
        raise ForeignSource(f"the event's source is not one of Sésame's ({SOURCE_PREFIX}…)")
    model = _model(carried.get_type())
    if topic is not None and topic in TOPICS and model not in TOPICS[topic].types:
        raise WrongTopic(f"{model.type} does not travel on {topic}")
    try:
        event = model.from_json(value)
    except ValidationError as error:
        # Only a field's own name: a key of a table below it is whatever was written there.
        where = ", ".join(
            sorted({str(each["loc"][0]) if each["loc"] else "the whole" for each in error.errors()})
        )
        raise InvalidData(f"{model.type}: wrong in {where}") from error
    if not key:
        raise WrongKey(f"{model.type}: the record has no key")
    if event.student_number != key:
        raise WrongKey(f"{model.type}: the record's key is not the event's student number")
    return Message(
        id=carried.get_id(),
        source=carried.get_source(),
        time=utc(time),
        event=event,
        caused_by=carried.get_extension("causationid"),
    )


def _model(name: str) -> type[Event]:
    """Return the typed event of this name; raises `UnknownType`."""
    model = EVENT_TYPES.get(name)
    if model is not None:
        return model
    if _TYPE.fullmatch(name):
        raise UnknownType(f"event type {name!r} is of a version that is not known here")
    raise UnknownType("the event's type is of a kind that is not Sésame's")


def _attributes(headers: Headers) -> dict[str, bytes]:
    """The envelope's headers. Others (of tracing, of dead-letter tools) are let through unread.

    Raises:
        NotAnEvent: one is missing, for which the library would make up a value, or one is given twice.
    """
    ours = [(name.lower(), value) for name, value in headers]
    ours = [(name, value) for name, value in ours if name.startswith("ce_") or name == "content-type"]
    attributes = dict(ours)
    if len(attributes) < len(ours):
        raise NotAnEvent("a header of the CloudEvent stands twice")
    if missing := _REQUIRED - attributes.keys():
        raise NotAnEvent(f"not a CloudEvent in binary mode: no {', '.join(sorted(missing))}")
    return attributes
