"""The Partage target against the stand-in of BSS, in a process of its own: what it holds is the oracle."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from consumers.kit.deadline import Deadline
from consumers.partage import connector
from consumers.partage.bss import TOKEN_S
from consumers.partage.connector import PartageConnector
from pipeline.errors import CredentialsRefused, Misconfigured, TargetDown
from pipeline.target import Dead, Done, HandlerOutcome, Retry
from sandbox.partage import Partage
from sandbox.process import PATIENCE_S, wait_until
from sandbox.tls import ThrowawayCA
from schemas.account import Account, Hold, Person
from sesame.settings import SettingsError
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.connector_harness import ConnectorHarness

WRITES = {
    "CreateAccount",
    "ModifyAccount",
    "RenameAccount",
    "AddAccountAlias",
    "RemoveAccountAlias",
    "DeleteAccount",
    "SetPassword",
}
DOMAIN = "etu.univ-exemple.fr"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, tls: ThrowawayCA) -> Iterator[Partage]:
    with Partage(tmp_path_factory.mktemp("partage"), certificate=tls.issue("partage")) as server:
        yield server


@pytest.fixture
def partage(running: Partage) -> Partage:
    running.reset()
    running.clear()
    return running


def harness(partage: Partage, tls: ThrowawayCA, **changes: Any) -> ConnectorHarness:
    section = {
        "url": partage.url,
        "domain": partage.domain,
        "key_file": partage.key_file,
        "ca_file": tls.ca_file,
    }
    context = {name: changes.pop(name) for name in ("monotonic", "adopted") if name in changes}
    return ConnectorHarness(PartageConnector, section | changes, **context)


@pytest.fixture
def desk(partage: Partage, tls: ThrowawayCA) -> Iterator[ConnectorHarness]:
    desk = harness(partage, tls)
    yield desk
    desk.handler.close()


def account(login: str = "lea.martin", number: str = "22600001", **changes: Any) -> Account:
    person = Person(birth_name="Müller-d'Été", given_name="Léa")
    values = {"aliases": (f"{login}.2@{DOMAIN}",), "person": person} | changes
    return account_of(number, login, **values)


def writes(partage: Partage) -> list[str]:
    return [call["method"] for call in partage.calls() if call["method"] in WRITES]


def reads(partage: Partage) -> Counter[str]:
    return Counter(call["method"] for call in partage.calls() if call["method"] not in WRITES)


# --- an account --------------------------------------------------------------------------------------


def test_a_new_student_has_an_account_with_all_that_is_wanted(
    desk: ConnectorHarness, partage: Partage
) -> None:
    done = desk.outcome(account(mail_redirect="lea@exemple.org"))
    assert isinstance(done, Done)
    assert done.changed
    [(name, found)] = partage.accounts().items()
    password = found.pop("userPassword")
    assert password.startswith("{SSHA512}"), "an account must have a password, and nobody has this one"
    del found["id"]
    assert name == f"lea.martin@{DOMAIN}"
    assert found == {
        "aliases": [f"lea.martin.2@{DOMAIN}"],
        "zimbraAccountStatus": "active",
        "carLicense": "lea.martin@univ-exemple.fr",
        "sn": "Müller-d'Été",
        "givenName": "Léa",
        "displayName": "Léa Müller-d'Été",
        "zimbraPrefMailForwardingAddress": "lea@exemple.org",
        "zimbraNotes": "22600001",
    }


def test_a_redirection_that_was_taken_back_is_gone(desk: ConnectorHarness, partage: Partage) -> None:
    desk.outcome(account(mail_redirect="lea@exemple.org"))
    assert isinstance(desk.outcome(account()), Done)
    assert "zimbraPrefMailForwardingAddress" not in partage.accounts()[f"lea.martin@{DOMAIN}"]


def test_a_redirection_of_the_webmail_s_own_is_left_alone_where_the_settings_say_so(
    partage: Partage, tls: ThrowawayCA
) -> None:
    desk = harness(partage, tls, redirection=False)
    desk.outcome(account())
    mine = {"zimbraPrefMailForwardingAddress": "lea@chez.moi"}
    partage.control(modify={f"lea.martin@{DOMAIN}": mine})
    assert desk.outcome(account(mail_redirect="lea@exemple.org")) == desk.outcome(account())
    assert partage.accounts()[f"lea.martin@{DOMAIN}"]["zimbraPrefMailForwardingAddress"] == "lea@chez.moi"


def test_settings_give_class_quota_and_visibility(partage: Partage, tls: ThrowawayCA) -> None:
    desk = harness(partage, tls, class_of_service="cos-etu", quota_bytes=1_000_000, hidden=True)
    assert isinstance(desk.outcome(account()), Done)
    found = partage.accounts()[f"lea.martin@{DOMAIN}"]
    assert (found["zimbraCOSId"], found["zimbraMailQuota"], found["zimbraHideInGal"]) == (
        "cos-etu",
        "1000000",
        "TRUE",
    )


def test_a_new_name_keeps_the_account_and_every_address(desk: ConnectorHarness, partage: Partage) -> None:
    desk.outcome(account())
    id_ = partage.accounts()[f"lea.martin@{DOMAIN}"]["id"]
    old = (f"lea.martin@{DOMAIN}", f"lea.martin.2@{DOMAIN}")
    assert isinstance(desk.outcome(account("lea.durand", aliases=old)), Done)
    [(name, found)] = partage.accounts().items()
    assert (name, found["id"], set(found["aliases"])) == (f"lea.durand@{DOMAIN}", id_, set(old))
    assert found["carLicense"] == "lea.durand@univ-exemple.fr"


def test_a_name_that_was_an_alias_of_the_account_becomes_its_name(
    desk: ConnectorHarness, partage: Partage
) -> None:
    desk.outcome(account())
    back = account("lea.martin.2", aliases=(f"lea.martin@{DOMAIN}",))
    assert isinstance(desk.outcome(back), Done)
    [(name, found)] = partage.accounts().items()
    assert (name, found["aliases"]) == (f"lea.martin.2@{DOMAIN}", [f"lea.martin@{DOMAIN}"])


def test_an_alias_that_sesame_did_not_give_stays(desk: ConnectorHarness, partage: Partage) -> None:
    partage.give(f"lea.martin@{DOMAIN}", zimbraNotes="22600001", aliases=[f"tutrice@{DOMAIN}"])
    assert isinstance(desk.outcome(account()), Done)
    found = partage.accounts()[f"lea.martin@{DOMAIN}"]
    assert found["aliases"] == [f"tutrice@{DOMAIN}", f"lea.martin.2@{DOMAIN}"]


def test_an_address_is_compared_without_case_and_a_name_without_blanks_around_it(
    desk: ConnectorHarness, partage: Partage
) -> None:
    shouting = account(mail=f"Lea.MARTIN@{DOMAIN}", person=Person(birth_name=" Martin ", given_name="Léa"))
    assert isinstance(desk.outcome(shouting), Done)
    partage.reset()
    assert isinstance(desk.outcome(shouting), Done)
    assert writes(partage) == []


# --- whose it is --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "theirs",
    [
        {"name": f"lea.martin@{DOMAIN}"},
        {"name": f"lea.martin@{DOMAIN}", "zimbraNotes": "22699999"},
        {"name": f"other@{DOMAIN}", "aliases": [f"lea.martin@{DOMAIN}"]},
        {"name": f"other@{DOMAIN}", "aliases": [f"lea.martin.2@{DOMAIN}"]},
        {"name": f"other@{DOMAIN}", "carLicense": "LEA.martin@univ-exemple.fr"},
    ],
)
def test_an_account_of_somebody_else_s_is_never_touched(
    desk: ConnectorHarness, partage: Partage, theirs: dict[str, Any]
) -> None:
    partage.give(**theirs)
    before = partage.accounts()
    found = desk.outcome(account())
    assert isinstance(found, Dead)
    assert found.cause == "identity_collision"
    shut = desk.outcome(account(holds=frozenset({Hold.SUSPENDED})))
    assert isinstance(shut, Dead)
    assert (partage.accounts(), writes(partage)) == (before, [])


def test_an_account_of_somebody_else_s_is_never_renamed_away(
    desk: ConnectorHarness, partage: Partage
) -> None:
    desk.outcome(account())
    partage.give(f"lea.durand@{DOMAIN}")
    found = desk.outcome(account("lea.durand", aliases=(f"lea.martin@{DOMAIN}",)))
    assert isinstance(found, Dead)
    assert found.cause == "identity_collision"
    assert {*partage.accounts()} == {f"lea.martin@{DOMAIN}", f"lea.durand@{DOMAIN}"}


def test_two_accounts_with_one_student_number_wait_for_an_operator(
    desk: ConnectorHarness, partage: Partage
) -> None:
    partage.give(f"lea.martin@{DOMAIN}", zimbraNotes="22600001")
    partage.give(f"autre@{DOMAIN}", zimbraNotes="22600001")
    found = desk.outcome(account())
    assert isinstance(found, Dead)
    assert found.cause == "student_number_ambiguous"
    assert writes(partage) == []


def test_an_adopted_account_is_given_the_number(
    desk: ConnectorHarness, partage: Partage, tls: ThrowawayCA
) -> None:
    partage.give(f"lea.martin@{DOMAIN}", zimbraAccountStatus="active")
    [found] = desk.objects()
    adopting = harness(partage, tls, adopted=lambda _numbers: {"22600001": found.ref})
    assert isinstance(adopting.outcome(account()), Done)
    assert partage.accounts()[f"lea.martin@{DOMAIN}"]["zimbraNotes"] == "22600001"


def test_an_address_that_a_list_holds_is_said_and_tried_again(
    desk: ConnectorHarness, partage: Partage
) -> None:
    partage.set(taken=[f"lea.martin@{DOMAIN}"])
    found = desk.outcome(account())
    assert isinstance(found, Retry)
    assert (found.cause, found.unknown) == ("partage_address_taken", True)
    assert "lea" not in found.message
    partage.set(taken=[])
    assert isinstance(desk.outcome(account()), Done)


def test_a_domain_that_partage_does_not_know_is_for_an_operator(desk: ConnectorHarness) -> None:
    found = desk.outcome(account(mail="lea.martin@ailleurs.fr", aliases=()))
    assert isinstance(found, Dead)
    assert found.cause == "partage_domain_unknown"
    assert "lea" not in found.message


# --- access ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["closed", "locked"])
def test_shutting_is_its_own_small_write_and_opening_undoes_it(
    partage: Partage, tls: ThrowawayCA, status: str
) -> None:
    desk = harness(partage, tls, closed_status=status)
    desk.outcome(account())
    partage.reset()
    assert isinstance(desk.outcome(account(holds=frozenset({Hold.SUSPENDED}))), Done)
    assert writes(partage) == ["ModifyAccount"]
    assert partage.accounts()[f"lea.martin@{DOMAIN}"]["zimbraAccountStatus"] == status
    assert isinstance(desk.outcome(account()), Done)
    assert partage.accounts()[f"lea.martin@{DOMAIN}"]["zimbraAccountStatus"] == "active"


def test_access_is_shut_before_anything_else_and_whatever_else_fails(
    desk: ConnectorHarness, partage: Partage
) -> None:
    desk.outcome(account())
    partage.set(taken=[f"lea.durand@{DOMAIN}"])
    found = desk.outcome(account("lea.durand", holds=frozenset({Hold.SUSPENDED})))
    assert isinstance(found, Retry)
    assert partage.accounts()[f"lea.martin@{DOMAIN}"]["zimbraAccountStatus"] == "closed"


def test_access_is_shut_though_somebody_else_holds_a_name_of_the_student(
    desk: ConnectorHarness, partage: Partage
) -> None:
    desk.outcome(account())
    partage.give(f"other@{DOMAIN}", aliases=[f"lea.durand@{DOMAIN}"])
    partage.reset()
    found = desk.outcome(account("lea.durand", holds=frozenset({Hold.SUSPENDED})))
    assert isinstance(found, Dead)
    assert found.cause == "identity_collision"
    assert partage.accounts()[f"lea.martin@{DOMAIN}"]["zimbraAccountStatus"] == "closed"
    assert writes(partage) == ["ModifyAccount"]


def test_a_pause_of_zimbra_s_own_after_wrong_passwords_is_not_lifted(
    desk: ConnectorHarness, partage: Partage
) -> None:
    desk.outcome(account())
    partage.control(modify={f"lea.martin@{DOMAIN}": {"zimbraAccountStatus": "lockout"}})
    partage.reset()
    assert isinstance(desk.outcome(account()), Done)
    assert writes(partage) == []


# --- everybody, and erasure ----------------------------------------------------------------------------


def test_everybody_is_listed_once_page_by_page(
    partage: Partage, tls: ThrowawayCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "PAGE_SIZE", 10)
    desk = harness(partage, tls)
    partage.control(
        create=[{"name": f"u{n:03}@{DOMAIN}", "sn": "X", "zimbraNotes": f"{n}"} for n in range(95)]
    )
    partage.reset()
    found = desk.objects()
    assert [one.student_number for one in found] == [str(n) for n in range(95)]
    assert reads(partage)["GetAllAccounts"] == 11
    assert desk.connector.objects().__next__().names == (("mail", f"u000@{DOMAIN}"),)


def test_a_listing_shows_what_reading_one_shows(desk: ConnectorHarness) -> None:
    desk.outcome(account(mail_redirect="lea@exemple.org"))
    [listed] = desk.objects()
    read = desk.connector.read([account()], Deadline.after(10))["22600001"]
    assert [listed] == read


def test_a_service_that_gives_the_same_page_again_and_again_is_found_out(
    partage: Partage, tls: ThrowawayCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "PAGE_SIZE", 1)
    desk = harness(partage, tls)
    page = (
        "<Response><status type='integer'>0</status><accounts type='array'><account><name>a@x.fr</name>"
        "<id>1</id></account></accounts></Response>"
    )
    partage.fault(method="GetAllAccounts", body=page, calls=50)
    with pytest.raises(TargetDown, match="the same page"):
        desk.objects()


def test_where_the_settings_say_so_an_erased_account_waits_under_another_name(
    partage: Partage, tls: ThrowawayCA
) -> None:
    desk = harness(partage, tls, erasure="predelete")
    desk.outcome(account())
    [lea] = desk.objects()
    assert desk.erase(lea) == {}
    [(name, found)] = partage.accounts().items()
    assert name.startswith("readytodelete_20")
    assert name.endswith(f"_lea.martin@{DOMAIN}")
    assert found["zimbraAccountStatus"] == "closed"
    assert found["zimbraHideInGal"] == "TRUE"
    assert found["carLicense"] == "DISABLED_lea.martin@univ-exemple.fr"
    assert "zimbraNotes" not in found
    assert desk.connector.read([account()], Deadline.after(10))["22600001"] == []


def test_who_is_gone_already_is_erased(desk: ConnectorHarness) -> None:
    desk.outcome(account())
    [lea] = desk.objects()
    assert [desk.erase(lea) for _ in range(2)] == [{}, {}]


@pytest.mark.parametrize("broken", ["RemoveAccountAlias", "RenameAccount"])
def test_an_erasure_that_was_interrupted_goes_on(partage: Partage, tls: ThrowawayCA, broken: str) -> None:
    desk = harness(partage, tls, erasure="predelete")
    desk.outcome(account())
    [lea] = desk.objects()
    partage.fault("system failure: x", method=broken, after_commit=True)
    refused = desk.erase(lea)[lea.ref]
    assert (refused.cause, refused.unknown) == ("partage_unwell", True)
    [again] = desk.objects()
    assert again.student_number == "22600001", "found still"
    assert desk.erase(again) == {}
    [name] = partage.accounts()
    assert name.count("readytodelete_") == 1


def test_an_account_that_became_somebody_else_s_is_not_erased(
    desk: ConnectorHarness, partage: Partage
) -> None:
    desk.outcome(account())
    [lea] = desk.objects()
    partage.control(modify={f"lea.martin@{DOMAIN}": {"zimbraNotes": "22699999"}})
    assert desk.erase(lea)[lea.ref].cause == "partage_refused"
    assert {*partage.accounts()} == {f"lea.martin@{DOMAIN}"}


# --- the token -------------------------------------------------------------------------------------------


def test_one_token_serves_the_whole_process(desk: ConnectorHarness, partage: Partage) -> None:
    start = threading.Barrier(4)

    def one(n: int) -> HandlerOutcome:
        start.wait(PATIENCE_S)
        return desk.outcome(account(f"u{n}", f"2260000{n}"))

    with ThreadPoolExecutor(4) as pool:
        assert all(isinstance(outcome, Done) for outcome in pool.map(one, range(4)))
    assert reads(partage)["Auth"] == 1


def test_a_token_is_renewed_before_it_expires(partage: Partage, tls: ThrowawayCA) -> None:
    now = [1000.0]
    desk = harness(partage, tls, monotonic=lambda: now[0])
    for later in (0.0, TOKEN_S - 1, 1.0, TOKEN_S - 1):
        now[0] += later
        desk.handler.probe()
    assert reads(partage) == {"Auth": 2, "GetAllAccounts": 4}


def test_a_token_that_is_refused_all_the_same_is_asked_for_again_once(
    desk: ConnectorHarness, partage: Partage
) -> None:
    desk.handler.probe()
    partage.control(expire=True)
    assert isinstance(desk.outcome(account()), Done)
    assert reads(partage)["Auth"] == 2
    partage.fault("Invalid token", method="GetAllAccounts", calls=2)
    with pytest.raises(TargetDown) as down:
        desk.outcome(account())
    assert down.value.unknown is False


def test_a_token_that_expires_in_the_middle_loses_no_write(desk: ConnectorHarness, partage: Partage) -> None:
    partage.fault("Invalid token", method="CreateAccount")
    partage.fault("Invalid token", method="AddAccountAlias")
    assert isinstance(desk.outcome(account()), Done)
    assert writes(partage) == ["CreateAccount"] * 2 + ["AddAccountAlias"] * 2


def test_a_wrong_key_stops_the_consumer_and_the_right_one_is_read_anew(
    partage: Partage, tls: ThrowawayCA, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text("wrong", encoding="utf-8")
    desk = harness(partage, tls, key_file=file)
    with pytest.raises(CredentialsRefused) as refused:
        desk.handler.probe()
    assert "wrong" not in str(refused.value)
    file.write_text(partage.key, encoding="utf-8")
    os.utime(file, (1.0, 1.0))  # one that was written just now may be half of it
    desk.handler.probe()


def test_a_missing_key_is_named(partage: Partage, tls: ThrowawayCA, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        harness(partage, tls, key_file=tmp_path / "nowhere")


# --- troubles --------------------------------------------------------------------------------------------


def test_one_mailbox_in_maintenance_is_one_student_s_matter(desk: ConnectorHarness, partage: Partage) -> None:
    everybody = [account(f"u{n}", f"2260000{n}") for n in range(4)]
    desk.outcomes(*everybody)
    partage.reset()
    partage.set(maintenance=[f"u2@{DOMAIN}"])
    partage.fault("mailbox in maintenance mode", method="ModifyAccount", name=f"u3@{DOMAIN}")
    renamed = [each.model_copy(update={"person": Person(birth_name="Neuf")}) for each in everybody]
    outcomes = desk.outcomes(*renamed)
    for moved in (outcomes.pop("22600002"), outcomes.pop("22600003")):
        assert isinstance(moved, Retry)
        assert (moved.cause, moved.after_s) == ("partage_maintenance", 600.0)
    assert all(isinstance(outcome, Done) for outcome in outcomes.values())
    written = {call["name"] for call in partage.calls() if call["method"] in WRITES}
    assert f"u2@{DOMAIN}" not in written, "it was seen when it was read"


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize(
    "message",
    ["LDAP error: busy", "unable to get connection", "system failure: x", "unable to create account"],
)
def test_a_temporary_error_is_tried_again_and_compared_first(
    desk: ConnectorHarness, partage: Partage, message: str, after_commit: bool
) -> None:
    partage.fault(message, method="CreateAccount", name=f"u1@{DOMAIN}", after_commit=after_commit)
    both = (account("u1", "22600001"), account("u2", "22600002"))
    outcomes = desk.outcomes(*both)
    assert isinstance(outcomes["22600002"], Done), "the others go on"
    found = outcomes["22600001"]
    assert isinstance(found, Retry)
    assert (found.cause, found.unknown) == ("partage_unwell", True)
    partage.reset()
    assert isinstance(desk.outcome(both[0]), Done)
    assert writes(partage).count("CreateAccount") == (0 if after_commit else 1)


def test_errors_for_everybody_are_the_service_s_and_nobody_is_charged(
    desk: ConnectorHarness, partage: Partage
) -> None:
    partage.fault("LDAP error: away", calls=100, method="GetAllAccounts")
    with pytest.raises(TargetDown):
        desk.outcomes(account(), account("paul", "22600002"))
    with pytest.raises(TargetDown):
        desk.handler.probe()
    with pytest.raises(TargetDown):
        desk.objects()
    assert writes(partage) == []


def test_access_that_is_refused_for_one_is_one_s_and_for_all_is_the_key_s(
    desk: ConnectorHarness, partage: Partage
) -> None:
    partage.fault("Accès refusé", method="CreateAccount")
    found = desk.outcome(account())
    assert isinstance(found, Retry)
    assert found.cause == "partage_refused"
    partage.fault("Accès refusé", method="GetAllAccounts", calls=5)
    with pytest.raises(Misconfigured):
        desk.handler.probe()


def test_a_search_that_is_refused_because_of_one_student_costs_the_others_nothing(
    desk: ConnectorHarness, partage: Partage
) -> None:
    partage.fault("invalid filter", method="GetAllAccounts", calls=2)
    outcomes = desk.outcomes(account(), account("paul", "22600002"))
    assert isinstance(outcomes["22600001"], Retry)
    assert isinstance(outcomes["22600002"], Done)


def test_a_write_whose_answer_is_lost_is_unknown_and_then_found_done(
    desk: ConnectorHarness, partage: Partage
) -> None:
    for how in ({"hang_up": True}, {"http": 504}, {"body": "<Response><status>0</sta"}, {"body": "<html/>"}):
        partage.clear()
        partage.reset()
        partage.fault(method="CreateAccount", after_commit=True, **how)
        with pytest.raises(TargetDown) as down:
            desk.outcome(account())
        assert down.value.unknown, how
        partage.reset()
        assert isinstance(desk.outcome(account()), Done)
        assert "CreateAccount" not in writes(partage), how


def test_a_search_that_lags_behind_makes_no_second_account(desk: ConnectorHarness, partage: Partage) -> None:
    partage.set(unseen=[f"lea.martin@{DOMAIN}"])
    assert isinstance(desk.outcome(account()), Done)
    partage.reset()
    partage.set(unseen=[f"lea.martin@{DOMAIN}"])
    assert isinstance(desk.outcome(account()), Done)
    assert writes(partage) == []


def test_other_doors_are_named(desk: ConnectorHarness, partage: Partage) -> None:
    for status, error, says in ((403, Misconfigured, "let us in"), (503, TargetDown, "out of order")):
        partage.reset()
        partage.fault(http=status, calls=4)
        with pytest.raises(error, match=says):
            desk.handler.probe()


def test_a_call_of_an_earlier_test_has_no_effect_once_the_stand_in_is_reset(
    partage: Partage, tls: ThrowawayCA
) -> None:
    desk = harness(partage, tls)
    partage.fault(method="CreateAccount", delay_s=PATIENCE_S)
    late = threading.Thread(target=lambda: suppressed(lambda: desk.outcome(account())))
    late.start()
    wait_until(lambda: "CreateAccount" in writes(partage), "the call to arrive")
    partage.reset()
    partage.clear()
    partage.give(f"lea.martin@{DOMAIN}", zimbraNotes="22600001")
    late.join(PATIENCE_S / 2)
    assert not late.is_alive()
    assert {*partage.accounts()} == {f"lea.martin@{DOMAIN}"}
    assert partage.accounts()[f"lea.martin@{DOMAIN}"]["sn"] == "Inconnu"


def suppressed(work: Callable[[], object]) -> None:
    with suppress(Exception):
        work()
