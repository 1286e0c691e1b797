"""The AsyncAPI 3 document: which component says what to whom, on which topic, as which message.

Made from the catalogue of topics, the typed events and the examples. The payloads refer to the JSON Schema
files without naming a schema format: AsyncAPI's own format extends draft-07, every tool knows it, and the
files keep to what both drafts read alike (`schemas.json_schema`).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas import catalogue as c
from schemas import events as e
from schemas.json_schema import file_name

VERSION = "1.0.0"  # of the document: raised with each change that a reader of events must know

_ACTS = (e.ActivationRequested, e.CredentialChanged, e.PreferenceChanged, e.ProlongationRequested)
_LETTERS = (c.DEAD_LETTERS,)


@dataclass(frozen=True)
class Component:
    """A part of Sésame that publishes or reads, by the end of its events' `source`."""

    name: str
    does: str
    publishes: tuple[str, ...]
    reads: tuple[str, ...] = ()
    only: tuple[type[e.Event], ...] = ()  # of its topics' types, those that it publishes; empty: all


def _target(name: str, does: str, *bells: str) -> Component:
    read = [topic for family in (*bells, c.ACTIVATIONS) for topic in c.both_lanes(family)]
    return Component(name, does, publishes=(*c.both_lanes(c.OUTCOMES), *_LETTERS), reads=tuple(read))


COMPONENTS = (
    Component("registrar", "Publishes the registrar's facts.", publishes=(c.ENROLMENTS,)),
    Component(
        "activation", "Publishes the acts of students.", publishes=c.both_lanes(c.ACTIVATIONS), only=_ACTS
    ),
    Component(
        "canary",
        "Enrols the canary, and takes everything from it again.",
        publishes=(c.ENROLMENTS, c.ACTIVATIONS),
        only=(e.EnrolmentRecorded, e.CanaryReset),
    ),
    Component(
        "holds",
        "Shuts a student's access at once, or says that the reason is gone.",
        publishes=(c.ACTIVATIONS,),
        only=(e.HoldPlaced, e.HoldLifted),
    ),
    Component(
        "identities",
        "Says whether two student numbers are one person, and whether a number still has its holder.",
        publishes=(c.ACTIVATIONS,),
        only=(e.IdentityDecided,),
    ),
    Component(
        "replay",
        "Asks one consumer to look at students again.",
        publishes=c.both_lanes(c.ACTIVATIONS),
        only=(e.ReplayRequested,),
    ),
    Component(
        "registry",
        "Turns facts and acts into one account per student, and announces its versions.",
        publishes=(*c.both_lanes(c.ACCOUNTS), *_LETTERS),
        reads=(c.ENROLMENTS, *c.both_lanes(c.ACTIVATIONS)),
    ),
    _target("directory", "Brings the directory entry to the newest account.", c.ACCOUNTS),
    _target(
        "mailbox",
        "Brings the mailbox to the newest account, after the directory; shuts access without waiting for it.",
        c.ACCOUNTS,
        c.OUTCOMES,
    ),
    _target("moodle", "Brings the Moodle user and cohorts to the newest account.", c.ACCOUNTS),
    _target("timetable", "Looks whether the student's calendar is there; off by default.", c.ACCOUNTS),
    Component(
        "propagation",
        "Joins the outcomes per student, and announces completion, lateness and breach.",
        publishes=(c.PROPAGATION,),
        reads=(*c.both_lanes(c.ACCOUNTS), *c.both_lanes(c.OUTCOMES)),
    ),
)


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


HEADERS = {
    "type": "object",
    "description": "CloudEvents 1.0 attributes, in the Kafka protocol binding's binary mode.",
    "required": [
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_time",
        "ce_subject",
        "ce_partitionkey",
        "content-type",
    ],
    "properties": {
        "ce_specversion": _text("Version of CloudEvents.", const="1.0"),
        "ce_id": _text("Recognises a redelivery; a replay has another one.", minLength=1),
        "ce_source": _text("Who says it.", pattern="^/sesame/[a-z][a-z0-9_]*$"),
        "ce_type": _text("What is said, with the version of its schema."),
        "ce_time": _text("When it happened, UTC.", format="date-time"),
        "ce_subject": _text("Student number."),
        "ce_partitionkey": _text("The record's key: the student number."),
        "ce_causationid": _text("`ce_id` of the event that led to this one, if any."),
        "content-type": _text("Media type of the value.", const="application/json"),
    },
}


