"""One batch on a site: what is observed anew, what is written, and what is said when in doubt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from consumers.kit.connector import AdoptedRef, Change, ConnectorContext, Held, SiteFacts
from consumers.moodle.causes import MoodleCause, fault
from consumers.moodle.connector import MoodleConnector
from consumers.moodle.members import Memberships
from consumers.moodle.settings import MoodleSettings
from pipeline.db.database import Database
from pipeline.errors import Misconfigured, TargetDown, Throttled
from pipeline.target import Dead, Done, Preview, Waiting
from schemas.account import Account, Hold, Person
from sesame.settings import LiveSecret
from sesame.testing.servers.moodle_kit import SlowClock
from tests.unit.consumers.moodle.moodle_kit import LOGIN, MAIL, NUMBER, Site, cohort, is_managed, student

INFO, FORMER = "L1INFO-2026", "L2INFO-2025"
BY_FIELD, MEMBERS, COHORTS, INFO_CALL = (
    "core_user_get_users_by_field",
    "core_cohort_get_cohort_members",
    "core_cohort_get_cohorts",
    "core_webservice_get_site_info",
)
CREATE, UPDATE, JOIN, LEAVE = (
    "core_user_create_users",
    "core_user_update_users",
    "core_cohort_add_cohort_members",
    "core_cohort_delete_cohort_members",
)
SHUT: dict[str, Any] = {"holds": frozenset({Hold.SUSPENDED})}
REFUSED = {"exception": "invalid_parameter_exception", "errorcode": "invalidparameter", "message": ""}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, clock=SlowClock())


def asked_by(site: Site, act: Callable[[], Any]) -> list[str]:
    """The functions that are called for it, in order."""
    before = len(site.asked)
    act()
    return [function for function, _ in site.asked[before:]]


# --- what is asked for ------------------------------------------------------------------------------------


def test_one_who_is_as_wanted_costs_one_reading_and_her_cohorts_another(site: Site) -> None:
    site.handle(student(cohort(INFO)))
    site.handle(student(cohort(INFO)))
    assert asked_by(site, lambda: site.handle(student(cohort(INFO)))) == [BY_FIELD, MEMBERS]
    compared = asked_by(site, lambda: site.handle(student(cohort(INFO)), compare=True))
    assert compared == [BY_FIELD, COHORTS, MEMBERS]


def test_a_batch_reads_the_picture_once_and_after_a_write_the_cohorts_it_concerns(tmp_path: Path) -> None:
    now = [100.0]
    site = Site(tmp_path, clock=lambda: now[0])
    site.make_cohort(INFO)
    site.make_cohort(FORMER)

    def later(*_asked: object) -> None:
        now[0] += 0.001

    site.before = later
    first = asked_by(site, lambda: site.handle(student(cohort(INFO))))
    assert first == [INFO_CALL, BY_FIELD, BY_FIELD, CREATE, COHORTS, JOIN, BY_FIELD, MEMBERS]
    now[0] += 61  # she is a new one no more
    moved = asked_by(site, lambda: site.handle(student(cohort(FORMER))))
    assert moved == [BY_FIELD, COHORTS, MEMBERS, JOIN, LEAVE, BY_FIELD, MEMBERS]
    now[0] += 3600
    alone = asked_by(site, lambda: site.handle(student(cohort(FORMER)), compare=True))
    assert alone == [BY_FIELD, COHORTS, MEMBERS]


def test_members_join_and_leave_in_calls_that_php_does_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four variables for one who joins and two for one who leaves; never the site's limit itself."""
    monkeypatch.setattr("consumers.moodle.site.MEMBER_BATCH", 30)
    site = Site(tmp_path, max_input_vars=50, batch_size=50)
    students = [student(cohort(INFO), number=str(22600000 + n)) for n in range(28)]
    site.handle(*students)
    joined = [form for function, form in site.asked if function == JOIN]
    assert [sum("usertype" in key and "value" in key for key in form) for form in joined] == [11, 11, 6]
    site.handle(*(student(number=str(22600000 + n)) for n in range(28)))
    left = [form for function, form in site.asked if function == LEAVE]
    assert [sum("userid" in key for key in form) for form in left] == [23, 5]
    assert site.members(INFO) == []
    site.handle(*(student(number=str(22600000 + n), **SHUT) for n in range(28)))
    shut = [form for function, form in site.asked if function == UPDATE]
    assert [sum("suspended" in key for key in form) for form in shut] == [23, 5]


