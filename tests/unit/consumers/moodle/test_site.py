"""One batch on a site: what is observed anew, what is written, and what is said when in doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr

from consumers.moodle import handler
from consumers.moodle.causes import MoodleCause, MoodleFault
from consumers.moodle.handler import MoodleHandler
from consumers.moodle.port import AdoptedUser, MoodlePort, Result, Seen, User, WantedUser
from consumers.moodle.settings import MoodleSettings
from pipeline.errors import Misconfigured, TargetDown, Throttled
from pipeline.target import Dead, Done, Preview, Retry, Task
from schemas.account import Hold, Person
from sesame.testing.servers.moodle_kit import SlowClock
from tests.unit.consumers.moodle.moodle_kit import (
    LOGIN,
    MAIL,
    NUMBER,
    NoLock,
    Site,
    cohort,
    is_managed,
    student,
)

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
    moved = asked_by(site, lambda: site.handle(student(cohort(FORMER))))
    assert moved == [BY_FIELD, COHORTS, MEMBERS, JOIN, LEAVE, BY_FIELD, MEMBERS]
    now[0] += 3600
    alone = asked_by(site, lambda: site.handle(student(cohort(FORMER)), compare=True))
    assert alone == [BY_FIELD, COHORTS, MEMBERS]


def test_members_join_and_leave_in_calls_that_php_does_not_cut(tmp_path: Path) -> None:
    """Four variables for one who joins and two for one who leaves; never the site's limit itself."""
    site = Site(tmp_path, max_input_vars=50, member_batch=30, user_batch=50)
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


def wanted(
    number: str = NUMBER, *, suspended: bool = False, compare: bool = False, **cohorts: str
) -> WantedUser:
    suffix = "" if number == NUMBER else number
    fields = {
        "username": LOGIN + suffix,
        "auth": "cas",
        "firstname": "Élodie",
        "lastname": "Lefèvre",
        "email": MAIL.replace("@", f"{suffix}@"),
    }
    return WantedUser(number, fields, suspended=suspended, cohorts=cohorts, compare=compare)


def apply(site: Site, *batch: WantedUser) -> dict[str, Result]:
    return dict(site.port.apply(batch, site.handler.deadline()))


def test_what_was_written_is_a_change_and_what_was_as_it_should_be_is_none(site: Site) -> None:
    made = apply(site, wanted(L1="Licence"))[NUMBER]
    assert (made.changed, made.faults) == (True, ())
    assert (made.seen.idnumber, made.seen.cohorts) == (NUMBER, ("L1",))
    same = apply(site, wanted(L1="Licence"))[NUMBER]
    assert same == Result(made.seen, changed=False)
    for batch in (
        wanted(L1="Licence", L2="Licence"),
        wanted(L2="Licence"),
        wanted(L2="Licence", suspended=True),
    ):
        assert apply(site, batch)[NUMBER].changed


@pytest.mark.parametrize("function", [CREATE, UPDATE, JOIN, LEAVE])
def test_what_is_in_doubt_is_unknown_and_nothing_more_is_written_of_that_student(
    site: Site, function: str
) -> None:
    """The answer is lost, and the site has done nothing: only another turn can say so."""
    if function != CREATE:
        apply(site, wanted(L2="Licence"))
    other = wanted("22600002")
    apply(site, other)
    site.before = lambda name, _form: httpx.Response(504) if name == function else None
    before = len(site.writes())
    batch = wanted(L1="Licence", suspended=function == UPDATE)
    results = apply(site, batch, other)
    assert results[NUMBER].faults[0] == MoodleFault(MoodleCause.OUTCOME_UNKNOWN)
    assert results[NUMBER].changed
    assert results["22600002"].faults == ()
    assert not results["22600002"].changed
    written = site.writes()[before:]
    assert written.count(function) == 1
    if function in (CREATE, UPDATE):
        assert not {JOIN, LEAVE} & set(written)
    site.before = lambda _name, _form: None
    assert apply(site, batch)[NUMBER].faults == ()


def test_a_membership_that_is_refused_is_tried_again_after_the_next_look_and_no_more(site: Site) -> None:
    site.before = lambda name, _form: REFUSED if name == JOIN else None
    result = apply(site, wanted(L1="Licence"))[NUMBER]
    assert result.faults == (MoodleFault(MoodleCause.BUSY),)
    assert site.writes().count(JOIN) == 2
    assert result.changed  # the user was made


def test_a_membership_that_was_lost_once_and_made_is_as_wanted(site: Site) -> None:
    gone: list[str] = []

    def lost(name: str, _form: dict[str, str], answer: Any) -> Any:
        if name == JOIN and not gone:
            gone.append(name)
            return httpx.Response(504)
        return answer

    site.bends = lost
    result = apply(site, wanted(L1="Licence"))[NUMBER]
    assert (result.faults, result.changed, result.seen.cohorts) == ((), True, ("L1",))


