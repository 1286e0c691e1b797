"""The acts whose routes are no acts' forms: a signed receipt, the audit taken away."""

from __future__ import annotations

import csv
import json

from sqlalchemy import select, update

from consumers.registry.erasure.erasures import erasures
from consumers.registry.people import enrolments
from pipeline import accounts
from pipeline.audit.trail import audit
from tests.integration.api.api_kit import ApiWorld

LEAVING = "22600003"


def noted(world: ApiWorld, action: str) -> list[str]:
    """Who did this, by the audit."""
    with world.site.database.read() as connection:
        return list(connection.execute(select(audit.c.actor).where(audit.c.action == action)).scalars())


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


def test_lists_for_other_software_are_files_and_a_card_is_json(module_world: ApiWorld) -> None:
    world = module_world
    answer = world.get("/lists/pix", "registrar")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    table = list(csv.DictReader(answer.text.splitlines(), delimiter=";"))
    numbers = {row["Numéro étudiant"] for row in table}
    assert len(numbers) == len(table) > 1
    assert int(answer.headers["sesame-left-out"]) >= 0
    assert world.get("/lists/groups?component=NONE").json()["type"].endswith("NobodyListed")
    assert world.get("/lists/payroll").status_code == 422
    assert world.get("/lists/pix", "support").status_code == 403
    number = min(numbers)
    with world.site.database.read() as connection:
        account = accounts.find(connection, number)
    assert account is not None
    card = world.get(f"/cards/{account.principal}", "operator").json()
    assert (card["supannEtuId"], card["email"]) == (number, account.mail)
    assert world.get("/cards/nobody@univ.example").status_code == 404
    assert world.get("/cards/nobody").status_code == 422
