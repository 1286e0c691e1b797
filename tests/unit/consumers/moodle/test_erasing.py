"""Who is erased leaves a pseudonym in Moodle, whatever cuts the way there off."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from consumers.kit.connector import AdoptedRef
from pipeline.errors import Misconfigured
from pipeline.target import Done, HandlerOutcome, Waiting
from schemas.account import Account, Person, Stage
from tests.unit.consumers.moodle.moodle_kit import LOGIN, MAIL, NUMBER, Site, cohort, pseudonym, student

INFO, OTHER = "L1INFO-2026", "22600002"
UPDATE, DELETE = "core_user_update_users", "core_user_delete_users"
INFO_CALL = "core_webservice_get_site_info"
TRACES = (NUMBER, LOGIN, MAIL, "Élodie", "Lefèvre")


class Killed(BaseException):
    """As kill -9."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Two students are there, in one cohort."""
    made = Site(tmp_path)
    assert all(isinstance(each, Done) for each in made.handle(lea(), paul()))
    return made


def lea(stage: Stage = Stage.ACTIVE, version: int = 1) -> Account:
    return student(cohort(INFO), stage=stage, version=version)


def paul(stage: Stage = Stage.ACTIVE) -> Account:
    person = Person(birth_name="Quidam", given_name="Paul")
    names = {"login": "p.quidam", "mail": "p.quidam@etu.univ-exemple.fr", "person": person}
    return student(cohort(INFO), number=OTHER, stage=stage, **names)


def erase(site: Site) -> HandlerOutcome:
    (outcome,) = site.handle(lea(Stage.ERASED, 2))
    return outcome


def rows(site: Site) -> list[str]:
    """Every row that the site keeps, deleted users and its log too."""
    with closing(sqlite3.connect(site.database)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return [repr(row) for table in tables for row in db.execute(f"SELECT * FROM {table}")]  # noqa: S608


def traces(site: Site) -> list[str]:
    return [trace for trace in TRACES for row in rows(site) if trace in row]


def alive(site: Site) -> list[str]:
    """The idnumbers of users who are not deleted."""
    with closing(sqlite3.connect(site.database)) as db:
        return [n for (n,) in db.execute("SELECT idnumber FROM users WHERE deleted = 0 AND idnumber <> ''")]


def test_moodle_keeps_the_pseudonym_alone_in_its_rows_and_in_its_log(site: Site) -> None:
    assert set(traces(site)) == set(TRACES)
    assert erase(site) == Done(erase(site).digest, changed=True)  # type: ignore[union-attr]
    assert traces(site) == []
    assert any("user_deleted" in row and pseudonym(NUMBER) in row for row in rows(site))
    assert alive(site) == [OTHER]
    assert site.user(OTHER)["username"] == "p.quidam"


def cut(site: Site, function: str, when: str) -> None:
    """The next call of this function is cut off before it is carried out, or after; not the one that shuts
    access."""

    def meant(name: str, form: dict[str, str]) -> bool:
        return name == function and "users[0][suspended]" not in form

    def before(name: str, form: dict[str, str]) -> Any:
        if meant(name, form) and when == "before":
            raise Killed
        return None

    def bends(name: str, form: dict[str, str], answer: Any) -> Any:
        if meant(name, form) and when == "after":
            raise Killed
        return answer

    site.before, site.bends = before, bends
    with pytest.raises(Killed):
        erase(site)
    site.before, site.bends = (lambda _name, _form: None), (lambda _name, _form, answer: answer)


STEPS = [(UPDATE, "before"), (UPDATE, "after"), (DELETE, "before"), (DELETE, "after")]


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize(("function", "when"), STEPS)
def test_what_is_cut_off_at_any_step_ends_deleted(
    site: Site, function: str, when: str, *, recorded: bool
) -> None:
    cut(site, function, when)
    if not recorded:  # as in a store that was put back as it was before
        site.adopted.clear()
    assert isinstance(erase(site), Done)
    assert alive(site) == [OTHER]
    assert traces(site) == []


def test_a_user_under_the_pseudonym_is_shown_to_no_comparison(site: Site) -> None:
    cut(site, DELETE, "before")
    assert alive(site) == [pseudonym(NUMBER), OTHER]
    assert OTHER in [each.student_number for each in site.connector.objects()]
    assert pseudonym(NUMBER) not in [each.student_number for each in site.connector.objects()]


@pytest.mark.parametrize(("function", "when"), STEPS[:3])
def test_who_comes_back_meanwhile_has_the_same_user_again(site: Site, function: str, when: str) -> None:
    before = site.user()["id"]
    cut(site, function, when)
    (outcome,) = site.handle(lea(version=3))
    assert isinstance(outcome, Done), outcome
    user = site.user()
    assert (user["id"], user["username"], user["lastname"], user["email"]) == (before, LOGIN, "Lefèvre", MAIL)
    assert isinstance(erase(site), Done), "and can be erased later"
    assert alive(site) == [OTHER]


def test_whose_pseudonym_is_somebody_else_s_meanwhile_is_left_alone(site: Site) -> None:
    cut(site, DELETE, "before")
    (user,) = [row for row in site.call("core_user_get_users", **{"criteria[0][key]": "email",
        "criteria[0][value]": "%"})["users"] if row.get("idnumber") == pseudonym(NUMBER)]  # fmt: skip
    site.call(UPDATE, **{"users[0][id]": user["id"], "users[0][idnumber]": "S-42"})
    assert isinstance(erase(site), Done)
    assert alive(site) == ["S-42", OTHER]


# --- the right to delete ---


def without_right(site: Site) -> None:
    site.state.change({"missing_capabilities": ["moodle/user:delete"]})


def without_function(site: Site) -> None:
    def before(name: str, _form: dict[str, str]) -> Any:
        refusal = {"exception": "webservice_access_exception", "errorcode": "accessexception", "message": ""}
        return refusal if name == DELETE else None

    def bends(name: str, _form: dict[str, str], answer: Any) -> Any:
        if name == INFO_CALL:
            answer["functions"] = [each for each in answer["functions"] if each["name"] != DELETE]
        return answer

    site.before, site.bends = before, bends


@pytest.mark.parametrize("lack", [without_right, without_function])
def test_without_the_right_to_delete_only_erasures_wait(site: Site, lack: Callable[[Site], None]) -> None:
    lack(site)
    outcomes = site.handle(lea(Stage.ERASED, 2), paul(Stage.ERASED), student(cohort(INFO), number="22600003"))
    assert [type(each) for each in outcomes] == [Waiting, Waiting, Done]
    assert {each.reason for each in outcomes if isinstance(each, Waiting)} == {"moodle_deletion_forbidden"}
    with pytest.raises(Misconfigured, match="delete"):
        site.connector.probe_erasing()
    site.handler.probe()
    site.state.reset()
    site.before, site.bends = (lambda _name, _form: None), (lambda _name, _form, answer: answer)
    site.connector.probe_erasing()
    assert all(isinstance(each, Done) for each in site.handle(lea(Stage.ERASED, 2), paul(Stage.ERASED)))
    assert alive(site) == ["22600003"]


def test_an_adopted_user_of_another_number_is_erased_too(site: Site) -> None:
    """The record replaces the adoption: the user is found under the pseudonym from then on."""
    id_ = site.make_user("e.durand", idnumber="E-7")
    site.adopted["22600009"] = AdoptedRef(str(id_), "E-7")
    gone = student(number="22600009", stage=Stage.ERASED)
    (outcome,) = site.handle(gone)
    assert isinstance(outcome, Done)
    assert "E-7" not in alive(site)
