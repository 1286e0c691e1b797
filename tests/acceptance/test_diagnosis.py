"""The diagnosis: each rule is provoked for real, on real servers with `sesame run` working for them.

One world for all. Who is named `entry_missing` is the student to whom that happens; nobody meddles with
anybody else. What befalls everybody: `test_diagnosis_outages.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from consumers.registry.lifecycle import closings
from consumers.registry.lifecycle.entitlements import Entitlement
from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.people import KnownPerson
from producers.holds import HoldRequest, place
from producers.identities import DecisionRequest, decide
from producers.replay.requests import replay
from sandbox.process import wait_until
from schemas.account import Account, Hold, Lane, Stage
from schemas.events import IdentityDecision
from sesame.app.wiring import utc_now
from sesame.login.port import TicketRefused
from sesame.operations.people.diagnosis.rules import all_rules
from sesame.operations.people.diagnosis.rules.base import judges
from sesame.operations.people.diagnosis.words import glossary
from sesame.testing.servers.cas_kit import ticket_of
from sesame.testing.servers.ldap_tools import as_provisioner, can_log_in, search
from sesame.testing.servers.post_office import doveadm
from tests.acceptance.diagnosis_kit import HASHED, PASSWORD, Clinic, clinic

ACTIVE = (
    *("well", "untried", "held", "grace", "expired", "erased", "newer", "collision", "moodle_taken"),
    *("entry_missing", "entry_twice", "entry_locked", "entry_changed", "locked_out", "password_old"),
    "locked_for_good",
    *(
        "password_reset",
        "mistyped",
        "mailbox_off",
        "mailbox_full",
        "own_script",
        "redirect_gone",
        "redirect_on",
    ),
    *("welcome_gone", "moodle_gone", "moodle_twice", "moodle_suspended", "moodle_manual", "cohort_left"),
    *("ticket", "other", "cookie", "redirect_refused", "second"),
)
WAITING = ("unpaid", "unvalidated")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with clinic(tmp_path_factory.mktemp("records")) as made:
        usual = (*ACTIVE, "not_activated", "cancelled", "merged", "doubt")
        students: dict[str, dict[str, str]] = {name: {} for name in usual}
        students["courses"] = {"IP_VALIDE": "N"}
        students["no_address"] = {"MAIL_PERSO": ""}
        students["address_refused"] = {"MAIL_PERSO": "refuse.moi@perso.example"}
        students["unpaid"] = {"ETA_PMT_IAE": "A"}
        students["unvalidated"] = {"ETA_IAE": "C"}
        made.enrol(students)
        wait_until(lambda: all(map(made.has_account, students)), "accounts")
        made.enrol({f"{name}_twin": made.same(name) for name in ("merged", "doubt")})
        wait_until(lambda: made.diagnosis("doubt_twin", live=False).situation.person is not None, "imports")
        _before_activation(made)
        made.activate(*ACTIVE, *WAITING, "courses")
        made.settle(*ACTIVE, *WAITING, "courses")
        yield made


def _before_activation(made: Clinic) -> None:
    """Names that are taken already."""
    dn, login = made.dn("collision"), made.account("collision").login
    lines = ("objectClass: inetOrgPerson", f"uid: {login}", "cn: Staff", "sn: Staff")
    as_provisioner(made.world.slapd, "ldapadd", stdin="\n".join([f"dn: {dn}", *lines, ""]))
    made.site.create_user(made.account("moodle_taken").login, idnumber="other")


def test_every_rule_has_words_and_a_function_that_says_what_it_is() -> None:
    assert set(judges()) | {"all_seems_well", "partly_seen"} == set(all_rules())
    assert [name for name, judge in judges().items() if not judge.__doc__] == []
    words = glossary()
    for rule in all_rules().values():
        assert rule.who in words["who"]
        assert rule.delay in words["delay"]
        assert rule.leads_to in (None, "password", "activation", "login", "desk")
        assert set(rule.symptoms) <= set(words["symptoms"])
        assert rule.weight in ("stops", "delays", "tells")
        for language in ("fr", "en"):
            sentence = rule.sentences[language]
            assert sentence.cause.endswith(".")
            assert sentence.todo.endswith(".")


def test_every_rule_is_named_by_a_test_on_real_servers() -> None:
    folder = Path(__file__).parents[1]
    tests = [*folder.glob("acceptance/test_*.py"), *folder.glob("integration/*/test_*.py")]
    text = "".join(test.read_text(encoding="utf-8") for test in tests)
    assert [name for name in all_rules() if f'"{name}"' not in text] == []


# --- the account --------------------------------------------------------------------------------------


def test_a_number_that_nobody_imported(here: Clinic) -> None:
    assert here.rules("99999999") == ["unknown_number"]


def test_an_account_that_nobody_has_activated(here: Clinic) -> None:
    assert here.rules("not_activated") == ["not_activated"]


def test_a_student_whom_no_code_can_reach(here: Clinic) -> None:
    assert here.rules("no_address") == ["no_personal_address"]
    here.ask_for_code("address_refused", "refuse.moi@perso.example")
    found = here.await_rule("address_refused", "personal_address_refused")
    assert found.evidence["said"] == "the mail server refuses this message for good (550)"
    here.enrol({"address_refused": {"MAIL_PERSO": "éléonore@perso.example"}})

    def person() -> KnownPerson | None:
        return here.diagnosis("address_refused", live=False).situation.person

    wait_until(lambda: "éléonore@perso.example" in str(person()), "the registrar's new address")
    here.ask_for_code("address_refused", "Éléonore@perso.example")
    post = here.world.pages.mail
    wait_until(lambda: post.messages("éléonore@perso.example") != [], "the message")
    wait_until(lambda: here.rules("address_refused") == ["not_activated"], "it to be noted as sent")


def test_an_enrolment_that_awaits_payment_or_is_not_validated(here: Clinic) -> None:
    assert here.rules("unpaid") == ["payment_awaited"]
    assert here.rules("unvalidated") == ["enrolment_not_validated"]


def test_an_identity_in_doubt_and_one_that_was_decided(here: Clinic) -> None:
    assert "identity_in_doubt" in here.rules("doubt_twin")
    twin, number = here.numbers["merged_twin"], here.numbers["merged"]
    decision = DecisionRequest(twin, number, IdentityDecision.MERGE, "same card", "tests", utc_now())
    decide(decision, database=here.app.database, producer=here.app.producer)
    here.await_rule("merged_twin", "number_merged")
    said = here.diagnosis("merged_twin").for_student("fr").causes[0]
    assert number in said.cause


def test_an_account_that_was_shut_by_an_operator(here: Clinic) -> None:
    request = HoldRequest(here.numbers["held"], Hold.SUSPENDED, "council of 12 May", "dean", utc_now())
    place(request, database=here.app.database, producer=here.app.producer)
    found = here.await_rule("held", "access_suspended")
    assert "council of 12 May" in found.evidence["said"]
    here.settle("held")
    assert here.rules("held") == ["access_suspended"]
    assert "council" not in here.diagnosis("held").for_student("fr").model_dump_json()
    stolen = HoldRequest(here.numbers["held"], Hold.STOLEN_PASSWORDS, "phishing", "dean", utc_now())
    place(stolen, database=here.app.database, producer=here.app.producer)
    found = here.await_rule("held", "password_stolen")
    assert found.evidence["said"] == "dean: phishing"
    here.settle("held")


def test_an_account_in_grace_one_whose_time_is_over_and_one_that_never_opened(here: Clinic) -> None:
    here.enrol({name: {"ETA_IAE": "A"} for name in ("grace", "expired", "cancelled")})
    here.await_rule("grace", "account_in_grace")
    here.await_rule("expired", "account_in_grace")
    registry = here.registry_in(days=100)
    with here.app.database.write() as connection:
        registry.due(connection, here.numbers["expired"], time.time() + 100 * 86_400)
    shut = Entitlement(target="moodle", affiliations=frozenset({"affiliate"}), open=False)
    early = here.registry_in(0, LifecycleSettings(entitlements=(shut,)))
    with here.app.database.write() as connection:
        early.due(connection, here.numbers["grace"], time.time())
        [plan] = closings.held(connection)  # rows that are new here shut nobody by themselves
        closings.release(connection, plan)
        early.due(connection, here.numbers["grace"], time.time())
    here.await_rule("grace", "service_ended", service="moodle")
    here.settle("expired")
    assert here.rules("expired") == ["account_expired"]
    assert here.rules("cancelled") == ["enrolment_cancelled"]


def test_the_data_of_who_left_are_erased_then_the_account_and_each_is_read_back_as_gone(here: Clinic) -> None:
    number, before = here.numbers["erased"], here.account("erased")
    here.settle("erased")
    # Others are in grace here too: for the guard, this is a crowd.
    rules = LifecycleSettings(erase=True, data_days=10, account_days=20, guard_share=1.0)

    def later(days: int) -> Account:
        registry = here.registry_in(days, rules)
        with here.app.database.write() as connection:
            registry.due(connection, number, time.time() + days * 86_400)
        here.settle("erased")
        return here.account("erased")

    def mailbox() -> list[tuple[str, Any]]:
        asked = ("fetch", {"user": before.mail, "field": ["uid"], "query": ["mailbox", "*", "ALL"]})
        return doveadm(here.world.dovecot, asked)

    def entries() -> Mapping[str, object]:
        return search(here.world.slapd, here.world.slapd.people_dn, f"(supannEtuId={number})")

    assert mailbox()[0][1], "the welcome"
    here.enrol({"erased": {"ETA_IAE": "A"}})
    here.await_rule("erased", "account_in_grace")
    assert later(100).stage is Stage.EXPIRED
    data = later(120)
    assert (data.stage, set(data.stages)) == (Stage.EXPIRED, {"mailbox", "moodle"})
    assert mailbox()[0][1] == [], "found by the server, and empty"
    assert here.site.users("idnumber", number) == []
    assert entries(), "the account goes last"
    assert later(130).stage is Stage.ERASED
    assert entries() == {}


# --- the work -----------------------------------------------------------------------------------------


def test_work_that_is_tried_again_and_work_that_was_given_up(here: Clinic) -> None:
    here.replace("newer", "sesameVersion", "99")
    replay(
        [here.numbers["newer"]],
        consumer="directory",
        reason="-",
        actor="tests",
        lane=Lane.PERSONAL,
        producer=here.app.producer,
        database=here.app.database,
        clock=utc_now,
    )
    found = here.await_rule("newer", "tried_again")
    assert found.evidence["cause"] == "superseded"
    given_up = here.finding("collision", "given_up")
    assert given_up.evidence["cause"] == "identity_collision"
    assert given_up.evidence["dead letter"]


def test_a_name_that_is_taken_in_moodle_waits_for_an_operator(here: Clinic) -> None:
    assert here.finding("moodle_taken", "waits_for_operator").evidence["reason"] == "moodle_username_taken"


# --- the entry and its password -----------------------------------------------------------------------


def test_an_entry_that_is_gone_doubled_locked_or_changed_by_hand(here: Clinic) -> None:
    as_provisioner(here.world.slapd, "ldapdelete", here.dn("entry_missing"))
    here.finding("entry_missing", "entry_missing")
    number = here.numbers["entry_twice"]
    other = f"uid=other.{number},{here.world.slapd.people_dn}"
    classes = ("objectClass: inetOrgPerson", "objectClass: supannPerson", "cn: O", "sn: O")
    ldif = "\n".join([f"dn: {other}", *classes, f"uid: other.{number}", f"supannEtuId: {number}", ""])
    as_provisioner(here.world.slapd, "ldapadd", "-e", "!relax", stdin=ldif)
    assert other in here.finding("entry_twice", "entry_ambiguous").evidence["entries"]
    here.replace("entry_locked", "pwdAccountLockedTime", "000001010000Z")
    here.finding("entry_locked", "entry_locked")
    assert not can_log_in(here.world.slapd, here.dn("entry_locked"), PASSWORD)
    here.replace("entry_changed", "mail", "somebody@univ-exemple.fr")
    here.finding("entry_changed", "entry_changed")


def test_too_many_wrong_passwords_and_a_few(here: Clinic) -> None:
    strict = here.policy("strict", "pwdLockout: TRUE", "pwdMaxFailure: 2", "pwdLockoutDuration: 300")
    here.entry("locked_out", "add: pwdPolicySubentry", f"pwdPolicySubentry: {strict}")
    for _ in range(2):
        assert 'type="password"' in here.log_in("locked_out", password="wrong").text
    found = here.finding("locked_out", "too_many_wrong_passwords")
    assert found.words == {"minutes": "5"}
    assert not can_log_in(here.world.slapd, here.dn("locked_out"), PASSWORD)
    assert "wrong_password_typed" not in here.rules("locked_out")
    here.log_in("mistyped", password="wrong")
    assert here.finding("mistyped", "wrong_password_typed").evidence["wrong passwords"] == 1
    assert ticket_of(here.log_in("mistyped"))
    assert "wrong_password_typed" not in here.rules("mistyped")


def test_too_many_wrong_passwords_where_the_policy_names_no_end(here: Clinic) -> None:
    final = here.policy("final", "pwdLockout: TRUE", "pwdMaxFailure: 1")
    here.entry("locked_for_good", "add: pwdPolicySubentry", f"pwdPolicySubentry: {final}")
    here.log_in("locked_for_good", password="wrong")
    found = here.finding("locked_for_good", "locked_until_reset")
    assert found.evidence["until"] == "an operator lifts it"
    assert "too_many_wrong_passwords" not in here.rules("locked_for_good")
    assert not can_log_in(here.world.slapd, here.dn("locked_for_good"), PASSWORD)


def test_a_password_that_has_expired_and_one_that_was_reset(here: Clinic) -> None:
    brief = here.policy("brief", "pwdMaxAge: 1")
    here.entry("password_old", "add: pwdPolicySubentry", f"pwdPolicySubentry: {brief}")
    here.replace("password_old", "userPassword", HASHED)  # the policy counts from here
    dn = here.dn("password_old")
    wait_until(lambda: not can_log_in(here.world.slapd, dn, PASSWORD), "the password to expire")
    here.finding("password_old", "password_expired")
    here.replace("password_reset", "pwdReset", "TRUE")
    here.finding("password_reset", "password_must_change")


# --- the mailbox --------------------------------------------------------------------------------------


def test_a_mailbox_that_is_not_enabled_is_full_or_has_lost_its_welcome(here: Clinic) -> None:
    here.replace("mailbox_off", "sesameMailEnabled", "FALSE")
    assert here.finding("mailbox_off", "mailbox_not_enabled").evidence["sesameMailEnabled"] == "FALSE"
    here.replace("mailbox_full", "sesameMailQuota", "2048")
    assert here.finding("mailbox_full", "mailbox_full").evidence["quota (KiB)"] == 2
    user = here.account("welcome_gone").mail
    gone = doveadm(here.world.dovecot, ("expunge", {"user": user, "query": ["mailbox", "INBOX", "all"]}))
    assert gone[0][0] == "doveadmResponse"
    here.finding("welcome_gone", "welcome_not_there")


def test_a_redirection_that_works_is_gone_or_stands_behind_the_students_own_filter(here: Clinic) -> None:
    script = {
        "user": here.account("own_script").mail,
        "scriptname": "mine",
        "file": "keep;",
        "activate": True,
    }
    doveadm(here.world.dovecot, ("sievePut", script))
    for name in ("redirect_on", "redirect_gone", "own_script"):
        here.redirect(name, f"{name}@courriel.example")
    here.await_rule("own_script", "own_script_active")
    for name in ("redirect_on", "redirect_gone"):
        wait_until(lambda name=name: here.account(name).mail_redirect is not None, "the wish")  # type: ignore[misc]
        here.settle(name)
    assert here.finding("redirect_on", "mail_goes_elsewhere").words == {
        "address": "redirect_on@courriel.example"
    }
    doveadm(here.world.dovecot, ("sieveDeactivate", {"user": here.account("redirect_gone").mail}))
    here.finding("redirect_gone", "redirection_gone")
    here.redirect("redirect_refused", here.account("redirect_refused").mail)
    here.await_rule("redirect_refused", "redirection_refused")
    assert "redirection_gone" not in here.rules("redirect_on")


# --- Moodle -------------------------------------------------------------------------------------------


def test_courses_that_wait_for_the_pedagogical_enrolment(here: Clinic) -> None:
    found = here.finding("courses", "courses_wait_for_enrolment")
    assert found.words == {"courses": "Licence 1 Informatique 2026, cours", "component": "SCI"}
    assert "all_seems_well" not in here.rules("courses"), "it does not stand beside a cause"
    other = {"COD_ETP": "L1MATH", "LIB_ETP": "Licence 1 Mathématiques", "ETA_PMT_IAE": "A"}
    here.enrol({"second": other})
    found = here.await_rule("second", "courses_wait_for_other_enrolment")
    assert found.words["step"] == "Licence 1 Mathématiques"
    assert "courses_wait_for_enrolment" not in here.rules("second")


def test_a_moodle_user_that_is_gone_doubled_suspended_or_logs_in_otherwise(here: Clinic) -> None:
    site = here.site
    site.call("core_user_delete_users", **{"userids[0]": site.user(here.numbers["moodle_gone"])["id"]})
    here.finding("moodle_gone", "moodle_user_missing")
    site.create_user("another.one", idnumber=here.numbers["moodle_twice"])
    assert "another.one" in here.finding("moodle_twice", "moodle_user_twice").evidence["users"]
    site.update_user(site.user(here.numbers["moodle_suspended"])["id"], suspended=1)
    here.finding("moodle_suspended", "moodle_user_suspended")
    site.update_user(site.user(here.numbers["moodle_manual"])["id"], auth="manual")
    here.finding("moodle_manual", "moodle_other_login")


def test_a_cohort_that_somebody_emptied_by_hand(here: Clinic) -> None:
    site = here.site
    (cohort,) = site.cohorts()["L1INFO-2026-cours"]
    user = site.user(here.numbers["cohort_left"])["id"]
    form = {"members[0][cohortid]": cohort, "members[0][userid]": user}
    site.call("core_cohort_delete_cohort_members", **form)
    assert here.finding("cohort_left", "moodle_cohort_left").words == {
        "courses": "Licence 1 Informatique 2026, cours"
    }


# --- logging in ---------------------------------------------------------------------------------------


def test_a_login_that_nobody_has_tried_and_one_that_was_seen_to_work(here: Clinic) -> None:
    assert here.rules("untried") == ["cas_not_tried"]
    here.logins.arrive(ticket_of(here.log_in("well")), expected=here.numbers["well"])
    assert here.rules("well") == ["all_seems_well"]
    here.world.moodle.kill()
    assert here.rules("well") == ["partly_seen"], "not all is well where a server was silent"
    here.world.start_server("moodle")
    assert here.rules("well") == ["all_seems_well"]
    shown = here.sesame("status", here.numbers["well"])
    assert "cas        seen, since" in shown


def test_a_login_that_came_back_and_was_of_no_use(here: Clinic) -> None:
    logins, number = here.logins, here.numbers["ticket"]
    with pytest.raises(TicketRefused):
        logins.arrive("ST-of-nobody", expected=number)
    here.finding("ticket", "ticket_refused")
    logins.arrive(ticket_of(here.log_in("well")), expected=here.numbers["other"])
    here.finding("other", "other_person")
    logins.arrive(ticket_of(here.log_in("ticket")), expected=number)
    assert here.rules("ticket") == ["all_seems_well"]


def test_a_browser_that_comes_back_from_the_login_without_its_cookie(here: Clinic) -> None:
    with here.reader() as browser:
        client = browser.client
        client.get("/connexion", follow_redirects=False)
        assert browser.get(f"/cas?ticket={ticket_of(here.log_in('cookie'))}").url.path == "/compte"
        client.get("/connexion", follow_redirects=False)
        del client.cookies["depart"]
        page = browser.get(f"/cas?ticket={ticket_of(here.log_in('cookie'))}")
        assert page.status_code == 403
        here.finding("cookie", "cookie_missing")
        assert "cookie" in browser.get("/compte").text
        client.get("/connexion", follow_redirects=False)
        assert browser.get(f"/cas?ticket={ticket_of(here.log_in('cookie'))}").url.path == "/compte"
    assert here.rules("cookie") == ["all_seems_well"]


# --- the command --------------------------------------------------------------------------------------


def test_the_command_shows_evidence_and_the_student_sees_none(here: Clinic) -> None:
    text = here.sesame("diagnose", here.numbers["collision"])
    assert "given_up" in text
    assert "identity_collision" in text
    document = json.loads(here.sesame("diagnose", here.numbers["collision"], "--json", "--lang", "en"))
    finding = next(each for each in document["findings"] if each["rule"] == "given_up")
    assert finding["evidence"]["cause"] == "identity_collision"
    assert finding["who"] == "the IT team"
    said = here.diagnosis("collision").for_student("fr").model_dump_json()
    assert "identity_collision" not in said
    assert "supannEtuId" not in said
