"""Evidence and the yearly review at the console; signatures are verified by the library alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import text

from schemas.events import ActivationRequested
from sesame.acts.acts import Actor, Role
from sesame.operations.evidence.pack import EvidenceRefused, EvidenceRequest, measure, verify
from sesame.operations.evidence.reviews import (
    NotUnderReview,
    ReviewDecision,
    ReviewOpening,
    ReviewRequest,
    UnclearReview,
    decide,
    open_review,
    review,
)
from sesame.operations.privacy import acts as privacy
from sesame.testing.servers.console_kit import ConsoleDesk
from sesame.testing.servers.registry_kit import enrolled

DAY_S = 86_400.0
RSSI = Actor("rssi", frozenset({Role.ADMINISTRATOR}))


@pytest.fixture
def desk(store_url: str, tmp_path: Path) -> Iterator[ConsoleDesk]:
    with ConsoleDesk(tmp_path, store=store_url) as desk:
        yield desk


def archive(desk: ConsoleDesk, framework: str, login: str = "rssi", **language: str) -> bytes:
    with desk.browser("operator", login=login, **language) as browser:
        browser.get("/console/preuves")
        answer = browser.send("/console/preuves", cadre=framework)
    assert answer.headers["Content-Disposition"].startswith(f'attachment; filename="{framework}-2')
    return answer.content


def signed(desk: ConsoleDesk, framework: str) -> bytes:
    """The signed file; the page beside it says its signature."""
    with ZipFile(BytesIO(archive(desk, framework))) as files:
        page, document = sorted(files.namelist())
        assert (Path(page).stem, Path(document).suffix) == (Path(document).stem, ".json")
        value = json.loads(files.read(document))["signature"]["value"]
        assert f"{value[:16]}…" in files.read(page).decode()
        return files.read(document)


def keyed(desk: ConsoleDesk) -> None:
    privacy.init(desk.application, Actor("root", frozenset({Role.ADMINISTRATOR})))


def test_the_signed_file_is_verified_with_nothing_but_itself(desk: ConsoleDesk) -> None:
    keyed(desk)
    document = signed(desk, "cnil-logs")
    said: dict[str, Any] = json.loads(document)
    public, evidence = bytes.fromhex(said["signature"]["public_key"]), said["evidence"]
    content = json.dumps(evidence, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    key, value = Ed25519PublicKey.from_public_bytes(public), bytes.fromhex(said["signature"]["value"])
    key.verify(value, content)
    with pytest.raises(InvalidSignature):
        key.verify(value, content.replace(b"rssi", b"rsso"))
    assert said["signature"]["fingerprint"] == f"sha256:{hashlib.sha256(public).hexdigest()}"
    assert (evidence["framework"], evidence["asked_by"]) == ("cnil-logs", "rssi")
    assert [each["measure"].split()[-1] for each in evidence["measures"]] == [
        *("logs_kept", "logs_whole", "retention", "erased_in_time")
    ]
    (entry,) = desk.audit("evidence")
    assert (entry.actor, entry.detail) == ("rssi", {"framework": "cnil-logs", "exceptions": 0})


def test_whichever_byte_is_changed_the_file_is_refused(desk: ConsoleDesk) -> None:
    keyed(desk)
    document = signed(desk, "cnil-passwords")
    fingerprint = json.loads(document)["signature"]["fingerprint"]
    assert verify(document, key=fingerprint).key_known
    for at in range(0, len(document), 7):
        changed = document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :]
        with pytest.raises(EvidenceRefused, match="no evidence as Sésame signed it"):
            verify(changed, key=None)
    with pytest.raises(EvidenceRefused, match="another key"):
        verify(document, key=f"sha256:{'0' * 64}")


def test_the_page_to_hand_over_names_whom_each_exception_is_about(desk: ConsoleDesk) -> None:
    keyed(desk)
    number = desk.portal.active()
    change(desk, number, valid_until="2026-01-01")
    with ZipFile(BytesIO(archive(desk, "recyf", **{"Accept-Language": "fr"}))) as files:
        page = files.read(next(name for name in files.namelist() if name.endswith(".html"))).decode()
    _, _, departures = page.partition(
        "4.4 · Aucun compte ne reste ouvert plus de 7 jours après la fin du droit"
    )
    assert number in departures.partition("</section>")[0]
    assert "valable jusqu’au 2026-01-01" in departures.partition("</section>")[0]
    assert "SELECT" in departures.partition("</section>")[0]
    assert "http" not in page, "the file needs no other"


def test_without_a_key_nothing_is_measured_and_the_remedy_is_said(desk: ConsoleDesk) -> None:
    with desk.browser("operator", **{"Accept-Language": "en"}) as browser:
        browser.get("/console/preuves")
        answer = browser.send("/console/preuves", cadre="recyf")
    assert answer.status_code == 409
    assert "sesame privacy init" in answer.text
    assert [each.detail["framework"] for each in desk.audit("evidence")].count("recyf") <= 1, (
        "of the test before"
    )


def test_a_review_is_led_by_component_and_shuts_nothing(desk: ConsoleDesk) -> None:
    plain, prolonged, elsewhere, late = (desk.portal.active() for _ in range(4))
    change(desk, elsewhere, entities=["DROIT"])
    for number in (plain, prolonged):
        change(desk, number, entities=["CHIM"])
    sql(desk, "UPDATE people SET prolongations = '[\"2026-12-01\"]' WHERE student_number = :n", n=prolonged)
    sql(desk, "UPDATE accounts SET activated_at = activated_at + 9999 WHERE student_number = :n", n=late)
    change(desk, late, entities=["CHIM"])
    desk.portal.clock.now += 60.0
    with desk.browser("operator") as browser:
        assert "Revue annuelle" not in browser.get("/console/").text
        browser.get("/console/revue")
        assert browser.send("/console/revue/ouvrir", jours="30").status_code == 200
        assert "Revue annuelle" in browser.get("/console/").text
        assert browser.get("/console/revue").text.count("/console/revue/CHIM") == 1
        assert "/console/revue/ouvrir" not in browser.page.text, "one is under way"
    with desk.browser("registrar", login="odile") as browser:
        page = browser.get("/console/revue/CHIM").text
        assert page.index(prolonged) < page.index(plain), "first who is worth a look"
        assert f"Léa Essai{plain}" in page, "a name to decide by"
        assert late not in page, "activated after the review was opened"
        assert elsewhere not in page
        browser.send("/console/revue/CHIM", reste="oui", decision="keep")
        sci = browser.get("/console/revue/CHIM").text
        assert sci.count("gardé · odile") == 1, "the one with a remark is left"
        refused = browser.client.post(
            "/console/revue/CHIM",
            data={"jeton": token(sci), "numero": prolonged, "decision": "end"},
            headers={"Origin": browser.origin},
        )
        assert refused.status_code == 409, "an end needs a reason"
        browser.client.post(
            "/console/revue/CHIM",
            data={"jeton": token(sci), "numero": prolonged, "decision": "end", "raison": "parti en juin"},
            headers={"Origin": browser.origin},
        )
        browser.get("/console/revue/DROIT")
        browser.send("/console/revue/DROIT", reste="oui", decision="keep")
    (ended,) = [each for each in desk.audit("review.decide") if each.detail["decision"] == "end"]
    assert (ended.actor, ended.reason) == ("odile", "parti en juin")
    assert ended.detail["student_numbers"] == [prolonged]
    with desk.browser("operator") as browser:
        assert "Revue annuelle" not in browser.get("/console/").text, "all are decided"
    _follow(desk, prolonged)
    with desk.portal.database.read() as connection:
        held = connection.execute(text("SELECT count(*) FROM people WHERE holds <> '[]'")).scalar_one()
    assert held == 0
    for number in (plain, prolonged, elsewhere):
        assert [each.key for each in desk.log.appended if each.key == number] == [], "nothing was asked for"


def _follow(desk: ConsoleDesk, ending: str) -> None:
    """What is to end is in the evidence, whatever reviews come, until a newer decision."""

    def named() -> list[str | None]:
        found = measure(desk.application, RSSI, EvidenceRequest(framework="recyf"))
        return [each.number for one in found if one.name == "review_followed" for each in one.exceptions]

    assert named() == [], "seven days are left"
    desk.portal.clock.now += 10 * DAY_S
    assert named() == [ending]
    open_review(desk.application, RSSI, ReviewOpening(days=3))
    assert named() == [ending], "a newer review decides nothing by itself"
    decision = {"component": "CHIM", "students": (ending,), "decision": "keep"}
    decide(desk.application, RSSI, ReviewDecision.model_validate(decision))
    assert named() == []
    for wrong in ({"decision": "end", "reason": "  "}, {"decision": "end"}):
        with pytest.raises(UnclearReview):
            decide(desk.application, RSSI, ReviewDecision.model_validate(decision | wrong))
    with pytest.raises(NotUnderReview):
        review(desk.application, RSSI, ReviewRequest(component="NOWHERE"))


def test_the_reminder_follows_whom_access_is_shut_or_opened_for(desk: ConsoleDesk) -> None:
    first, second = desk.portal.active(), desk.portal.active()
    others = "UPDATE accounts SET activated_at = activated_at + 9999 WHERE student_number NOT IN (:a, :b)"
    sql(desk, others, a=first, b=second)
    for number in (first, second):
        change(desk, number, entities=["CHIM"])
    desk.portal.clock.now += 60.0
    open_review(desk.application, RSSI, ReviewOpening(days=30))
    said = {"component": "CHIM", "students": (first,), "decision": "keep"}
    decide(desk.application, RSSI, ReviewDecision.model_validate(said))
    with desk.browser("operator") as browser:

        def reminded() -> bool:
            browser.get("/console/revue")  # where the reminder leads
            return "Revue annuelle" in browser.get("/console/").text

        assert reminded()
        change(desk, second, holds=["suspended"])
        assert not reminded(), "nothing is left to decide"
        change(desk, second, holds=[])
        assert reminded()


def token(page: str) -> str:
    return page.partition('name="jeton" value="')[2].partition('"')[0]


def change(desk: ConsoleDesk, number: str, **values: Any) -> None:
    """Change an account's document, past the product."""
    query = "SELECT document FROM accounts WHERE student_number = :n"
    with desk.portal.database.write() as connection:
        document = json.loads(connection.execute(text(query), {"n": number}).scalar_one()) | values
    sql(desk, "UPDATE accounts SET document = :d WHERE student_number = :n", d=json.dumps(document), n=number)


