"""What the console does, by the API: questions answered, persons erased, the audit taken away."""

from __future__ import annotations

import csv
import json
from contextlib import closing
from typing import Any

from sqlalchemy import insert, select, update

from consumers.registry.erasure.erasures import erasures
from consumers.registry.people import enrolments
from pipeline.audit.trail import audit
from sesame.operations.questions.restored.questions import restore_questions
from tests.integration.api.api_kit import COMPLETED, FAILED, WAITING, ApiWorld

IN_DOUBT, TWIN, HELD_BY = "22700001", "22600001", "22600014"
"""Of the filled store: two numbers with one INE and one birth date; one whose holder is in doubt."""

LEAVING = "22600003"


def said(world: ApiWorld, type_: str) -> list[dict[str, Any]]:
    """What the log has of this type, as its own reader sees it."""
    with closing(world.site.log.consumer(f"test-{type_}", ("sesame.activations",), member="test")) as reader:
        records = reader.poll(500, 5.0)
    wanted = f"fr.sesame.{type_}.v1".encode()
    return [json.loads(each.value) for each in records if dict(each.headers)["ce_type"] == wanted]


def noted(world: ApiWorld, action: str) -> list[str]:
    """Who did this, by the audit."""
    with world.site.database.read() as connection:
        return list(connection.execute(select(audit.c.actor).where(audit.c.action == action)).scalars())


def test_doubts_are_decided_one_by_one_and_by_a_rule_after_a_preview(module_world: ApiWorld) -> None:
    world = module_world
    doubts = {each["student_number"] for each in world.get("/identities", "registrar").json()}
    assert doubts == {IN_DOUBT, HELD_BY}
    asked = {"student_number": HELD_BY, "reason": "papiers vus"}
    would = world.post("/identities/separate", "registrar", json={**asked, "dry_run": True})
    assert would.json()["dry_run"] is True
    assert world.post("/identities/separate", "registrar", json=asked).json()["decision"] == "separate"
    wrong = {"student_number": IN_DOUBT, "keep": "22600009", "reason": "la même"}
    assert world.post("/identities/merge", "registrar", json=wrong).status_code == 422
    assert world.post("/identities/merge", json={**asked, "student_number": FAILED}).status_code == 404

    settlement = {"rule": "same-ine-and-birth"}
    shown = world.post("/identities/settle/preview", "registrar", json=settlement).json()
    [one] = shown["settled"]
    assert {one["student_number"], one["other"]} == {IN_DOUBT, TWIN}
    other = {**shown, "settled": [{**one, "mine": {**one["mine"], "ine": "000000000ZZ"}}]}
    body = {"settlement": settlement, "shown": other}
    left = world.post("/identities/settle", "registrar", json=body).json()
    assert (left["settled"], [each["cause"] for each in left["left"]]) == ([], ["changed"])
    body["shown"] = shown
    assert world.post("/identities/settle", "registrar", json=body).json()["settled"] == [one]
    decided = sorted((each["student_number"], each["decision"]) for each in said(world, "identity.decided"))
    assert decided == sorted([(HELD_BY, "separate"), (one["student_number"], "merge")]), "each of them once"
    assert any("token test" in actor for actor in noted(world, "identity.separate"))


def test_whose_an_object_is_is_answered_once(module_world: ApiWorld) -> None:
    world = module_world
    open_ones = {each["kind"]: each["id"] for each in world.get("/adoption/questions", "operator").json()}
    shown = world.get(f"/adoption/questions/{open_ones['mail_differs'][:8]}", "operator").json()
    assert (shown["question"]["target"], shown["student"]["student_number"]) == ("moodle", "22600009")
    answer = {"ids": [open_ones["names_and_birth_date"]], "answer": "separate", "reason": "autre personne"}
    for wrong in ("open", "gone"):
        refused = world.post("/adoption/decide", "operator", json={**answer, "answer": wrong})
        assert refused.status_code == 422
    assert world.post("/adoption/decide", "operator", json=answer).json()["decided"] == 1
    left = world.get("/adoption/questions", "operator").json()
    assert [each["id"] for each in left] == [open_ones["mail_differs"]]
    assert world.get("/adoption/questions/ffffff", "operator").status_code == 404