# --- what becomes of whom ---------------------------------------------------------------------------------


def wanted(number: str = NUMBER, *keys: str, suspended: bool = False, **changes: Any) -> Account:
    return student(*map(cohort, keys), number=number, **(SHUT if suspended else {}), **changes)


def test_what_differs_is_written_and_what_is_as_it_should_be_is_not(site: Site) -> None:
    assert site.apply(wanted(NUMBER, "L1")) == {}
    before = site.writes()
    assert site.apply(wanted(NUMBER, "L1")) == {}
    assert site.writes() == before
    for keys, suspended in ((("L1", "L2"), False), (("L2",), False), (("L2",), True)):
        before = site.writes()
        assert site.apply(wanted(NUMBER, *keys, suspended=suspended)) == {}
        assert len(site.writes()) > len(before)
        [shown] = site.seen(wanted())
        assert (shown.fields["cohorts"], shown.open) == (keys, not suspended)


def test_what_goes_well_is_left_to_whoever_reads_it_back(site: Site) -> None:
    changes = site.changes(wanted(NUMBER, "L1"))
    asked = asked_by(site, lambda: site.connector.apply(changes, site.deadline()))
    search = "core_cohort_search_cohorts"
    assert asked == [CREATE, COHORTS, search, "core_cohort_create_cohorts", search, JOIN]


@pytest.mark.parametrize("function", [CREATE, UPDATE, JOIN, LEAVE])
def test_what_is_in_doubt_is_unknown_and_nothing_more_is_written_of_that_student(
    site: Site, function: str
) -> None:
    """The answer is lost, and the site has done nothing: only another turn can say so."""
    if function != CREATE:
        site.apply(wanted(NUMBER, "L2"))
    other = wanted("22600002")
    site.apply(other)
    site.before = lambda name, _form: httpx.Response(504) if name == function else None
    before = len(site.writes())
    batch = wanted(NUMBER, "L1", suspended=function == UPDATE)
    assert site.apply(batch, other) == {NUMBER: fault(MoodleCause.OUTCOME_UNKNOWN)}
    written = site.writes()[before:]
    assert written.count(function) == 1
    if function in (CREATE, UPDATE):
        assert not {JOIN, LEAVE} & set(written)
    site.before = lambda _name, _form: None
    assert site.apply(batch) == {}


def test_a_membership_that_is_refused_is_tried_again_after_the_next_look_and_no_more(site: Site) -> None:
    site.before = lambda name, _form: REFUSED if name == JOIN else None
    assert site.apply(wanted(NUMBER, "L1")) == {NUMBER: fault(MoodleCause.BUSY)}
    assert site.writes().count(JOIN) == 2
    assert site.user()["username"] == LOGIN


def test_a_membership_that_was_lost_once_and_made_is_as_wanted(site: Site) -> None:
    gone: list[str] = []

    def lost(name: str, _form: dict[str, str], answer: Any) -> Any:
        if name == JOIN and not gone:
            gone.append(name)
            return httpx.Response(504)
        return answer

    site.bends = lost
    assert site.apply(wanted(NUMBER, "L1")) == {}
    assert site.seen(wanted())[0].fields["cohorts"] == ("L1",)
    assert site.writes().count(JOIN) == 1


def test_all_of_a_batch_who_may_have_joined_are_noted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[Mapping[int, Collection[int]]] = []
    monkeypatch.setattr(Memberships, "joining", lambda _self, users: noted.append(users))
    site.apply(wanted("22600002", "L1"), wanted(NUMBER, "L1", "L2"))
    first, second = site.user("22600002")["id"], site.user()["id"]
    assert [sorted(map(sorted, each.values())) for each in noted] == [[sorted([first, second]), [second]]]


def test_when_time_runs_out_whoever_is_left_is_slow(tmp_path: Path) -> None:
    clock = [100.0]
    site = Site(tmp_path, clock=lambda: clock[0], call_s_max=10.0)
    ready = wanted("22600002")
    site.apply(ready)

    def slow(function: str, _form: dict[str, str]) -> None:
        clock[0] += 15.0 if function == CREATE else 0.0

    site.before = slow
    changes = site.changes(wanted(NUMBER, "L1"), wanted("22600003"))
    faults = site.connector.apply(changes, site.deadline())
    assert faults == dict.fromkeys((NUMBER, "22600003"), fault(MoodleCause.OUT_OF_TIME))
    assert site.user()["username"] == LOGIN
    assert site.writes()[-1] == CREATE


