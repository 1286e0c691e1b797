"""Moodle over its protocol: what is shown, written, waited for, foreseen, and in doubt.

That nothing is done before it is read back is the kit's (test_handler.py) and the suite's
(tests/connectors/test_moodle.py)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from consumers.kit.connector import AdoptedRef
from pipeline.errors import Misconfigured, TargetDown
from pipeline.target import Dead, Done, HandlerOutcome, Retry, Waiting
from schemas.account import Hold, Person, Requirement
from sesame.testing.servers.narrowing import expect
from tests.unit.consumers.moodle.moodle_kit import LOGIN, MAIL, NUMBER, Site, cohort, student

INFO, FORMER = "L1INFO-2026", "L2INFO-2025"
BY_FIELD, MEMBERS, COHORTS = (
    "core_user_get_users_by_field",
    "core_cohort_get_cohort_members",
    "core_cohort_get_cohorts",
)
SHUT: dict[str, Any] = {"holds": frozenset({Hold.SUSPENDED})}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, languages={"fr": "en"})


def one(site: Site, *cohorts: Any, compare: bool = False, **changes: Any) -> HandlerOutcome:
    (outcome,) = site.handle(student(*cohorts, **changes), compare=compare)
    return outcome


def shown(site: Site, **fields: Any) -> None:
    """From now on the site shows her so; a value that is callable is told the true one."""

    def bend(function: str, _form: dict[str, str], answer: Any) -> Any:
        if function == BY_FIELD:
            for row in answer:
                if row.get("idnumber") == NUMBER:
                    for name, value in fields.items():
                        row[name] = value(row.get(name)) if callable(value) else value
        return answer

    site.bends = bend


def not_applied(outcome: HandlerOutcome) -> bool:
    causes = ("read_back_differs", "read_back_missing")
    return isinstance(outcome, Retry) and outcome.cause in causes and not outcome.unknown


FIELDS = ("username", "auth", "firstname", "lastname", "email", "lang")


OTHERWISE: dict[str, dict[str, Any]] = {
    **{f"another {name}": {name: "autre"} for name in FIELDS},
    **{f"{name} in another case": {name: str.swapcase} for name in FIELDS},
    **{f"{name} with a blank": {name: "{} ".format} for name in ("firstname", "lastname")},
    "firstname without its accent": {"firstname": lambda value: value.replace("É", "E")},
    "lastname without its accent": {"lastname": lambda value: value.replace("è", "e")},
    **{f"no {name}": {name: ""} for name in ("firstname", "lastname", "lang")},
    "access shut": {"suspended": True},
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_what_is_shown_otherwise_is_a_difference_and_no_success(site: Site, what: str) -> None:
    one(site)
    shown(site, **OTHERWISE[what])
    [name] = OTHERWISE[what]
    assert site.handler.preview([student()])[NUMBER].differs == ("access" if name == "suspended" else name,)
    assert not_applied(one(site))


@pytest.mark.parametrize("name", ["username", "auth", "email", "suspended"])
def test_a_field_that_the_service_user_may_not_see_is_a_fault_of_the_settings(site: Site, name: str) -> None:
    def bend(function: str, _form: dict[str, str], answer: Any) -> Any:
        if function == BY_FIELD:
            for row in answer:
                row.pop(name, None)
        return answer

    one(site)
    site.bends = bend
    with pytest.raises(Misconfigured, match=name):
        one(site)


@pytest.mark.parametrize("idnumber", [f"{NUMBER} ", "x" + NUMBER, ""])
def test_a_user_with_another_number_is_somebody_else(site: Site, idnumber: str) -> None:
    one(site)
    shown(site, idnumber=idnumber)
    outcome = one(site)
    assert outcome == Waiting("moodle_username_taken", recheck_after_s=3600.0)


# --- memberships ------------------------------------------------------------------------------------------


def members(site: Site, change: Callable[[list[int], int], list[int]]) -> None:
    """From now on the members of every cohort are shown so; told her id too."""

    def bend(function: str, _form: dict[str, str], answer: Any) -> Any:
        if function == MEMBERS:
            her = site.user()["id"]
            return [{**row, "userids": change(row["userids"], her)} for row in answer]
        return answer

    site.bends = bend


def test_a_membership_that_is_not_shown_is_no_success(site: Site) -> None:
    members(site, lambda ids, her: [each for each in ids if each != her])
    assert not_applied(one(site, cohort(INFO)))


def test_one_cohort_of_several_that_is_not_shown_is_no_success(site: Site) -> None:
    site.bends = lambda function, _form, answer: (
        [{**row, "userids": [] if at == len(answer) - 1 else row["userids"]} for at, row in enumerate(answer)]
        if function == MEMBERS
        else answer
    )
    assert not_applied(one(site, cohort(INFO), cohort(FORMER)))


def test_cohorts_that_are_left_out_of_an_answer_are_an_outage(site: Site) -> None:
    one(site, cohort(INFO))
    site.bends = lambda function, _form, answer: answer[1:] if function == MEMBERS else answer
    with pytest.raises(TargetDown):
        one(site, cohort(INFO), compare=True)


def test_a_former_cohort_is_left_and_one_of_somebody_else_s_is_not(site: Site) -> None:
    one(site, cohort(FORMER))
    club = site.make_cohort("club")
    site.join(club, site.user()["id"])
    assert isinstance(one(site, cohort(INFO), compare=True), Done)
    assert (site.members(FORMER), len(site.members(INFO)), len(site.members("club"))) == ([], 1, 1)


def test_a_cohort_in_another_case_is_not_the_one_that_is_wanted(site: Site) -> None:
    expect(Done, one(site))
    site.bends = lambda function, _form, answer: (
        [{**row, "idnumber": row["idnumber"].lower()} for row in answer] if function == COHORTS else answer
    )
    site.make_cohort(INFO.lower())
    outcome = one(site, cohort(INFO), compare=True)
    assert isinstance(outcome, Waiting | Dead | Retry)
    assert site.members(INFO.lower()) == []


def test_a_cohort_whose_creation_is_not_shown_is_no_success(site: Site) -> None:
    def bend(function: str, _form: dict[str, str], answer: Any) -> Any:
        if function == COHORTS:
            return []
        return {"cohorts": []} if function == "core_cohort_search_cohorts" else answer

    site.bends = bend
    assert not isinstance(one(site, cohort(INFO)), Done)


def test_nobody_is_taken_out_of_a_cohort_that_another_student_wants_and_that_is_not_managed(
    site: Site,
) -> None:
    other = student(cohort("club"), number="22600002")
    one(site)
    site.join(site.make_cohort("club"), site.user()["id"])
    outcomes = site.handle(student(), other, compare=True)
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert len(site.members("club")) == 2


def test_every_page_of_a_search_for_cohorts_is_read(tmp_path: Path) -> None:
    site = Site(tmp_path, clock=lambda: 100.0)  # what was read stays young
    for _ in range(2):  # the cohorts that there were are known, and their members
        one(site)
    for n in range(105):
        site.make_cohort(f"{INFO}-{n:03}")
    site.make_cohort(INFO)
    assert isinstance(one(site, cohort(INFO)), Done)
    assert sum(function == "core_cohort_search_cohorts" for function, _ in site.asked) == 2
    assert "core_cohort_create_cohorts" not in site.writes()
    assert site.members(INFO) == [site.user()["id"]]


# --- the digest, and what else is said --------------------------------------------------------------------


def digest(user: dict[str, Any], cohorts: list[str]) -> str:
    """Worked out here, from what the site shows."""
    fields = {name: [user[name]] for name in (*FIELDS, "idnumber")} | {"cohorts": sorted(cohorts)}
    text = json.dumps(
        {"fields": fields, "open": not user["suspended"]},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_the_digest_is_of_what_was_shown(site: Site) -> None:
    outcome = expect(Done, one(site, cohort(INFO), cohort(FORMER)))
    assert outcome.digest == digest(site.user(), [INFO, FORMER])
    shut = expect(Done, one(site, **SHUT))
    assert shut.changed
    assert shut.digest == digest(site.user(), [])


def test_fields_that_are_not_owned_are_no_part_of_the_digest(tmp_path: Path) -> None:
    site = Site(tmp_path)
    outcome = expect(Done, one(site))
    shown(site, lang="en", city="Paris")
    assert one(site) == Done(outcome.digest, changed=False)
    assert "lang" not in site.handler.describe().owns


def test_a_pending_cohort_is_named_while_the_rest_is_given(site: Site) -> None:
    pending = cohort(FORMER, met=False)
    assert one(site, cohort(INFO), pending) == Waiting(
        "pedagogical_enrolment_pending", pending=(f"Étape {FORMER}",)
    )
    administrative = cohort("L1DROIT-2026", met=False, requires=Requirement.ADMINISTRATIVE)
    assert one(site, pending, administrative) == Waiting(
        "pedagogical_enrolment_pending", pending=(f"Étape {FORMER}",)
    ), "the enrolment in force comes first"
    assert isinstance(one(site, pending, **SHUT), Done)


@pytest.mark.parametrize(("length", "shortened"), [(99, False), (100, False), (101, True)])
def test_a_name_is_shortened_above_a_hundred_characters_and_that_is_said(
    site: Site, length: int, *, shortened: bool
) -> None:
    outcome = expect(Done, one(site, person=Person(birth_name="L" * length, given_name="Élodie")))
    assert bool(outcome.note) is shortened
    name = site.user()["lastname"]
    assert name == ("L" * 99 + "…" if shortened else "L" * length)


def test_a_long_name_ends_at_a_word_unless_that_is_half_of_it(site: Site) -> None:
    one(site, person=Person(birth_name="A" * 60 + " " + "B" * 60, given_name="Élodie"))
    assert site.user()["lastname"] == "A" * 60 + "…"
    for left in (50, 40):
        one(site, person=Person(birth_name="A" * left + " " + "B" * 99, given_name="Élodie"))
        assert site.user()["lastname"] == "A" * left + " " + "B" * (98 - left) + "…"


def test_the_longest_that_moodle_takes_is_taken(site: Site) -> None:
    mail = "e" * 64 + "@" + "u" * 32 + ".fr"
    assert len(mail) == 100
    assert isinstance(one(site, login="e" * 100, mail=mail), Done)


# --- adopted users ----------------------------------------------------------------------------------------


def adopting(folder: Path, idnumber: str = "", kept: str = "") -> tuple[Site, int]:
    site = Site(folder)
    userid = site.make_user("e.lefevre", **({"idnumber": idnumber} if idnumber else {}))
    site.adopted[NUMBER] = AdoptedRef(str(userid), kept)
    return site, userid


@pytest.mark.parametrize("kept", ["", "VIEUX-7"])
def test_an_adopted_user_gets_the_number_and_stays_the_same_user(tmp_path: Path, kept: str) -> None:
    site, userid = adopting(tmp_path, kept, kept)
    preview = site.handler.preview([student()])[NUMBER]
    assert "idnumber" in preview.differs
    expect(Done, one(site))
    assert site.user()["id"] == userid
    assert site.user()["username"] == LOGIN


@pytest.mark.parametrize(("idnumber", "kept"), [("22699999", ""), ("VIEUX-8", "VIEUX-7"), ("", "VIEUX-7")])
def test_a_user_who_has_another_number_than_when_adopted_is_left(
    tmp_path: Path, idnumber: str, kept: str
) -> None:
    site, userid = adopting(tmp_path, idnumber, kept)
    assert site.handler.preview([student()])[NUMBER].differs[0] == "object"
    assert isinstance(one(site), Done)
    assert site.user()["id"] != userid


def test_an_adopted_user_is_not_taken_where_somebody_has_the_number(tmp_path: Path) -> None:
    site, userid = adopting(tmp_path)
    mine = site.make_user("autre", idnumber=NUMBER)
    assert isinstance(one(site), Done)
    assert site.user()["id"] == mine != userid


# --- no answer --------------------------------------------------------------------------------------------


def gateway_gives_up(site: Site, function: str) -> None:
    """The site carries the next such call out, and the answer is lost."""
    left = [1]

    def bend(name: str, _form: dict[str, str], answer: Any) -> Any:
        if name == function and left:
            left.pop()
            return httpx.Response(504)
        return answer

    site.bends = bend


@pytest.mark.parametrize(
    "function", ["core_user_create_users", "core_cohort_add_cohort_members", "core_cohort_create_cohorts"]
)
def test_a_write_whose_answer_is_lost_is_observed_and_not_repeated(site: Site, function: str) -> None:
    gateway_gives_up(site, function)
    outcomes = [one(site, cohort(INFO)) for _ in range(2)]
    assert isinstance(outcomes[-1], Done)
    assert site.writes().count(function) == 1


def test_a_lost_suspension_is_unknown_until_it_is_seen(site: Site) -> None:
    one(site)
    gateway_gives_up(site, "core_user_update_users")
    outcome = expect(Retry, one(site, **SHUT))
    assert (outcome.cause, outcome.unknown) == ("moodle_outcome_unknown", True)
    assert isinstance(one(site, **SHUT), Done)


@pytest.mark.parametrize(
    ("function", "unknown"), [("core_user_create_users", True), ("core_user_get_users_by_field", False)]
)
def test_an_outage_after_a_lost_write_leaves_the_batch_in_doubt(
    site: Site, function: str, *, unknown: bool
) -> None:
    lost: list[str] = []

    def bend(name: str, _form: dict[str, str], answer: Any) -> Any:
        if name == function or lost:
            lost.append(name)
            return httpx.Response(504 if len(lost) == 1 else 503)
        return answer

    site.bends = bend
    with pytest.raises(TargetDown) as down:
        one(site, cohort(INFO))
    assert down.value.unknown is unknown


@pytest.mark.parametrize("function", ["core_cohort_add_cohort_members", "core_cohort_delete_cohort_members"])
def test_a_membership_whose_answer_is_lost_and_that_is_not_seen_stays_unknown(
    site: Site, function: str
) -> None:
    one(site, cohort(FORMER))
    gone: list[str] = []

    def bend(name: str, _form: dict[str, str], answer: Any) -> Any:
        if name == function:
            gone.append(name)
            return httpx.Response(504)
        if name == MEMBERS and gone:
            her = site.user()["id"]
            stays = function == "core_cohort_delete_cohort_members"
            return [{**row, "userids": [her] if stays else []} for row in answer]
        return answer

    site.bends = bend
    outcome = expect(Retry, one(site, cohort(INFO), cohort(FORMER)) if "add" in function else one(site))
    assert (outcome.cause, outcome.unknown) == ("moodle_outcome_unknown", True)
    assert len(gone) == 1


# --- what would stand in the way --------------------------------------------------------------------------


def test_a_preview_names_what_differs_and_writes_nothing(site: Site) -> None:
    assert site.handler.preview([student(cohort(INFO))])[NUMBER].differs == (
        "object",
        "idnumber",
        *FIELDS,
        "cohorts",
    )
    one(site, cohort(FORMER))
    before = len(site.writes())
    preview = site.handler.preview(
        [student(cohort(INFO), person=Person(birth_name="Durand", given_name="Élodie"))]
    )[NUMBER]
    assert (preview.differs, preview.obstacle) == (("lastname", "cohorts"), "")
    assert len(site.writes()) == before


def test_a_preview_foresees_who_has_the_login_or_the_address(site: Site) -> None:
    other = site.make_user(LOGIN)
    assert site.handler.preview([student()])[NUMBER].obstacle == "moodle_username_taken"
    site.call("core_user_update_users", **{"users[0][id]": other, "users[0][username]": "autre"})
    assert site.handler.preview([student()])[NUMBER].obstacle == ""
    site.call("core_user_update_users", **{"users[0][id]": other, "users[0][email]": MAIL})
    assert site.handler.preview([student()])[NUMBER].obstacle == "moodle_email_taken"


def test_an_address_that_two_users_share_already_is_no_obstacle_and_one_is(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.state.change({"allow_accounts_same_email": True})
    site.make_user("un", email=MAIL.upper())
    assert site.handler.preview([student()])[NUMBER].obstacle == "moodle_email_taken"
    site.make_user("deux", email=MAIL)
    assert site.handler.preview([student()])[NUMBER].obstacle == ""
    site.make_user("trois", email="autre@ailleurs.example")
    assert isinstance(one(site), Done)
    assert site.handler.preview([student()])[NUMBER].obstacle == ""


def test_the_address_of_somebody_else_in_other_capitals_is_found_out(site: Site) -> None:
    """An exact search misses it on PostgreSQL, and Moodle refuses the user all the same."""
    site.make_user("autre", email=MAIL.upper())

    def exact(function: str, form: dict[str, str], answer: Any) -> Any:
        if function == BY_FIELD and form["field"] == "email":
            return [row for row in answer if row["email"] == form["values[0]"]]
        return answer

    site.bends = exact
    assert one(site) == Waiting("moodle_email_taken", recheck_after_s=3600.0)


def test_an_unexplained_refusal_is_not_laid_on_an_address(site: Site) -> None:
    refusal = {"exception": "invalid_parameter_exception", "errorcode": "invalidparameter", "message": ""}
    refused = {"core_user_create_users", "core_user_get_users"}
    site.before = lambda function, _form: refusal if function in refused else None
    assert expect(Dead, one(site)).cause == "moodle_refused_values"