def sql(desk: ConsoleDesk, statement: str, **values: Any) -> None:
    with desk.portal.database.write() as connection:
        connection.execute(text(statement), values)


def test_who_is_staff_too_under_another_birth_date_is_named(desk: ConsoleDesk) -> None:
    names = {"birth_name": "Chérif", "given_name": "Younes"}
    student = desk.portal.active(**names, birth_date=date(2004, 3, 12))
    desk.portal.active(**names, birth_date=date(2004, 3, 14))
    staff = {"P-004711": date(2004, 3, 13), "P-004712": date(2004, 12, 3), "P-004713": date(1971, 8, 30)}
    for at, (number, born) in enumerate(staff.items()):
        desk.portal.apply(enrolled(number, 9000 + at, **names, birth_date=born))
        desk.portal.apply(ActivationRequested(student_number=number, credential_ref=None))

    def named() -> dict[str, list[str]]:
        (persons,) = [
            each
            for each in measure(desk.application, RSSI, EvidenceRequest(framework="recyf"))
            if each.name == "persons"
        ]
        found = [each for each in persons.exceptions if "names, and nearly the birth date" in each.data]
        return {str(each.number): str(each.data["first"]).split() for each in found}

    assert named()[student] == ["P-004711", "P-004712"]
    assert "P-004713" not in named()
    assert student in named()["P-004711"]
