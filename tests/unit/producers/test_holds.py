"""An operator's hold: published in the personal lane, and audited."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sqlalchemy import select

from pipeline.audit import operator_notes
from pipeline.audit.trail import audit, audit_persons
from producers.holds import HoldRequest, lift, place
from schemas import catalogue
from schemas.account import Hold
from schemas.events import HoldLifted, HoldPlaced
from sesame.testing.servers.pipeline_kit import Plant, live_plant

AT = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)


plant = live_plant


def request(**changes: object) -> HoldRequest:
    values: dict[str, object] = {
        "student_number": "22600001",
        "hold": Hold.SUSPENDED,
        "reason": "compromised account",
        "actor": "operatrice",
        "at": AT,
    }
    return HoldRequest(**{**values, **changes})  # type: ignore[arg-type]


def test_a_hold_is_published_where_it_waits_behind_no_batch(plant: Plant) -> None:
    place(request(), database=plant.database, producer=plant.producer)
    lift(request(), database=plant.database, producer=plant.producer)
    placed, lifted = plant.read(catalogue.ACTIVATIONS)
    assert isinstance(placed.event, HoldPlaced)
    assert isinstance(lifted.event, HoldLifted)
    assert (placed.event.hold, placed.source, placed.time) == (Hold.SUSPENDED, "/sesame/holds", AT)


def test_a_hold_that_is_placed_again_later_is_told_from_a_redelivery(plant: Plant) -> None:
    place(request(), database=plant.database, producer=plant.producer)
    place(request(), database=plant.database, producer=plant.producer)
    place(request(at=AT.replace(hour=9)), database=plant.database, producer=plant.producer)
    first, again, later = (message.id for message in plant.read(catalogue.ACTIVATIONS))
    assert first == again
    assert first != later


def test_who_placed_a_hold_and_why_is_in_the_audit(plant: Plant) -> None:
    place(request(), database=plant.database, producer=plant.producer)
    with plant.database.read() as connection:
        [row] = connection.execute(select(audit)).all()
        [person] = connection.execute(select(audit_persons)).all()
        [remark] = operator_notes.of_student(connection, "22600001")
    assert (row.actor, row.action) == ("operatrice", "hold.place")
    assert json.loads(row.detail) == {
        "hold": "suspended",
        "reason_ref": remark.ref,
        "student_number": f"person:{person.digest}",
    }
    assert person.student_number == "22600001"
    assert (remark.about, remark.actor) == ("suspended", "operatrice")
    assert remark.words == "compromised account"


def test_an_operator_s_words_are_nowhere_but_in_the_store(plant: Plant) -> None:
    words = "mère inquiète, Lefèvre"
    place(request(reason=words), database=plant.database, producer=plant.producer)
    [placed] = plant.read(catalogue.ACTIVATIONS)
    with plant.database.read() as connection:
        [remark] = operator_notes.of_student(connection, "22600001")
        [row] = connection.execute(select(audit)).all()
    assert isinstance(placed.event, HoldPlaced)
    assert (remark.ref, remark.words) == (placed.event.reason_ref, words)
    said = placed.event.model_dump_json() + row.detail
    assert not {word for word in words.split() if word in said}