def document(examples: Path) -> dict[str, Any]:
    """The document, with the valid examples of the folder `examples` in its messages."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sésame",
            "version": VERSION,
            "description": (
                "Events of identity provisioning, from the registrar's enrolments to accounts that work."
                " Every record is a CloudEvent in binary mode, keyed by student number: the events of one"
                " student are read in order. An event says whom and which version; only the registrar's facts"
                " say who they are."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in c.TOPICS.values()},
        "operations": dict(_operations()),
        "components": {
            "schemas": {"cloudEventHeaders": HEADERS},
            "messages": {
                model.__name__: _message(model, examples / model.type) for model in e.EVENT_TYPES.values()
            },
        },
    }


def _channel(topic: c.Topic) -> dict[str, Any]:
    privacy = "Personal data: few may read it." if topic.personal_data else "No personal data."
    return {
        "address": topic.name,
        "title": topic.carries,
        "description": f"{privacy} Kept for {topic.retention_s // c.DAY_S} days.",
        "messages": {
            model.__name__: {"$ref": f"#/components/messages/{model.__name__}"} for model in topic.types
        },
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": {
                    "cleanup.policy": ["delete"],
                    "retention.ms": topic.retention_s * 1000,
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations() -> Iterable[tuple[str, dict[str, Any]]]:
    for component in COMPONENTS:
        for action, topics in (("send", component.publishes), ("receive", component.reads)):
            for name in topics:
                types = c.TOPICS[name].types
                if action == "send" and component.only:
                    types = tuple(model for model in types if model in component.only)
                yield (
                    f"{component.name}.{action}.{name.removeprefix('sesame.')}",
                    {
                        "action": action,
                        "title": f"{component.name} {'publishes to' if action == 'send' else 'reads'} {name}",
                        "summary": component.does,
                        "channel": {"$ref": f"#/channels/{name}"},
                        "messages": [
                            {"$ref": f"#/channels/{name}/messages/{model.__name__}"} for model in types
                        ],
                    },
                )


def _message(model: type[e.Event], examples: Path) -> dict[str, Any]:
    summary = " ".join(inspect.cleandoc(model.__doc__ or "").split())
    return {
        "name": model.type,
        "title": model.__name__,
        "summary": summary,
        "contentType": "application/json",
        "headers": {
            "allOf": [
                {"$ref": "#/components/schemas/cloudEventHeaders"},
                {"type": "object", "properties": {"ce_type": {"type": "string", "const": model.type}}},
            ]
        },
        "payload": {"$ref": f"./json/{file_name(model)}"},
        "bindings": {"kafka": {"key": _text("The student number."), "bindingVersion": "0.5.0"}},
        "examples": [_example(model, path) for path in sorted(examples.glob("valid-*.json"))],
    }


def _example(model: type[e.Event], path: Path) -> dict[str, Any]:
    payload = json.loads(path.read_text(encoding="utf-8"))
    emitter = next(
        component.name
        for component in COMPONENTS
        if any(model in (component.only or c.TOPICS[name].types) for name in component.publishes)
    )
    return {
        "name": path.stem.removeprefix("valid-"),
        "headers": {
            "ce_specversion": "1.0",
            "ce_id": "5f0c1a7e9b3d4c28a6e1f0b2d4968c7a1e3f5b70",
            "ce_source": f"/sesame/{emitter}",
            "ce_type": model.type,
            "ce_time": "2026-09-01T08:30:00Z",
            "ce_subject": payload["student_number"],
            "ce_partitionkey": payload["student_number"],
            "content-type": "application/json",
        },
        "payload": payload,
    }