def test_a_login_that_somebody_else_has_is_seen_and_the_others_are_made(site: Site) -> None:
    site.make_user(LOGIN)
    assert site.seen(wanted()) == Held("moodle_username_taken", recheck_after_s=3600.0)
    assert site.seen(wanted("22600002")) == []
    taken, made = site.handle(student(), student(number="22600002"))
    assert taken == Waiting("moodle_username_taken", recheck_after_s=3600.0)
    assert isinstance(made, Done)
    assert len(site.seen(wanted("22600002"))) == 1


def test_a_closing_suspends_those_users_and_says_who_was_not(site: Site) -> None:
    two = (wanted(), wanted("22600002"))
    site.apply(*two)
    changes = site.changes(*two)
    first, second = (int(each.found.ref) for each in changes if each.found is not None)
    site.before = lambda name, _form: {"warnings": [_admin(second)]} if name == UPDATE else None
    refused = site.connector.close(changes, site.deadline())
    assert refused == {"22600002": fault(MoodleCause.ADMIN_ACCOUNT)}
    form = next(form for function, form in reversed(site.asked) if function == UPDATE)
    sent = {key: value for key, value in form.items() if key.startswith("users")}
    assert sent == {
        "users[0][id]": str(first),
        "users[0][suspended]": "1",
        "users[1][id]": str(second),
        "users[1][suspended]": "1",
    }
    site.before = lambda name, _form: httpx.Response(504) if name == UPDATE else None
    lost = dict.fromkeys((NUMBER, "22600002"), fault(MoodleCause.OUTCOME_UNKNOWN))
    assert site.connector.close(changes, site.deadline()) == lost


def test_of_two_users_with_one_number_both_are_shut(site: Site) -> None:
    ids = [site.make_user(name, idnumber=NUMBER) for name in ("un", "deux")]
    shut = student(**SHUT)
    changes = [Change(shut, each, {}, open=False) for each in site.seen(shut)]
    assert site.connector.close(changes, site.deadline()) == {}
    assert [(int(each.ref), each.open) for each in site.seen(shut)] == [(id_, False) for id_ in ids]


def _admin(userid: int) -> dict[str, Any]:
    return {"item": "user", "itemid": userid, "warningcode": "usernotupdatedadmin", "message": ""}


def test_a_user_is_erased_with_its_memberships_and_is_found_no_more(site: Site) -> None:
    site.apply(wanted(NUMBER, "L1"), wanted("22600002", "L1"))
    found = site.seen(wanted())
    assert site.connector.erase(found, site.deadline()) == {}
    assert site.seen(wanted()) == []
    assert len(site.members("L1")) == 1
    assert site.connector.erase(found, site.deadline()) == {}, "whoever is gone is gone"


# --- doubt about the site ---------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(503), TargetDown),
        (httpx.Response(429), Throttled),
        (httpx.Response(404), Misconfigured),
        (REFUSED, TargetDown),
    ],
)
def test_whatever_ends_a_batch_says_whether_a_write_may_still_land(
    site: Site, answer: Any, error: type[Exception], *, lost: bool
) -> None:
    site.apply(wanted())
    changes, deadline = site.changes(wanted("22600009")), site.deadline()
    found = site.seen(wanted())
    deadline.unanswered = lost
    site.before = lambda function, _form: answer if function in (BY_FIELD, "core_user_get_users") else None
    acts: list[Callable[[], Any]] = [
        lambda: site.connector.read([wanted()], deadline),
        lambda: site.connector.erase(found, deadline),
        lambda: site.connector.foresee(changes, deadline),  # its rights are to be verified again by then
    ]
    for act in acts:
        if act is acts[-1]:
            with pytest.raises(error):
                site.connector.probe()
        with pytest.raises(error) as caught:
            act()
        assert caught.value.unknown is lost  # type: ignore[attr-defined]
        if answer is REFUSED:
            assert "invalidparameter" in str(caught.value)