def test_whom_a_restored_store_asks_about_is_kept_shut_or_opened_once(module_world: ApiWorld) -> None:
    world = module_world
    row = {"student_number": WAITING, "shown_by": '["moodle"]', "state": "open", "raised_at": 1.0}
    with world.site.database.write() as connection:
        connection.execute(insert(restore_questions).values(row))
    assert [each["student_number"] for each in world.get("/restored", "support").json()] == [WAITING]
    answer = {"student_number": WAITING, "answer": "kept", "reason": "volé"}
    assert world.post("/restored/answer", json={**answer, "answer": "open"}).status_code == 422
    assert [world.post("/restored/answer", json=answer).status_code for _ in range(2)] == [204, 409]
    assert world.get("/restored").json() == []
    assert world.get("/restored?everything=true").json()[0]["state"] == "kept"


def test_a_person_is_erased_and_the_receipt_is_what_was_signed(module_world: ApiWorld) -> None:
    world = module_world
    asked = {"student_number": LEAVING, "reason": "demande écrite"}
    assert world.post("/erasures", json=asked).status_code == 409, "enrolled still"
    with world.site.database.write() as connection:
        of = enrolments.c.student_number == LEAVING
        connection.execute(update(enrolments).where(of).values(cancelled=True))
    begun = world.post("/erasures", json=asked, headers={"Idempotency-Key": "erase"})
    assert (begun.status_code, begun.json()["state"]) == (202, "asked")
    path = f"/erasures/{begun.json()['id']}"
    listed = world.get("/erasures", "viewer")
    assert [each["id"] for each in listed.json()] == [begun.json()["id"]]
    assert LEAVING not in listed.text
    assert world.get(path).json()["awaited"]
    assert [world.get(each).status_code for each in (f"{path}/receipt", "/erasures/none")] == [404, 404]
    signed = '{"receipt":  "signé tel quel"}\n'
    with world.site.database.write() as connection:
        connection.execute(update(erasures).values(receipt=signed))
    assert world.get(f"{path}/receipt", "operator").text == signed


def test_the_audit_is_taken_away_whole_and_that_it_was_is_in_it(module_world: ApiWorld) -> None:
    world = module_world
    path = "/audit/export?action=hold&until=2026-11-28T00:00:00Z"
    lines = world.get(f"{path}&format=jsonl", "operator")
    assert lines.headers["content-type"].startswith("application/x-ndjson")
    found = [json.loads(line) for line in lines.text.splitlines()]
    assert {each["action"] for each in found} == {"hold.place", "hold.lift"}
    assert [each["id"] for each in found] == sorted((each["id"] for each in found), reverse=True)
    table = world.get(path, "operator")
    header, *rows = csv.reader(table.text.removeprefix("\ufeff").splitlines(), delimiter=";")
    assert header[:4] == ["id", "at", "actor", "action"]
    assert [int(row[0]) for row in rows] == [each["id"] for each in found]
    assert len(noted(world, "audit.export")) == 2
    assert world.get("/audit/export?format=xlsx").status_code == 422


def test_students_are_found_and_shown_whole_and_counted_by_cohort(module_world: ApiWorld) -> None:
    world = module_world
    found = world.post("/students/search", "support", json={"text": "Barbier Corentin"}).json()
    assert {each["student_number"] for each in found["students"]} == {TWIN, IN_DOUBT}
    shown = world.get(f"/students/{COMPLETED}/record", "support").json()
    assert (shown["who"]["birth_name"], shown["status"]["student_number"]) == ("Barbier", COMPLETED)
    assert shown["moments"]
    waiting = world.get("/students?state=waiting", "support").json()["students"]
    cohorts = world.get("/cohorts", "support").json()
    assert sum(each["students"] for each in cohorts) == len(waiting) > 0