def test_when_time_runs_out_only_those_observed_as_wanted_are_done(tmp_path: Path) -> None:
    clock = [100.0]
    site = Site(tmp_path, clock=lambda: clock[0])
    ready, shut = wanted("22600002"), wanted("22600003", suspended=True)
    apply(site, ready)

    def slow(function: str, _form: dict[str, str]) -> None:
        clock[0] += 1000.0 if function == CREATE else 0.0

    site.before = slow
    results = apply(site, ready, wanted(), shut)
    assert (results["22600002"].faults, results["22600002"].changed) == ((), False)
    assert results[NUMBER].faults == (MoodleFault(MoodleCause.OUT_OF_TIME),)
    assert results[NUMBER].changed
    assert site.user()["username"] == LOGIN


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
    apply(site, wanted())
    deadline = site.handler.deadline()
    deadline.lost = lost
    site.before = lambda function, _form: answer if function in (BY_FIELD, "core_user_get_users") else None
    acts: list[Callable[[], Any]] = [
        lambda: site.port.apply([wanted()], deadline),
        lambda: site.port.close([NUMBER], deadline),
        lambda: site.port.read([NUMBER], deadline),
        lambda: site.port.probe(deadline),
        lambda: site.port.foresee([wanted("22600009")], {"22600009": Seen("22600009")}, deadline),
    ]
    for act in acts:
        with pytest.raises(error) as caught:
            act()
        assert caught.value.unknown is lost  # type: ignore[attr-defined]
        if answer is REFUSED:
            assert "invalidparameter" in str(caught.value)


@pytest.mark.parametrize("strangers", [True, False])
def test_a_listing_that_cannot_be_had_is_an_outage(site: Site, *, strangers: bool) -> None:
    site.before = lambda function, _form: REFUSED if function == "core_user_get_users" else None
    with pytest.raises(TargetDown, match="invalidparameter") as down:
        list(site.port.dump(strangers=strangers))
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


def test_a_reading_that_is_asked_for_uses_no_picture(site: Site) -> None:
    for _ in range(2):  # from then on there is one, and it is young
        site.handle(student(cohort(INFO)))
    site.join(site.make_cohort(FORMER), site.user()["id"])
    assert site.port.read([NUMBER], site.handler.deadline())[NUMBER].cohorts == (INFO, FORMER)


def test_a_cohort_stands_in_the_way_of_those_alone_who_would_join_it(site: Site) -> None:
    site.make_cohort(INFO.lower())
    new = replace(wanted(), cohorts={INFO: "Licence"})
    user = User(7, LOGIN, "cas", NUMBER, "Élodie", "Lefèvre", MAIL, suspended=False)

    def foreseen(batch: WantedUser, seen: Seen) -> dict[str, MoodleFault]:
        return dict(site.port.foresee([batch], {NUMBER: seen}, site.handler.deadline()))

    conflict = {NUMBER: MoodleFault(MoodleCause.COHORT_CONFLICT, INFO)}
    assert foreseen(new, Seen(NUMBER)) == conflict
    assert foreseen(new, Seen(NUMBER, (user,))) == conflict
    assert foreseen(new, Seen(NUMBER, (user,), (INFO,))) == {}
    assert foreseen(replace(new, create=False, suspended=True), Seen(NUMBER)) == {}


def test_a_listing_looks_at_the_members_anew_and_only_managed_cohorts_are_shown(site: Site) -> None:
    both = student(cohort(INFO)), student(number="22600002")
    for _ in range(2):  # from then on there is a picture, and it is young
        site.handle(*both, student(number="22600003"))
    club, info = site.make_cohort("club"), next(iter(site.call(COHORTS)))["id"]
    for user in (site.user(), site.user("22600002")):
        site.join(club, user["id"])
    site.join(info, site.user("22600002")["id"])
    nobody = site.make_user("sans-numero")
    found = {each.idnumber: each for each in site.port.dump()}
    assert {number: each.cohorts for number, each in found.items()} == {
        NUMBER: (INFO,),
        "22600002": (INFO,),
        "22600003": (),
    }
    assert found[NUMBER].users[0].username == LOGIN
    everybody = [each.users[0] for each in site.port.dump(strangers=True)]
    assert nobody in {user.id for user in everybody}


# --- the handler ------------------------------------------------------------------------------------------


def test_a_batch_is_as_long_and_as_large_as_the_settings_say(tmp_path: Path) -> None:
    site = Site(
        tmp_path, user_batch=7, call_s_max=11.0, connect_timeout_s=3.0, write_timeout_s=5.0, clock=lambda: 2.0
    )
    assert site.handler.batch_size == 7
    assert site.handler.call_s_max == 11.0 + 2 * 3.0 + 5.0
    assert site.handler.deadline().left_s() == 11.0
    assert site.handler.port is site.port
    owned = site.handler.describe().owns
    assert owned[-2].startswith("cohort (created")
    assert owned[-1] == "cohort members"


