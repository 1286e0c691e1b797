"""One batch on a site: what is observed anew, what is written, and what is said when in doubt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import httpx
import pytest
from pydantic import SecretStr

from consumers.kit.connector import AdoptedRef, ConnectorContext, SiteFacts
from consumers.moodle import site as moodle_site
from consumers.moodle.causes import MoodleCause, MoodleFault
from consumers.moodle.connector import MoodleConnector
from consumers.moodle.port import AdoptedUser, MoodlePort, Seen, User, WantedUser
from consumers.moodle.settings import MoodleSettings
from pipeline.db.database import Database
from pipeline.errors import Misconfigured, TargetDown, Throttled
from pipeline.target import Dead, Done, HandlerOutcome, Preview, Retry, Task, Waiting
from schemas.account import Hold, Person
from sesame.testing.servers.moodle_kit import SlowClock
from tests.unit.consumers.moodle.moodle_kit import (
    LOGIN,
    MAIL,
    NUMBER,
    Site,
    cohort,
    is_managed,
    no_secret,
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
    assert first == [INFO_CALL, BY_FIELD, BY_FIELD, BY_FIELD, CREATE, COHORTS, JOIN, BY_FIELD, MEMBERS]
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
    monkeypatch.setattr(moodle_site, "MEMBER_BATCH", 30)
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


def wanted(number: str = NUMBER, *, suspended: bool = False, **cohorts: str) -> WantedUser:
    suffix = "" if number == NUMBER else number
    fields = {
        "username": LOGIN + suffix,
        "auth": "cas",
        "firstname": "Élodie",
        "lastname": "Lefèvre",
        "email": MAIL.replace("@", f"{suffix}@"),
    }
    return WantedUser(number, fields, suspended=suspended, cohorts=cohorts)


def apply(site: Site, *batch: WantedUser) -> dict[str, MoodleFault]:
    """What stands in the way of these, as they are seen now."""
    return dict(site.port.apply(batch, site.port.read(batch, site.deadline()), site.deadline()))


def seen(site: Site, *batch: WantedUser) -> Mapping[str, Seen]:
    return site.port.read(batch, site.deadline())


def test_what_differs_is_written_and_what_is_as_it_should_be_is_not(site: Site) -> None:
    assert apply(site, wanted(L1="Licence")) == {}
    shown = seen(site, wanted(L1="Licence"))[NUMBER]
    assert (shown.idnumber, shown.users[0].username, shown.cohorts) == (NUMBER, LOGIN, ("L1",))
    before = site.writes()
    assert apply(site, wanted(L1="Licence")) == {}
    assert site.writes() == before
    for batch in (
        wanted(L1="Licence", L2="Licence"),
        wanted(L2="Licence"),
        wanted(L2="Licence", suspended=True),
    ):
        before = site.writes()
        assert apply(site, batch) == {}
        assert len(site.writes()) > len(before)
        shown = seen(site, batch)[NUMBER]
        assert (shown.cohorts, shown.users[0].suspended) == (tuple(batch.cohorts), batch.suspended)


def test_what_goes_well_is_left_to_whoever_reads_it_back(site: Site) -> None:
    batch = [wanted(L1="Licence")]
    shown = seen(site, *batch)
    asked = asked_by(site, lambda: site.port.apply(batch, shown, site.deadline()))
    search = "core_cohort_search_cohorts"
    assert asked == [CREATE, COHORTS, search, "core_cohort_create_cohorts", search, JOIN]


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
    assert apply(site, batch, other) == {NUMBER: MoodleFault(MoodleCause.OUTCOME_UNKNOWN)}
    written = site.writes()[before:]
    assert written.count(function) == 1
    if function in (CREATE, UPDATE):
        assert not {JOIN, LEAVE} & set(written)
    site.before = lambda _name, _form: None
    assert apply(site, batch) == {}


def test_a_membership_that_is_refused_is_tried_again_after_the_next_look_and_no_more(site: Site) -> None:
    site.before = lambda name, _form: REFUSED if name == JOIN else None
    assert apply(site, wanted(L1="Licence")) == {NUMBER: MoodleFault(MoodleCause.BUSY)}
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
    assert apply(site, wanted(L1="Licence")) == {}
    assert seen(site, wanted())[NUMBER].cohorts == ("L1",)
    assert site.writes().count(JOIN) == 1


def test_when_time_runs_out_whoever_is_left_is_slow(tmp_path: Path) -> None:
    clock = [100.0]
    site = Site(tmp_path, clock=lambda: clock[0], call_s_max=10.0)
    ready = wanted("22600002")
    apply(site, ready)

    def slow(function: str, _form: dict[str, str]) -> None:
        clock[0] += 15.0 if function == CREATE else 0.0

    site.before = slow
    batch = [wanted(L1="Licence"), wanted("22600003")]
    shown = seen(site, *batch)
    faults = site.port.apply(batch, shown, site.deadline())
    assert faults == dict.fromkeys((NUMBER, "22600003"), MoodleFault(MoodleCause.OUT_OF_TIME))
    assert site.user()["username"] == LOGIN
    assert site.writes()[-1] == CREATE


def test_a_login_that_somebody_else_has_is_seen_before_anything_is_written(site: Site) -> None:
    site.make_user(LOGIN)
    shown = seen(site, wanted(), wanted("22600002"))
    assert [shown[number].login_taken for number in (NUMBER, "22600002")] == [True, False]
    apply(site, wanted("22600002"))
    assert not seen(site, wanted("22600002"))["22600002"].login_taken


def test_a_closing_suspends_those_users_and_says_who_was_not(site: Site) -> None:
    apply(site, wanted(), wanted("22600002"))
    users = [site.connector.port.read([each], site.deadline())[each.idnumber].users[0] for each in TWO]
    site.before = lambda name, _form: {"warnings": [_admin(users[1].id)]} if name == UPDATE else None
    faults = site.port.close(users, site.deadline())
    assert faults == {users[1].id: MoodleFault(MoodleCause.ADMIN_ACCOUNT)}
    form = next(form for function, form in reversed(site.asked) if function == UPDATE)
    sent = {key: value for key, value in form.items() if key.startswith("users")}
    assert sent == {
        "users[0][id]": str(users[0].id),
        "users[0][suspended]": "1",
        "users[1][id]": str(users[1].id),
        "users[1][suspended]": "1",
    }
    site.before = lambda name, _form: httpx.Response(504) if name == UPDATE else None
    lost = dict.fromkeys([user.id for user in users], MoodleFault(MoodleCause.OUTCOME_UNKNOWN))
    assert site.port.close(users, site.deadline()) == lost


TWO = (wanted(), wanted("22600002"))


def _admin(userid: int) -> dict[str, Any]:
    return {"item": "user", "itemid": userid, "warningcode": "usernotupdatedadmin", "message": ""}


def test_a_user_is_erased_with_its_memberships_and_is_found_no_more(site: Site) -> None:
    apply(site, wanted(L1="Licence"), wanted("22600002", L1="Licence"))
    (user,) = seen(site, wanted())[NUMBER].users
    assert site.port.erase([user], {}, site.deadline()) == {}
    assert seen(site, wanted())[NUMBER] == Seen(NUMBER)
    assert len(site.members("L1")) == 1
    assert site.port.erase([user], {}, site.deadline()) == {}, "whoever is gone is gone"


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
    shown = seen(site, wanted())
    deadline = site.deadline()
    deadline.unanswered = lost
    site.before = lambda function, _form: answer if function in (BY_FIELD, "core_user_get_users") else None
    (user,) = shown[NUMBER].users
    acts: list[Callable[[], Any]] = [
        lambda: site.port.read([wanted()], deadline),
        lambda: site.port.erase([user], {}, deadline),
        lambda: site.port.probe(deadline),
        lambda: site.port.foresee([wanted("22600009")], {"22600009": Seen("22600009")}, deadline),
    ]
    for act in acts:
        with pytest.raises(error) as caught:
            act()
        assert caught.value.unknown is lost  # type: ignore[attr-defined]
        if answer is REFUSED:
            assert "invalidparameter" in str(caught.value)


def test_a_listing_that_cannot_be_had_is_an_outage(site: Site) -> None:
    site.before = lambda function, _form: REFUSED if function == "core_user_get_users" else None
    with pytest.raises(TargetDown, match="invalidparameter") as down:
        list(site.port.dump())
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
        site.port.forget()
        site.handle(student(cohort(INFO)))
    site.join(site.make_cohort(FORMER), site.user()["id"])
    assert seen(site, wanted())[NUMBER].cohorts == (INFO,)
    site.port.forget()
    assert seen(site, wanted())[NUMBER].cohorts == (INFO, FORMER)


def test_an_outage_while_something_is_read_back_is_doubt_too(site: Site) -> None:
    site.handle(student(cohort(INFO)))
    others = site.make_cohort(FORMER)
    site.before = lambda function, _form: httpx.Response(503) if function == MEMBERS else None
    with pytest.raises(TargetDown):
        site.handle(student(cohort(INFO)))
    site.join(others, site.user()["id"])
    site.before = lambda _function, _form: None
    assert seen(site, wanted())[NUMBER].cohorts == (INFO, FORMER)


def test_a_cohort_stands_in_the_way_of_those_alone_who_would_join_it(site: Site) -> None:
    site.make_cohort(INFO.lower())
    new = replace(wanted(), cohorts={INFO: "Licence"})
    user = User(7, LOGIN, "cas", NUMBER, "Élodie", "Lefèvre", MAIL, suspended=False)

    def foreseen(batch: WantedUser, shown: Seen) -> dict[str, MoodleFault]:
        return dict(site.port.foresee([batch], {NUMBER: shown}, site.deadline()))

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
    found = {each.idnumber: each for each in site.port.dump() if each.idnumber}
    assert {number: each.cohorts for number, each in found.items()} == {
        NUMBER: (INFO,),
        "22600002": (INFO,),
        "22600003": (),
    }
    assert found[NUMBER].users[0].username == LOGIN
    assert nobody in {each.users[0].id for each in site.port.dump()}


# --- the connector ----------------------------------------------------------------------------------------


def test_a_batch_is_as_long_and_as_large_as_the_settings_say(tmp_path: Path) -> None:
    times: dict[str, Any] = {"connect_timeout_s": 3.0, "timeout_s": 15.0}
    site = Site(tmp_path, batch_size=7, call_s_max=11.0, **times)
    assert site.handler.batch_size == 7
    assert site.handler.call_s_max == 11.0 + 2 * (3.0 + 5.0 + 15.0)


class Port:
    """Loses the answer to a suspension, and remembers in which order it was asked what."""

    def __init__(self, *seen: Seen, fault: MoodleFault | None = None) -> None:
        self.asked: list[Any] = []
        self.seen = {each.idnumber: each for each in seen}
        self.fault = fault

    def read(self, batch: Any, _deadline: Any) -> dict[str, Seen]:
        self.asked.append(("read", [(each.idnumber, each.create, each.adopted) for each in batch]))
        return {each.idnumber: self.seen.get(each.idnumber, Seen(each.idnumber)) for each in batch}

    def close(self, users: Any, _deadline: Any) -> dict[int, MoodleFault]:
        self.asked.append(("close", [user.id for user in users]))
        return {user.id: self.fault for user in users if self.fault is not None}

    def apply(self, batch: Any, _seen: Any, _deadline: Any) -> dict[str, MoodleFault]:
        self.asked.append(("apply", [each.idnumber for each in batch]))
        return {each.idnumber: self.fault for each in batch if self.fault is not None}

    def probe(self, _deadline: Any) -> None:
        self.asked.append("probe")

    def forget(self) -> None:
        self.asked.append("forget")

    def shut(self) -> None:
        self.asked.append("shut")


OPEN = User(7, LOGIN, "cas", NUMBER, "Élodie", "Lefèvre", MAIL, suspended=False)


def handled(port: Port, *tasks: Task, **settings: Any) -> Mapping[str, HandlerOutcome]:
    section = MoodleSettings(base_url="https://moodle.example", token=SecretStr("x"), **settings)
    adopted = {NUMBER: AdoptedRef("7", "VIEUX-7")}
    context = ConnectorContext("moodle", section, no_secret, adopted=lambda _numbers: adopted)
    handler = MoodleConnector(context, cast("MoodlePort", port)).handler()
    outcomes = handler.handle(tasks)
    handler.close()
    return outcomes


def test_who_loses_access_is_shut_before_anything_else_is_written() -> None:
    port = Port(Seen(NUMBER, (OPEN,)), fault=MoodleFault(MoodleCause.OUTCOME_UNKNOWN))
    outcomes = handled(port, Task(student(number="22600002")), Task(student(**SHUT), compare=True))
    assert port.asked == [
        "forget",
        ("read", [("22600002", True, None), (NUMBER, False, AdoptedUser(7, "VIEUX-7"))]),
        ("close", [7]),
        "probe",
        ("apply", ["22600002"]),
        "shut",
    ]
    lost = MoodleCause.OUTCOME_UNKNOWN
    assert set(outcomes.values()) == {Retry(lost.value, lost.explanation, unknown=True)}


def test_a_suspension_is_of_the_user_and_of_nothing_else_that_it_lacks() -> None:
    port = Port(Seen(NUMBER, (OPEN,)))
    outcome = handled(port, Task(student(**SHUT), close_only=True))[NUMBER]
    assert isinstance(outcome, Retry), "it still shows open access"
    assert [each[0] for each in port.asked if each != "shut"] == ["read", "close", "read"]


def test_whose_account_moodle_cannot_hold_is_a_dead_letter_and_keeps_nobody_else() -> None:
    port = Port(Seen("22600003", (replace(OPEN, idnumber="22600003"),)))
    odd = {"login": "Élodie"}
    outcomes = handled(
        port,
        Task(student(**odd)),
        Task(student(number="22600002", **SHUT)),
        Task(student(number="22600003", **odd, **SHUT)),
    )
    fault = MoodleFault(MoodleCause.LOGIN_INVALID)
    assert outcomes[NUMBER] == Dead("moodle_login_invalid", fault.message)
    assert isinstance(outcomes["22600002"], Done)
    assert ("close", [7]) in port.asked, "access is shut whatever the login is"
    assert not [each for each in port.asked if each[0] == "apply"], "there is nothing that could be written"


@pytest.mark.parametrize("cause", list(MoodleCause))
def test_a_fault_waits_is_tried_again_or_is_dead_as_its_cause_says(cause: MoodleCause) -> None:
    outcome = handled(Port(fault=MoodleFault(cause, "about")), Task(student()))[NUMBER]
    if isinstance(outcome, Waiting):
        assert (outcome.reason, outcome.recheck_after_s) == (cause.value, 3600)
    else:
        assert isinstance(outcome, Dead | Retry)
        assert outcome.cause == cause.value
        assert outcome.message == f"{cause.explanation} [about]"
    if isinstance(outcome, Retry):
        assert outcome.unknown is (cause is MoodleCause.OUTCOME_UNKNOWN)
    kinds = {Dead: "dead", Retry: "retry", Waiting: "waiting"}
    assert kinds[type(outcome)] == cause.kind.value


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
    made: list[tuple[Any, dict[str, Any]]] = []

    class Parts:
        def __init__(self, *given: Any, **named: Any) -> None:
            made.append((given, named))

    for part in ("rest.http_client", "rest.RestClient", "site.MoodleSite"):
        monkeypatch.setattr(f"consumers.moodle.{part}", Parts)
    database = Database(f"sqlite:///{tmp_path / 'store.db'}")
    context = ConnectorContext(
        "moodle",
        settings,
        no_secret,
        read_only=read_only,
        site=SiteFacts(database=database, is_managed=is_managed),
    )
    with patch("pipeline.locks.SiteLocks") as locks:
        MoodleConnector(context)
    locks.assert_called_once_with(database)
    (wired, _), (given, _), (parts, wiring) = made
    assert wired == (context,)
    assert given[1] is context
    assert parts[1] is settings
    assert wiring == {
        "lock": locks.return_value,
        "is_managed": is_managed,
        "read_only": read_only,
        "clock": context.monotonic,
    }