def test_a_listing_that_cannot_be_had_is_an_outage(site: Site) -> None:
    site.before = lambda function, _form: REFUSED if function == "core_user_get_users" else None
    with pytest.raises(TargetDown, match="invalidparameter") as down:
        list(site.connector.objects())
    assert down.value.unknown is False


def test_a_site_that_refuses_the_service_user_is_believed_again_once_its_rights_are_verified(
    site: Site,
) -> None:
    site.handle(student())
    denied = {"exception": "required_capability_exception", "errorcode": "nopermissions", "message": ""}
    site.before = lambda function, _form: denied if function == BY_FIELD else None
    with pytest.raises(Misconfigured):
        site.handle(student())
    site.before = lambda _function, _form: None
    assert asked_by(site, lambda: site.handle(student()))[0] == INFO_CALL
    assert INFO_CALL not in asked_by(site, lambda: site.handle(student()))
    site.before = lambda function, _form: httpx.Response(503) if function == BY_FIELD else None
    with pytest.raises(TargetDown):
        site.handle(student())
    site.before = lambda _function, _form: None
    assert INFO_CALL not in asked_by(site, lambda: site.handle(student()))


@pytest.mark.parametrize("read_only", [True, False])
def test_a_probe_looks_at_the_rights_to_write_only_where_it_writes(
    tmp_path: Path, *, read_only: bool
) -> None:
    site = Site(tmp_path, mode="observe" if read_only else "write")
    asked = asked_by(site, site.handler.probe)
    assert asked[:2] == [INFO_CALL, BY_FIELD]
    assert (CREATE in asked) is not read_only


def test_after_doubt_a_reading_uses_no_picture(site: Site) -> None:
    for _ in range(2):  # from then on there is one, and it is young
        site.connector.forget()
        site.handle(student(cohort(INFO)))
    site.join(site.make_cohort(FORMER), site.user()["id"])
    assert site.seen(wanted())[0].fields["cohorts"] == (INFO,)
    site.connector.forget()
    assert site.seen(wanted())[0].fields["cohorts"] == (INFO, FORMER)


def test_an_outage_while_something_is_read_back_is_doubt_too(site: Site) -> None:
    site.handle(student(cohort(INFO)))
    others = site.make_cohort(FORMER)
    site.before = lambda function, _form: httpx.Response(503) if function == MEMBERS else None
    with pytest.raises(TargetDown):
        site.handle(student(cohort(INFO)))
    site.join(others, site.user()["id"])
    site.before = lambda _function, _form: None
    assert site.seen(wanted())[0].fields["cohorts"] == (INFO, FORMER)


def test_a_cohort_stands_in_the_way_of_those_alone_who_would_join_it(site: Site) -> None:
    def foreseen(one: Account) -> dict[str, Any]:
        return dict(site.connector.foresee(site.changes(one), site.deadline()))

    site.make_cohort(INFO.lower())
    conflict = {NUMBER: fault(MoodleCause.COHORT_CONFLICT, INFO)}
    assert foreseen(wanted(NUMBER, INFO)) == conflict
    assert foreseen(wanted(NUMBER, INFO, suspended=True)) == {}
    site.apply(wanted())
    assert foreseen(wanted(NUMBER, INFO)) == conflict
    [change] = site.changes(wanted(NUMBER, INFO))
    assert change.found is not None
    inside = replace(change.found, fields={**change.found.fields, "cohorts": (INFO,)})
    assert site.connector.foresee([replace(change, found=inside)], site.deadline()) == {}


def test_a_listing_looks_at_the_members_anew_and_only_managed_cohorts_are_shown(site: Site) -> None:
    both = student(cohort(INFO)), student(number="22600002")
    for _ in range(2):  # from then on there is a picture, and it is young
        site.handle(*both, student(number="22600003"))
    club, info = site.make_cohort("club"), next(iter(site.call(COHORTS)))["id"]
    for user in (site.user(), site.user("22600002")):
        site.join(club, user["id"])
    site.join(info, site.user("22600002")["id"])
    nobody = site.make_user("sans-numero")
    found = {each.student_number: each for each in site.connector.objects() if each.student_number}
    assert {number: each.fields["cohorts"] for number, each in found.items()} == {
        NUMBER: (INFO,),
        "22600002": (INFO,),
        "22600003": (),
    }
    assert found[NUMBER].names[0] == ("login", LOGIN)
    assert str(nobody) in {each.ref for each in site.connector.objects()}


