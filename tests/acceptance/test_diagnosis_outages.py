"""The diagnosis of what befalls everybody: servers away or refusing, work that stands still, lost keys.

As in `test_diagnosis.py`, each rule is provoked for real; who is named `late` is the student that is late.
"""

from __future__ import annotations

import string
from collections.abc import Iterator

import pytest

from sandbox.cas import Service
from sandbox.moodle.conditions import FaultKind
from sandbox.process import wait_until
from sesame.operations.people.diagnosis.rules.work import BACKLOG_MIN
from sesame.testing.servers.ldap_tools import as_provisioner, can_log_in
from tests.acceptance.diagnosis_kit import PASSWORD, Clinic, clinic

ACTIVE = ("outage", "restored", "new_password")
LATER = ("late", "slow", "key_lost", "key_found")
FORMER = tuple(f"former_{letter}" for letter in string.ascii_lowercase[:20])
CROWD = tuple(f"crowd_{first}{second}" for first in "abcdefgh" for second in "abcdefgh")
OTHER = "Un-autre-mot-de-2027"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with clinic(tmp_path_factory.mktemp("records")) as made:
        students: dict[str, dict[str, str]] = {name: {} for name in (*ACTIVE, *LATER, *FORMER, *CROWD)}
        made.enrol(students)
        wait_until(lambda: all(map(made.has_account, students)), "accounts")
        made.activate(*ACTIVE)
        made.settle(*ACTIVE)
        yield made


# --- too much is given up -----------------------------------------------------------------------------


def test_a_directory_that_refuses_nearly_everybody_is_left_alone_until_somebody_has_looked(
    here: Clinic,
) -> None:
    dns = [here.dn(name) for name in FORMER]
    for name, dn in zip(FORMER, dns, strict=True):  # the former tool still runs, and knows no student number
        lines = ("objectClass: inetOrgPerson", f"uid: {here.account(name).login}", "cn: Former", "sn: Former")
        as_provisioner(here.world.slapd, "ldapadd", stdin="\n".join([f"dn: {dn}", *lines, ""]))
    here.activate(*FORMER)
    wait_until(lambda: here.state("directory") == "quarantined", "the consumer to stop itself")
    here.redirect("outage", "outage@courriel.example")
    found = here.await_rule("outage", "target_quarantined")
    assert found.service == "directory"
    assert "were given up for good within 300 s, 20 of them by identity_collision" in found.evidence["said"]
    assert "directory: target_quarantined" in here.sesame("diagnose", here.numbers["outage"])
    assert "Les mises à jour de ce service sont suspendues, par sécurité" in here.page("outage")

    as_provisioner(here.world.slapd, "ldapdelete", *dns)
    here.sesame("quarantine", "lift", "directory", "--reason", "the former tool is switched off")
    here.sesame("replay", "--consumer", "directory", "--cause", "identity_collision", "--yes")
    wait_until(lambda: can_log_in(here.world.slapd, dns[-1], PASSWORD), "the last of them to be made")
    here.settle("outage", *FORMER)
    assert "target_quarantined" not in here.rules("outage")
    assert [name for name in FORMER if "given_up" in here.rules(name, live=False)] == []


def test_a_target_that_an_operator_pauses_says_so_and_goes_on_where_it_was(here: Clinic) -> None:
    here.sesame("targets", "pause", "directory", "--reason", "a new disk")
    wait_until(lambda: here.state("directory") == "paused", "the consumer to keep away")
    here.redirect("outage", "later@courriel.example")
    assert here.await_rule("outage", "target_paused").service == "directory"
    assert "Les mises à jour de ce service sont en pause pendant une intervention" in here.page("outage")
    here.sesame("targets", "resume", "directory", "--reason", "it is in")
    here.settle("outage")
    assert "target_paused" not in here.rules("outage")


# --- the password is lost on its way ------------------------------------------------------------------


def test_an_entry_that_was_restored_has_no_password_and_the_vault_has_it_no_more(here: Clinic) -> None:
    dn, number = here.dn("restored"), here.numbers["restored"]
    as_provisioner(here.world.slapd, "ldapdelete", dn)
    here.finding("restored", "entry_missing")
    here.sesame("replay", "--consumer", "directory", "--student", number, "--yes")
    assert here.await_rule("restored", "password_needed").evidence == {"reason": "credential_needed"}
    assert "directory: password_needed" in here.sesame("diagnose", number)
    assert not can_log_in(here.world.slapd, dn, PASSWORD)
    here.new_password("restored", OTHER)
    wait_until(lambda: can_log_in(here.world.slapd, dn, OTHER), "the new password to work")
    here.settle("restored")
    assert "password_needed" not in here.rules("restored")


