"""Nextcloud against the stand-in of its provisioning API, odd answers included: its users are the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import count
from typing import Any

import pytest

from consumers.nextcloud import ocs
from consumers.nextcloud.connector import NextcloudConnector
from pipeline.errors import Misconfigured, TargetDown
from pipeline.target import Dead, Done, Retry, Waiting
from sandbox.nextcloud.cloud import Cloud, User
from sandbox.nextcloud.server import serving
from schemas.account import Account, Hold, Membership, Person, Requirement, Stage
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.connector_harness import ConnectorHarness

GIB = 1024**3


@pytest.fixture
def cloud() -> Cloud:
    made = Cloud()
    made.groups.add("sesame")
    made.users["sesame"] = User("sesame", groups={"admin"})
    return made


@pytest.fixture
def address(cloud: Cloud) -> Iterator[str]:
    with serving(cloud) as address:
        yield address


def harness(address: str, **changes: Any) -> ConnectorHarness:
    section = {"url": f"http://{address}", "token": "sesame:app-password"}
    context = {name: changes.pop(name) for name in ("adopted",) if name in changes}
    return ConnectorHarness(NextcloudConnector, section | changes, **context)


@pytest.fixture
def desk(address: str) -> Iterator[ConnectorHarness]:
    desk = harness(address, group_prefix="etu-")
    yield desk
    desk.handler.close()


def account(login: str = "lea.martin", number: str = "22600001", **changes: Any) -> Account:
    return account_of(number, login, **changes)


def in_groups(*keys: str, met: bool = True) -> tuple[Membership, ...]:
    return tuple(Membership(key=k, name=k, requires=Requirement.PEDAGOGICAL, met=met) for k in keys)


def writes(cloud: Cloud) -> list[str]:
    return [f"{method} {path}" for method, path in cloud.calls if method != "GET"]


SHUT: dict[str, Any] = {"holds": frozenset({Hold.SUSPENDED})}


# --- users and their fields ------------------------------------------------------------------------


def test_two_students_have_a_user_each_with_accents_mark_and_address(
    desk: ConnectorHarness, cloud: Cloud
) -> None:
    lea = account(person=Person(birth_name="Müller-d'Été", given_name="Léa"))
    noe = account("noe.martin", "22600002", person=Person(birth_name="Çelik", given_name="Noé"))
    assert all(isinstance(each, Done) for each in desk.outcomes(lea, noe).values())
    found = {uid: (user.displayname, user.email, user.groups) for uid, user in cloud.users.items()}
    assert found == {
        "sesame": ("", None, {"admin"}),
        "lea.martin": ("Léa Müller-d'Été", "lea.martin@etu.univ-exemple.fr", {"sesame"}),
        "noe.martin": ("Noé Çelik", "noe.martin@etu.univ-exemple.fr", {"sesame"}),
    }
    assert cloud.users["lea.martin"].password != cloud.users["noe.martin"].password


def test_nextcloud_never_sends_a_message_of_its_own(desk: ConnectorHarness, cloud: Cloud) -> None:
    assert isinstance(desk.outcome(account()), Done)
    assert cloud.welcomed == []
    assert len(cloud.users["lea.martin"].password) > 40


def test_an_address_is_kept_in_small_letters_and_nothing_is_written_again(
    desk: ConnectorHarness, cloud: Cloud
) -> None:
    shouting = account(mail="Lea.MARTIN@etu.univ-exemple.fr")
    assert isinstance(desk.outcome(shouting), Done)
    assert cloud.users["lea.martin"].email == "lea.martin@etu.univ-exemple.fr"
    cloud.calls.clear()
    assert isinstance(desk.outcome(shouting), Done)
    assert writes(cloud) == []


def test_one_field_that_differs_is_one_write(desk: ConnectorHarness, cloud: Cloud) -> None:
    desk.outcome(account())
    cloud.users["lea.martin"].displayname = "Pirate"
    cloud.calls.clear()
    assert isinstance(desk.outcome(account()), Done)
    assert (cloud.users["lea.martin"].displayname, writes(cloud)) == ("Léa Martin", ["PUT users/lea.martin"])


def test_an_address_that_its_owner_changed_is_set_again_and_the_user_stays_the_student_s(
    desk: ConnectorHarness, cloud: Cloud
) -> None:
    desk.outcome(account())
    cloud.users["lea.martin"].email = "noe.martin@etu.univ-exemple.fr"
    assert isinstance(desk.outcome(account(**SHUT)), Done)
    assert not cloud.users["lea.martin"].enabled
    assert cloud.users["lea.martin"].email == "lea.martin@etu.univ-exemple.fr"


# --- whose it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "theirs",
    [
        User("lea.martin"),
        User("lea.martin", email="lea.martin@etu.univ-exemple.fr", groups={"etu-l1"}),
        User("Lea.Martin", groups={"sesame"}),
    ],
    ids=["no mark", "the address and no mark", "marked, in other letters"],
)
def test_a_user_without_our_mark_and_the_very_login_is_never_touched(
    desk: ConnectorHarness, cloud: Cloud, theirs: User
) -> None:
    cloud.users["lea.martin"] = theirs
    before = deepcopy(cloud.users)
    for each in (account(), account(**SHUT), account(stage=Stage.ERASED)):
        desk.outcome(each)
    assert isinstance(desk.outcome(account()), Dead)
    assert (cloud.users, writes(cloud)) == (before, [])


def test_two_logins_that_differ_by_case_alone_are_never_one_user(
    desk: ConnectorHarness, cloud: Cloud
) -> None:
    desk.outcome(account())
    before = deepcopy(cloud.users)
    assert isinstance(desk.outcome(account("LEA.martin", "22600002")), Dead)
    assert cloud.users == before


def test_somebody_else_with_the_student_s_address_does_not_become_the_student(
    desk: ConnectorHarness, cloud: Cloud
) -> None:
    cloud.users["noe.martin"] = User("noe.martin", email=account().mail, groups={"sesame"})
    assert isinstance(desk.outcome(account()), Done)
    assert cloud.users["noe.martin"].displayname == ""
    assert "lea.martin" in cloud.users


def test_of_users_that_are_not_ours_the_login_alone_is_a_name(desk: ConnectorHarness, cloud: Cloud) -> None:
    cloud.users["noe"] = User("noe", email=account().mail)
    desk.outcome(account())
    assert {each.ref: each.names for each in desk.objects()} == {
        "sesame": (("login", "sesame"),),
        "noe": (("login", "noe"),),
        "lea.martin": (("login", "lea.martin"), ("mail", account().mail)),
    }


@pytest.mark.parametrize("login", ["noe/disable", "../users/noe", "noe?x", "noe#x", "noe%2Fdisable"])
def test_a_login_is_never_more_than_one_part_of_a_path(
    desk: ConnectorHarness, cloud: Cloud, login: str
) -> None:
    cloud.users["noe"] = User("noe", groups={"sesame"})
    before = deepcopy(cloud.users)
    found = desk.outcome(account(login, mail="noe@etu.univ-exemple.fr"))
    assert isinstance(found, Dead)
    assert (found.cause, cloud.users) == ("nextcloud_refused", before)


def test_an_adopted_user_gets_our_mark_and_keeps_its_own_groups(address: str, cloud: Cloud) -> None:
    cloud.groups.add("chorale")
    cloud.users["lea.martin"] = User("lea.martin", groups={"chorale"})
    adopting = harness(address, adopted=lambda _numbers: {"22600001": "lea.martin"})
    assert isinstance(adopting.outcome(account()), Done)
    assert cloud.users["lea.martin"].groups == {"chorale", "sesame"}


def test_a_user_that_was_adopted_with_another_login_is_not_doubled(address: str, cloud: Cloud) -> None:
    cloud.users["lmartin"] = User("lmartin")
    adopting = harness(address, adopted=lambda _numbers: {"22600001": "lmartin"})
    assert isinstance(adopting.outcome(account()), Done)
    assert {*cloud.users} == {"sesame", "lmartin"}
    assert cloud.users["lmartin"].displayname == "Léa Martin"


# --- groups ----------------------------------------------------------------------------------------


def test_groups_are_those_with_the_prefix_made_where_they_are_missing(
    desk: ConnectorHarness, cloud: Cloud
) -> None:
    assert isinstance(desk.outcome(account(groups=in_groups("etu-l1", "bde"))), Done)
    assert cloud.users["lea.martin"].groups == {"sesame", "etu-l1"}
    assert "bde" not in cloud.groups
    cloud.users["lea.martin"].groups.add("chorale")
    assert isinstance(desk.outcome(account(groups=in_groups("etu-l2"))), Done)
    assert cloud.users["lea.martin"].groups == {"sesame", "etu-l2", "chorale"}


def test_without_a_prefix_no_group_is_given(address: str, cloud: Cloud) -> None:
    assert isinstance(harness(address).outcome(account(groups=in_groups("etu-l1"))), Done)
    assert cloud.users["lea.martin"].groups == {"sesame"}


def test_a_group_that_is_not_met_yet_is_not_given(desk: ConnectorHarness, cloud: Cloud) -> None:
    desk.outcome(account(groups=in_groups("etu-l1", met=False)))
    assert cloud.users["lea.martin"].groups == {"sesame"}


def test_a_group_that_cannot_be_made_is_waited_for_and_the_others_are_given(
    desk: ConnectorHarness, cloud: Cloud
) -> None:
    cloud.groups.add("etu-l2")
    cloud.refuse_groups = True
    found = desk.outcome(account(groups=in_groups("etu-l1", "etu-l2")))
    assert isinstance(found, Waiting)
    assert (found.reason, found.pending) == ("nextcloud_group_missing", ("etu-l1",))
    assert cloud.users["lea.martin"].groups == {"sesame", "etu-l2"}
    assert cloud.users["lea.martin"].email == account().mail


# --- odd answers, each with HTTP 200 ---------------------------------------------------------------


def test_101_to_a_new_user_is_for_an_operator(desk: ConnectorHarness, cloud: Cloud) -> None:
    found = desk.outcome(account("léa"))
    assert isinstance(found, Dead)
    assert (found.cause, {*cloud.users}) == ("nextcloud_refused", {"sesame"})


def test_102_and_103_to_a_new_user_are_tried_again_after_a_look(desk: ConnectorHarness, cloud: Cloud) -> None:
    for code in (102, 103):
        cloud.odd = {"POST users": code}
        found = desk.outcome(account(f"lea{code}", f"22600{code}"))
        assert isinstance(found, Retry)
        assert found.cause == "nextcloud_undone"
        cloud.odd = {}
        assert isinstance(desk.outcome(account(f"lea{code}", f"22600{code}")), Done)


def test_104_a_missing_mark_stops_the_consumer(desk: ConnectorHarness, cloud: Cloud) -> None:
    cloud.groups.discard("sesame")
    with pytest.raises(Misconfigured, match="104"):
        desk.outcome(account())
    assert {*cloud.users} == {"sesame"}


@pytest.mark.parametrize("code", [105, 106])
def test_105_and_106_a_lack_of_rights_stops_the_consumer(
    desk: ConnectorHarness, cloud: Cloud, code: int
) -> None:
    cloud.odd = {"POST users": code}
    with pytest.raises(Misconfigured, match=str(code)):
        desk.outcome(account())


def test_107_a_policy_is_waited_for(desk: ConnectorHarness, cloud: Cloud) -> None:
    cloud.common = lambda _password: True
    found = desk.outcome(account())
    assert isinstance(found, Waiting)
    assert (found.reason, {*cloud.users}) == ("nextcloud_policy", {"sesame"})


def test_109_the_user_was_made_all_the_same(desk: ConnectorHarness, cloud: Cloud) -> None:
    cloud.odd = {"POST users": 109}
    assert isinstance(desk.outcome(account()), Done)
    assert cloud.users["lea.martin"].email == account().mail


def test_101_to_an_address_leaves_the_user_marked_and_is_for_an_operator(
    desk: ConnectorHarness, cloud: Cloud
) -> None:
    found = desk.outcome(account(mail="no-address"))
    assert isinstance(found, Dead)
    assert found.cause == "nextcloud_refused"
    assert cloud.users["lea.martin"].groups == {"sesame"}


def test_100_to_a_write_that_was_not_done_is_no_success(desk: ConnectorHarness, cloud: Cloud) -> None:
    desk.outcome(account())
    cloud.ignored = {"PUT lea.martin", "PUT disable"}
    cloud.users["lea.martin"].displayname = "Pirate"
    assert isinstance(desk.outcome(account()), Retry)
    assert isinstance(desk.outcome(account(**SHUT)), Retry)


@pytest.mark.parametrize("code", [102, 103, 104, 105])
def test_a_membership_s_codes_mean_other_things_than_a_new_user_s(
    desk: ConnectorHarness, cloud: Cloud, code: int
) -> None:
    desk.outcome(account())
    cloud.odd, cloud.ignored = {"POST groups": code}, {"POST groups"}
    found = desk.outcome(account(groups=in_groups("etu-l1")))
    if code == 103:  # no such user
        assert isinstance(found, Retry)
        assert found.cause == "nextcloud_undone"
    else:
        assert isinstance(found, Waiting)
        assert found.reason == "nextcloud_group_missing"


def test_an_error_of_a_read_is_never_an_absent_user(desk: ConnectorHarness, cloud: Cloud) -> None:
    desk.outcome(account())
    cloud.calls.clear()
    cloud.odd = {"GET lea.martin": 103}
    with pytest.raises(TargetDown):
        desk.outcome(account())
    assert writes(cloud) == []


def test_a_wrong_app_password_stops_the_consumer(address: str) -> None:
    with pytest.raises(Misconfigured):
        harness(address, token="sesame:wrong").connector.probe()


def test_a_cloud_that_shows_nobody_is_not_at_work(desk: ConnectorHarness, cloud: Cloud) -> None:
    desk.connector.probe()
    cloud.users.clear()
    with pytest.raises(TargetDown):
        desk.connector.probe()


# --- access, everybody, and erasure ----------------------------------------------------------------


def test_shutting_is_one_call_and_opening_another(desk: ConnectorHarness, cloud: Cloud) -> None:
    desk.outcomes(account(), account("noe.martin", "22600002"))
    cloud.calls.clear()
    assert isinstance(desk.outcome(account(**SHUT)), Done)
    assert (cloud.users["lea.martin"].enabled, cloud.users["noe.martin"].enabled) == (False, True)
    assert isinstance(desk.outcome(account()), Done)
    assert cloud.users["lea.martin"].enabled
    assert writes(cloud) == ["PUT users/lea.martin/disable", "PUT users/lea.martin/enable"]


def test_access_is_shut_though_the_rest_is_refused(desk: ConnectorHarness, cloud: Cloud) -> None:
    desk.outcome(account())
    assert isinstance(desk.outcome(account(mail="no-address", **SHUT)), Dead)
    assert not cloud.users["lea.martin"].enabled


def test_short_pages_are_not_the_end(
    desk: ConnectorHarness, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocs, "PAGE", 10)
    cloud.users |= {f"u{n:03}": User(f"u{n:03}") for n in range(95)}
    cloud.hidden = {f"u{n:03}" for n in range(15, 19)}  # a page of six in the midst
    assert {each.ref for each in desk.objects()} == {*cloud.users} - cloud.hidden


def test_a_list_that_repeats_itself_is_found_out(
    desk: ConnectorHarness, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocs, "PAGE", 10)
    cloud.users |= {f"u{n:03}": User(f"u{n:03}") for n in range(25)}
    cloud.offset_ignored = True
    answer, calls = cloud.answer, count()
    monkeypatch.setattr(cloud, "answer", lambda *call: answer(*call) if next(calls) < 9 else (101, []))
    with pytest.raises(TargetDown, match="repeats"):
        desk.objects()


def test_a_user_that_is_listed_by_its_id_alone_is_read_or_is_gone(
    desk: ConnectorHarness, cloud: Cloud
) -> None:
    cloud.users |= {"lost": User("lost"), "lea.martin": User("lea.martin")}
    cloud.bare, cloud.lost = {"lost", "lea.martin"}, {"lost"}
    assert {each.ref for each in desk.objects()} == {"sesame", "lea.martin"}


def test_an_erased_student_s_user_is_gone_and_nobody_else_s(desk: ConnectorHarness, cloud: Cloud) -> None:
    desk.outcomes(account(), account("noe.martin", "22600002"))
    assert isinstance(desk.outcome(account(stage=Stage.ERASED)), Done)
    assert {*cloud.users} == {"sesame", "noe.martin"}


def test_a_user_that_nextcloud_keeps_is_not_erased(desk: ConnectorHarness, cloud: Cloud) -> None:
    desk.outcome(account())
    cloud.odd, cloud.ignored = {"DELETE lea.martin": 101}, {"DELETE lea.martin"}
    found = desk.outcome(account(stage=Stage.ERASED))
    assert isinstance(found, Dead)
    assert found.cause == "nextcloud_kept"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"users": None}, 100),
        ({}, 100),
        ({"users": {"lea.martin": []}}, 100),
        ({"users": {}}, 101),
    ],
)
def test_a_list_that_is_none_is_no_empty_cloud(
    desk: ConnectorHarness, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, data: object, code: int
) -> None:
    monkeypatch.setattr(cloud, "answer", lambda *_: (code, data))
    with pytest.raises(TargetDown):
        desk.objects()


def test_a_user_that_is_gone_already_is_erased(desk: ConnectorHarness, cloud: Cloud) -> None:
    desk.outcome(account())
    cloud.odd = {"DELETE lea.martin": 998}
    assert isinstance(desk.outcome(account(stage=Stage.ERASED)), Done)