# --- the connector ----------------------------------------------------------------------------------------


def test_a_batch_is_as_long_and_as_large_as_the_settings_say(tmp_path: Path) -> None:
    times: dict[str, Any] = {"connect_timeout_s": 3.0, "timeout_s": 15.0}
    site = Site(tmp_path, batch_size=7, call_s_max=11.0, **times)
    assert site.handler.batch_size == 7
    assert site.handler.call_s_max == 11.0 + 2 * (3.0 + 5.0 + 15.0)


def test_who_loses_access_is_shut_before_anything_else_is_written(site: Site) -> None:
    site.handle(student())
    before = len(site.writes())
    site.handle(student(number="22600002"), student(**SHUT))
    assert site.writes()[before:] == [UPDATE, CREATE]
    assert site.user()["suspended"]


def test_whose_account_moodle_cannot_hold_is_a_dead_letter_and_keeps_nobody_else(site: Site) -> None:
    site.handle(student(number="22600003"))
    before, odd = len(site.writes()), {"login": "Élodie"}
    refused, absent, _ = site.handle(
        student(**odd), student(number="22600002", **SHUT), student(number="22600003", **odd, **SHUT)
    )
    assert refused == Dead("moodle_login_invalid", MoodleCause.LOGIN_INVALID.explanation)
    assert isinstance(absent, Done)
    assert site.writes()[before] == UPDATE, "access is shut whatever the login is"
    assert site.user("22600003")["suspended"]
    assert site.seen(student()) == []


@pytest.mark.parametrize("cause", list(MoodleCause))
def test_a_fault_waits_is_tried_again_or_is_dead_as_its_cause_says(cause: MoodleCause) -> None:
    found = fault(cause, "about")
    if isinstance(found, Held):
        assert (found.reason, cause.kind) == (cause.value, "waiting")
        return
    assert (found.cause, found.message) == (cause.value, f"{cause.explanation} [about]")
    assert found.lasting is (cause.kind == "dead")
    assert found.unknown is (cause is MoodleCause.OUTCOME_UNKNOWN)


def test_what_waits_for_an_operator_is_looked_at_again_within_the_hour(site: Site) -> None:
    site.make_user(LOGIN)
    assert site.handle(student()) == [Waiting("moodle_username_taken", (), 3600.0)]


def test_a_preview_is_of_the_user_that_was_adopted(tmp_path: Path) -> None:
    site = Site(tmp_path)
    userid = site.make_user("autre", email=MAIL, firstname="Élodie", lastname="Lefèvre")
    site.adopted[NUMBER] = AdoptedRef(str(userid))
    preview = site.handler.preview([student(), student(login="Élodie", number="22600002")])
    assert preview[NUMBER] == Preview(("idnumber", "username"))
    assert preview["22600002"].obstacle == "moodle_login_invalid"


def test_a_preview_names_the_obstacle_beside_what_differs(site: Site) -> None:
    site.handle(student())
    other = site.make_user("pris")
    changed = student(login="pris", person=Person(birth_name="Durand", given_name="Élodie"))
    assert site.handler.preview([changed])[NUMBER] == Preview(
        ("username", "lastname"), "moodle_username_taken"
    )
    assert site.user()["id"] != other


@pytest.mark.parametrize("read_only", [True, False])
def test_the_site_s_parts_are_given_what_the_connector_was_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, read_only: bool
) -> None:
    """The client gets the connector's own context, and with it the token; cohorts are created under the
    store's lock."""
    settings = MoodleSettings(base_url="https://moodle.example", token=SecretStr("x"))
    database = Database(f"sqlite:///{tmp_path / 'store.db'}")
    context = ConnectorContext(
        "moodle",
        settings,
        lambda name: LiveSecret(settings, name),
        read_only=read_only,
        site=SiteFacts(database=database, is_managed=is_managed),
    )
    made: list[Any] = []
    monkeypatch.setattr("consumers.moodle.site.RestClient", made.append)
    monkeypatch.setattr("consumers.moodle.site.SiteLocks", made.append)
    MoodleConnector(context)
    assert made == [context, database]