def test_a_password_that_no_key_opens_is_chosen_again_or_waits_for_the_former_key(here: Clinic) -> None:
    with here.pipeline_stopped():
        here.activate("key_lost", "key_found")
        former = here.other_key()
    for name in ("key_lost", "key_found"):
        assert here.await_rule(name, "password_needed").evidence["cause"] == "seal_broken"
        assert "given_up" not in here.rules(name, live=False)
        assert not can_log_in(here.world.slapd, here.dn(name), PASSWORD)
    assert "dead letter:" in here.sesame("diagnose", here.numbers["key_lost"])
    page = here.page("key_lost")
    assert "Le mot de passe que vous aviez choisi n’est plus disponible" in page
    assert 'href="/">Choisir un nouveau mot de passe</a>' in page

    here.new_password("key_lost", OTHER)
    wait_until(lambda: can_log_in(here.world.slapd, here.dn("key_lost"), OTHER), "it to work")
    with here.pipeline_stopped(), here.app.settings.vault_key_file.open("a", encoding="ascii") as keys:
        keys.write(former)
    here.sesame("replay", "--consumer", "directory", "--cause", "seal_broken", "--yes")
    wait_until(lambda: can_log_in(here.world.slapd, here.dn("key_found"), PASSWORD), "it to work")
    here.settle("key_lost", "key_found")
    assert [name for name in ("key_lost", "key_found") if "password_needed" in here.rules(name)] == []


# --- servers and consumers that stand still -----------------------------------------------------------


def test_moodle_refusing_us_away_or_asking_for_a_pause(here: Clinic) -> None:
    here.world.moodle.control(token={"valid_until": 1})
    here.redirect("outage", "second@courriel.example")
    here.await_rule("outage", "target_misconfigured", live=False)
    here.world.moodle.reset()
    here.settle("outage")
    here.world.moodle.kill()
    here.redirect("outage", "third@courriel.example")
    here.await_rule("outage", "target_down")
    assert here.diagnosis("outage").situation.live.unseen.keys() == {"moodle"}
    here.world.start_server("moodle")
    here.settle("outage")
    here.world.moodle.fault(FaultKind.UNAVAILABLE, calls=3, retry_after_s=5)
    here.redirect("outage", "fourth@courriel.example")
    here.await_rule("outage", "target_throttled", live=False)


def test_many_others_who_are_served_before(here: Clinic) -> None:
    here.world.moodle.set(latency_per_call_s=2.5)
    here.activate(*CROWD)
    wait_until(lambda: here.lag("moodle") > BACKLOG_MIN, "Moodle's consumer to say how far it is behind")
    here.redirect("outage", "fifth@courriel.example")
    found = here.await_rule("outage", "backlog", live=False, service="moodle")
    assert found.evidence["records, personal"] >= BACKLOG_MIN
    assert found.evidence["records, bulk"] == 0
    here.world.moodle.set(latency_per_call_s=0.0)
    here.settle("outage", *CROWD)
    assert "backlog" not in here.rules("outage")


def test_work_that_nobody_has_begun_yet(here: Clinic) -> None:
    with here.pipeline_stopped():
        here.activate("late")
        here.finding("late", "activation_on_its_way")
        here.new_password("new_password", OTHER)
        here.mint(lambda: here.account("new_password").version > 1)
        assert here.rules("new_password", live=False) == ["consumer_stopped"] * 3
        here.finding("new_password", "password_on_its_way")
    here.world.slapd.pause()
    try:
        here.activate("slow")
        here.await_rule("slow", "on_its_way", live=False)
    finally:
        here.world.slapd.resume()


def test_a_login_server_that_refuses_the_portal_or_is_away(here: Clinic) -> None:
    here.world.cas.serve(Service("elsewhere", "^https://elsewhere[.]test/"))
    here.finding("outage", "cas_refuses_portal")
    here.world.cas.stop()
    here.finding("outage", "cas_down")