class Port:
    """Suspends nobody, loses an answer, and remembers in which order it was asked what."""

    def __init__(self, *, lost: bool, shut: frozenset[str] = frozenset()) -> None:
        self.asked: list[Any] = []
        self.lost, self.shut_now = lost, shut

    def close(self, numbers: Any, deadline: Any) -> frozenset[str]:
        self.asked.append(("close", list(numbers)))
        deadline.lost = self.lost
        return self.shut_now

    def apply(self, batch: Any, deadline: Any) -> dict[str, Result]:
        self.asked.append(("apply", [(each.idnumber, each.compare, each.adopted) for each in batch]))
        return {each.idnumber: Result(Seen(each.idnumber), changed=False) for each in batch}

    def shut(self) -> None:
        self.asked.append("shut")


def handled(port: Port, *tasks: Task) -> Any:
    settings = MoodleSettings(base_url="https://moodle.example", token=SecretStr("x"))
    adopted = {NUMBER: AdoptedUser(7, "")}
    handler = MoodleHandler(
        cast("MoodlePort", port),
        settings,
        adopted=lambda numbers: {n: adopted[n] for n in numbers if n in adopted},
    )
    outcomes = handler.handle(tasks)
    handler.close()
    return outcomes


def test_who_loses_access_is_shut_before_anything_else_is_looked_at() -> None:
    port = Port(lost=False)
    outcomes = handled(port, Task(student(number="22600002")), Task(student(**SHUT), compare=True))
    assert port.asked == [
        ("close", [NUMBER]),
        ("apply", [("22600002", False, None), (NUMBER, True, AdoptedUser(7, ""))]),
        "shut",
    ]
    assert all(isinstance(outcome, Done) and not outcome.changed for outcome in outcomes.values())
    open_ = Port(lost=False)
    handled(open_, Task(student()))
    assert [what for what, _ in open_.asked[:1]] == ["apply"]


def test_a_suspension_that_was_not_answered_is_unknown_of_those_who_were_not_shut() -> None:
    other = "22600002"
    port = Port(lost=True, shut=frozenset({other}))
    tasks = [Task(student(**SHUT)), Task(student(number=other, **SHUT)), Task(student(number="22600003"))]
    outcomes = handled(port, *tasks)
    lost = MoodleCause.OUTCOME_UNKNOWN
    assert outcomes[NUMBER] == Retry(lost.value, lost.explanation, unknown=True)
    assert isinstance(outcomes[other], Done)
    assert outcomes[other].changed
    assert isinstance(outcomes["22600003"], Done)


def test_whose_account_moodle_cannot_hold_is_a_dead_letter_and_keeps_nobody_else() -> None:
    port = Port(lost=False)
    outcomes = handled(port, Task(student(login="Élodie")), Task(student(number="22600002")))
    fault = MoodleFault(MoodleCause.LOGIN_INVALID)
    assert outcomes[NUMBER] == Dead("moodle_login_invalid", fault.message)
    assert isinstance(outcomes["22600002"], Done)
    nobody = Port(lost=False)
    handled(nobody, Task(student(login="Élodie")))
    assert nobody.asked == ["shut"]


def test_a_preview_is_of_the_user_that_was_adopted(tmp_path: Path) -> None:
    site = Site(tmp_path, adopted={NUMBER: AdoptedUser(3, "")})
    userid = site.make_user("autre", email=MAIL, firstname="Élodie", lastname="Lefèvre")
    site = Site(tmp_path, adopted={NUMBER: AdoptedUser(userid, "")})
    preview = site.handler.preview([student(), student(login="Élodie", number="22600002")])
    assert preview[NUMBER] == Preview(("username", "idnumber"))
    assert preview["22600002"] == Preview(obstacle="moodle_login_invalid")


def test_a_preview_names_the_obstacle_beside_what_differs(site: Site) -> None:
    site.handle(student())
    other = site.make_user("pris")
    changed = student(login="pris", person=Person(birth_name="Durand", given_name="Élodie"))
    assert site.handler.preview([changed])[NUMBER] == Preview(
        ("username", "lastname"), "moodle_username_taken"
    )
    assert site.user()["id"] != other


def test_the_handler_s_parts_are_given_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is asked for at each call; the lock and the clock are the process's."""
    settings = MoodleSettings(base_url="https://moodle.example", token=SecretStr("x"))
    made: list[tuple[Any, dict[str, Any]]] = []

    class Parts:
        def __init__(self, *given: Any, **named: Any) -> None:
            made.append((given, named))

    monkeypatch.setattr("consumers.moodle.rest.RestClient", Parts)
    monkeypatch.setattr("consumers.moodle.site.MoodleSite", Parts)
    lock, clock = NoLock(), lambda: 5.0
    site = handler.moodle_site(settings, lock=lock, is_managed=is_managed, clock=clock)
    built = handler.MoodleHandler(site, settings, clock=clock)
    assert made[0] == ((settings,), {"token": None})
    assert made[1][1] == {"lock": lock, "is_managed": is_managed, "clock": clock}
    assert made[1][0][1] is settings
    assert built.deadline().left_s() == settings.call_s_max
    token = lambda: "now"  # noqa: E731
    handler.moodle_site(settings, lock=lock, is_managed=is_managed, clock=clock, token=token)
    assert made[2] == ((settings,), {"token": token})
    assert made[3][1] == {"lock": lock, "is_managed": is_managed, "clock": clock}
