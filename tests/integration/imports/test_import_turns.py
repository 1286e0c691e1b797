"""Single enrolments that wait for their turn share an import, and are answered as if each were alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from sandbox.process import wait_until
from sesame.operations.imports.acts import ImportStop
from sesame.web.api import enrolments
from tests.integration.api.api_kit import ApiWorld, api_world
from tests.integration.api.test_api_enrolments import LINES, imports, published, send

TURNS: Final = enrolments.TURNS["enrolments"]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[ApiWorld]:
    """The oracle: the same is sent here, one after the other."""
    folder = tmp_path / "other"
    folder.mkdir()
    with api_world(folder, f"sqlite:///{folder / 'store.db'}") as made:
        yield made


def line(number: str, **changes: Any) -> dict[str, Any]:
    name = "".join(chr(97 + int(digit)) for digit in number if digit.isdigit())
    one: dict[str, Any] = json.loads(LINES[0]) | {"codeApprenant": number, "ine": None}
    return one | {"nomFamille": f"Nom{name}"} | changes


def post(world: ApiWorld, sent: dict[str, Any], query: str = "", scope: str = "registrar") -> httpx.Response:
    return world.post(f"/enrolments{query}", scope, json=sent)


def at_once(world: ApiWorld, sent: Sequence[dict[str, Any]], query: str = "") -> list[httpx.Response]:
    """The answers to these, which were all sent before one was imported, in this order."""
    with ThreadPoolExecutor(len(sent)) as callers:
        answers: list[Future[httpx.Response]] = []
        with TURNS.turn(ImportStop()):
            for each in sent:
                answers.append(callers.submit(post, world, each, query))
                wait_until(lambda: len(TURNS.waiting) == len(answers), "it to wait for its turn")
        return [each.result() for each in answers]


def told(answered: httpx.Response) -> Any:
    """What was answered, but which import it was and what it is called."""
    document = answered.json()
    if answered.status_code < 300:
        assert isinstance(document["report"].pop("import_id"), int)
    document.pop("instance", None)
    return answered.status_code, document


def runs(world: ApiWorld) -> list[dict[str, Any]]:
    return [each for each in imports(world) if each["feed"] == "pegase"]


BEFORE: Final = [*map(line, ("22990001", "22990002", "22990003")), *(line(f"2298{n:04}") for n in range(80))]
SENT: Final = [
    line("22990001"),
    line("22990002", nomFamille="Autre"),
    line("22990003", statutInscription="annulee"),
    line("22990004"),
    line("22990004", codeFormation="L3INFO"),
    line("22990005", dateNaissance="demain"),
    line("22990006", dateNaissance="14/05/2006"),
    line("22990007", statutInscription="annulee"),
]


def test_each_is_answered_as_if_it_had_come_alone(world: ApiWorld, other: ApiWorld) -> None:
    for each in (world, other):
        assert send(each, [json.dumps(one) for one in BEFORE]).json()["report"]["recorded"] == 83
    expected = [told(post(other, each)) for each in SENT]
    assert [told(each) for each in at_once(world, SENT)] == expected
    assert {status for status, _ in expected} == {200, 422}
    assert sorted(published(world)) == sorted(published(other))
    assert len(runs(world)) < len(runs(other)), "they shared an import"
    assert [told(each) for each in at_once(world, SENT)] == [told(post(other, each)) for each in SENT]


def test_one_student_is_never_twice_in_an_import(world: ApiWorld) -> None:
    """What came later is what holds."""
    sent = [line("22990001"), line("22990002"), line("22990001", prenom="Autre"), line(" 22990001 ")]
    came = [told(each)[1]["report"] for each in at_once(world, sent)]
    assert [each["recorded"] for each in came] == [1, 1, 1, 1]
    assert [each["duplicates"] for each in came] == [0, 0, 0, 0]
    last = send(world, [json.dumps(line("22990001"))]).json()["report"]
    assert last["unchanged"] == 1


def test_what_the_guard_would_hold_together_is_judged_one_by_one(world: ApiWorld, other: ApiWorld) -> None:
    many = [line(f"2299{n:04}") for n in range(40)]
    leaving = [each | {"statutInscription": "annulee"} for each in many[:8]]
    for each in (world, other):
        assert send(each, [json.dumps(one) for one in many]).json()["report"]["recorded"] == 40
    expected = [told(post(other, each)) for each in leaving]
    found = [told(each) for each in at_once(world, leaving)]
    assert [status for status, _ in found] == [status for status, _ in expected]
    assert sorted(published(world)) == sorted(published(other))
    assert {each["state"] for each in runs(world)} <= {each["state"] for each in runs(other)} | {"failed"}


def test_nobody_shares_an_import_with_another_caller_or_another_wish(world: ApiWorld) -> None:
    world.token("registrar"), world.token("administrator")
    with ThreadPoolExecutor(3) as callers, TURNS.turn(ImportStop()):
        mine = callers.submit(post, world, line("22990001"))
        theirs = callers.submit(post, world, line("22990002"), "", "administrator")
        tried = callers.submit(post, world, line("22990003"), "?dry_run=true")
        wait_until(lambda: len(TURNS.waiting) == 3, "all to wait for their turn")
    assert mine.result().json()["report"]["import_id"] != theirs.result().json()["report"]["import_id"]
    assert tried.result().json()["report"]["import_id"] is None
    assert sorted(published(world)) == ["22990001", "22990002"]
    audited = [each for each in world.get("/audit").json() if each["action"] == "import"]
    assert len({each["actor"] for each in audited}) == 2


def test_who_hangs_up_while_waiting_publishes_nothing_and_the_others_are_served(world: ApiWorld) -> None:
    stop = ImportStop()
    stop.want()
    with ThreadPoolExecutor(1) as callers:
        with TURNS.turn(ImportStop()):
            kept = callers.submit(post, world, line("22990001"))
            wait_until(lambda: len(TURNS.waiting) == 1, "it to wait for its turn")
            with pytest.raises(Exception, match="interrupted"), TURNS.turn(stop):
                raise AssertionError
        assert kept.result().status_code == 200
    assert published(world) == ["22990001"]
