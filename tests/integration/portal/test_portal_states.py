"""Every state of an account, as its owner reads it: what is said of each service, and what is never said.

The judge is here: it reads the page's words, and knows nothing of the code that has put them there.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from consumers.propagation.rows import propagation, propagation_targets
from pipeline import accounts
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.parking.rows import parked
from schemas.account import Administrative, Hold
from schemas.events import HoldPlaced
from sesame.login import cas_logins
from sesame.testing.servers.database_kit import Clock
from sesame.testing.servers.population_kit import rush, student
from sesame.testing.servers.portal_kit import Portal, enter, put, running
from sesame.testing.servers.portal_reader import GOOD
from sesame.testing.servers.registry_kit import cancelled, enrolled

EVERYTHING = ("directory", "mailbox", "moodle", "timetable")
MONTHS = ("janv", "févr", "mars", "avr", "mai", "juin", "juil", "août", "sept", "oct", "nov", "déc")
ALL_READY, UNDER_WAY, USUALLY = "Tout est prêt", "En cours", "D’ordinaire"


@dataclass(frozen=True)
class Shown:
    """What a student reads: of each service its state and its words, and the whole page."""

    state: dict[str, str]
    words: dict[str, str]
    page: str
    html: str


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal with all four targets and a CAS server that nobody asks; usual times are known."""
    more = {
        "targets": EVERYTHING,
        "timetable": {"calendar_url": "https://edt.example/{student_number}.ics"},
    }
    cas = {"server_url": "https://cas.example/cas/", "service_url": "https://compte.example/cas"}
    folder = tmp_path_factory.mktemp("portal")
    with Portal(folder, wish={"address_burst": 10_000}, cas=cas, more=more) as portal:
        measured(portal)
        yield portal


def measured(portal: Portal) -> None:
    """As if five students had been done in five seconds each."""
    now = portal.clock.now
    with portal.database.write() as connection:
        for n in range(5):
            row = {"student_number": f"measured{n}", "version": 1, "lane": "personal", "state": "completed"}
            connection.execute(insert(propagation).values(**row, opened_at=now - 1_000.0))
            done = {"student_number": f"measured{n}", "version": 1, "lease_epoch": 1, "sequence": 1}
            for target in EVERYTHING:
                values = {**done, "target": target, "state": "provisioned", "finished_at": now - 995.0}
                connection.execute(insert(propagation_targets).values(**values))


def read(portal: Portal, number: str) -> Shown:
    """The account's page, read by its owner; and what no page may ever say."""
    with portal.browser() as browser:
        enter(portal, browser, number)
        source = html.unescape(browser.page.text)
    assert browser.page.status_code == 200
    state, words = {}, {}
    for block in re.split(r'<li class="card service is-', source.partition('<p class="hint">Vérifié')[0])[1:]:
        (name,) = re.findall(r'data-service="(\w+)"', block)
        found = re.search(r'<p class="state">(.*?)</p>', block, re.DOTALL)
        assert found is not None
        state[name] = plain(re.sub(r'<span class="since">.*?</span>', "", found[1]))
        words[name] = plain(block.partition(">")[2])
    shown = Shown(state, words, plain(source.partition("<main")[2].partition("</main>")[0]), source)
    never(shown)
    return shown


def plain(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).replace("\u202f", " ").replace("\u00a0", " ").split())


def never(shown: Shown) -> None:
    """What is wrong in any state."""
    if ALL_READY in shown.page:
        assert set(shown.state.values()) <= {"Prêt", "Non suivi ici"}
        assert "Prêt" in shown.state.values()
    for name, words in shown.words.items():
        assert USUALLY not in words or shown.state[name] == UNDER_WAY, words
        if "réessayer" in words.lower():
            assert f'name="service" value="{name}"' in shown.html, words
    for promise in ("code de cette page", "au vert", "se met à jour", "bouton"):
        assert promise not in shown.page
    if "Se connecter" in shown.page:
        assert 'href="/connexion"' in shown.html


def of(*services: str, is_: str) -> dict[str, str]:
    return dict.fromkeys(services, is_)


def letter(portal: Portal, number: str, consumer: str, cause: str) -> None:
    """A dead letter."""
    now = portal.clock.now
    one = DeadLetter(f"{consumer}{number}", consumer, number, 1, cause, "said", 3, now)
    with portal.database.write() as connection:
        dead_letters.add(connection, portal.database, one)


def logged_in(portal: Portal, number: str) -> None:
    with portal.database.write() as connection:
        cas_logins.seen(connection, portal.database, number)


def ready(portal: Portal, number: str, *targets: str) -> None:
    for target in targets or EVERYTHING:
        put(portal, number, target, "provisioned", None)


@pytest.fixture(autouse=True)
def all_run(portal: Portal) -> None:
    """Every consumer is alive."""
    running(portal, **dict.fromkeys((*EVERYTHING, "registry", "propagation"), "running"))


def test_under_way(portal: Portal) -> None:
    shown = read(portal, portal.active())
    assert shown.state == of("cas", *EVERYTHING, is_=UNDER_WAY)
    assert "D’ordinaire 5 s" in shown.words["directory"]
    assert "0 service sur 5 est prêt" in shown.page


def test_in_a_rush_it_says_when_the_queue_has_come_to_the_student(tmp_path: Path) -> None:
    """At 11:57 in Paris 150 are before the student, at one a second, and 150 after."""
    clock = Clock(datetime(2026, 9, 1, 9, 57, 0, tzinfo=UTC).timestamp())
    with Portal(tmp_path, clock=clock, more={"targets": ("directory", "moodle")}) as portal:
        number = portal.active()
        now = clock.now
        for target, per_s in (("directory", 50.0), ("moodle", 1.0)):
            rush(portal.database, target, per_s, ends=now - 86_400.0)
        for place in range(300):
            student(portal.database, f"q{place:03d}", "in_progress")
        with portal.database.write() as connection:
            before = propagation.c.student_number < "q150"
            connection.execute(update(propagation).values(opened_at=now + 60.0))
            connection.execute(update(propagation).where(before).values(opened_at=now - 60.0))
        running(portal, **dict.fromkeys(("directory", "moodle", "registry", "propagation"), "running"))
        shown = read(portal, number)
    assert re.search("ce service sera prêt vers (le .* à )?11 h 59", shown.words["moodle"])
    assert USUALLY not in shown.words["moodle"]
    assert "Délai" not in shown.words["moodle"], "two times would contradict each other"
    assert "prêt vers" not in shown.words["directory"], "six seconds are no time to be told by the clock"


def test_all_is_ready(portal: Portal) -> None:
    number = portal.active()
    ready(portal, number)
    logged_in(portal, number)
    shown = read(portal, number)
    assert shown.state == of("cas", *EVERYTHING, is_="Prêt")
    assert ALL_READY in shown.page


def test_nobody_has_logged_in_yet(portal: Portal) -> None:
    number = portal.active()
    ready(portal, number)
    shown = read(portal, number)
    assert shown.state == {"cas": "À essayer", **of(*EVERYTHING, is_="Prêt")}
    assert ALL_READY not in shown.page
    assert 'href="/connexion"' in shown.html


@pytest.mark.parametrize(
    "failure", ["ticket_refused", "service_refused", "cas_down", "no_cookie", "other_person"]
)
def test_an_account_that_cas_has_refused_is_not_ready(portal: Portal, failure: str) -> None:
    number = portal.active()
    ready(portal, number)
    logged_in(portal, number)
    portal.clock.now += 60.0
    with portal.database.write() as connection:
        cas_logins.failed(connection, portal.database, number, failure)
    running(portal, **dict.fromkeys(EVERYTHING, "running"))
    shown = read(portal, number)
    assert ALL_READY not in shown.page
    assert shown.state["cas"] == "À essayer"
    assert shown.html.count('href="/connexion"') == 1
    portal.clock.now += 60.0
    logged_in(portal, number)
    running(portal, **dict.fromkeys(EVERYTHING, "running"))
    assert ALL_READY in read(portal, number).page


def test_what_the_servers_showed_a_moment_ago_is_not_contradicted(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = portal.active()
    ready(portal, number)
    logged_in(portal, number)
    assert ALL_READY in read(portal, number).page
    with portal.browser() as browser:
        enter(portal, browser, number)
        browser.get("/compte/aide")
        case = browser.send("/compte/aide", dit="CAS me refuse").url.path
    shown = read(portal, number)  # none of the servers is there: of CAS it is said that it does not answer
    assert ("is-stops" in browser.page.text) == (f'href="{case}"' in shown.html)
    assert (ALL_READY in shown.page) == ("is-stops" not in browser.page.text)


@pytest.mark.parametrize("administrative", [Administrative.AWAITING_PAYMENT, Administrative.PENDING])
@pytest.mark.parametrize("seen", [False, True], ids=["just now", "looked at"])
def test_the_enrolment_is_not_paid_or_not_validated(
    portal: Portal, administrative: Administrative, seen: bool
) -> None:
    number = portal.active(administrative=administrative)
    if seen:
        put(portal, number, "directory", "waiting", "administrative_enrolment_pending")
    shown = read(portal, number)
    assert shown.state == of("cas", *EVERYTHING, is_="En attente")
    assert UNDER_WAY not in shown.page
    assert "en cours" not in shown.page.lower()
    assert USUALLY not in shown.page
    unpaid = administrative is Administrative.AWAITING_PAYMENT
    act = "il reste à régler vos droits" if unpaid else "la scolarité doit encore valider votre inscription."
    assert f"Léa, {act}" in shown.page
    assert shown.page.count("s’ouvriront dès que") == 1, "said once, not at each service"
    assert ("paiement" if unpaid else "pas encore validée") in shown.page


def test_who_activates_before_paying_is_told_at_once(portal: Portal) -> None:
    number = portal.student(administrative=Administrative.AWAITING_PAYMENT)
    with portal.browser() as browser:
        portal.prove(browser, number)
        browser.send("/mot-de-passe", mot_de_passe=GOOD, confirmation=GOOD, charte="oui")
    shown = read(portal, number)  # the registry has not read it yet
    assert shown.state == of("cas", *EVERYTHING, is_="En attente")
    assert USUALLY not in shown.page


def test_in_grace_the_day_is_said_first_and_what_keeps_access_open(portal: Portal) -> None:
    number = portal.active()
    ready(portal, number)
    logged_in(portal, number)
    portal.apply(cancelled(number, 10**9))
    ready(portal, number)
    shown = read(portal, number)
    until = datetime.fromtimestamp(portal.clock.now, UTC).date() + timedelta(days=60)
    day = rf"{until.day}(er)?\s{MONTHS[until.month - 1]}\w*\s{until.year}"
    assert re.search(f"Léa, votre accès ferme le {day}.", shown.page)
    assert "Cette fermeture sera annulée dès que votre réinscription sera enregistrée." in shown.page
    assert ALL_READY not in shown.page
    assert "vous pouvez commencer" not in shown.page
    portal.apply(enrolled(number, 10**9 + 1, step="M1INFO", administrative=Administrative.AWAITING_PAYMENT))
    assert "sera annulée dès que vos droits d’inscription seront réglés." in read(portal, number).page


def test_no_enrolment_is_left(portal: Portal) -> None:
    number = portal.active(administrative=Administrative.PENDING)
    portal.apply(cancelled(number, 10**9))
    shown = read(portal, number)
    assert UNDER_WAY not in shown.state.values()
    assert "annulée" in shown.page


def test_not_activated(portal: Portal) -> None:
    number = portal.student()
    shown = read(portal, number)
    assert shown.state == of("cas", *EVERYTHING, is_="Pas encore")
    assert "Activer mon compte" in shown.page


def test_the_activation_was_just_sent(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        portal.prove(browser, number)
        browser.choose()
    assert read(portal, number).state == of("cas", *EVERYTHING, is_=UNDER_WAY)


def test_the_activation_itself_was_given_up(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        portal.prove(browser, number)
        browser.choose()
    letter(portal, number, "registry", "unknown_credential")
    shown = read(portal, number)
    assert shown.state == of("cas", *EVERYTHING, is_="Pas encore")
    assert "en cours" not in shown.page.lower()
    assert "a échoué" in shown.page


def test_a_dead_letter_and_those_who_follow_it(portal: Portal) -> None:
    number = portal.active()
    put(portal, number, "directory", "failed", "identity_collision")
    letter(portal, number, "directory", "identity_collision")
    ready(portal, number, "moodle", "timetable")
    shown = read(portal, number)
    assert shown.state == {
        "cas": "En attente",
        "directory": "Échec",
        "mailbox": "En attente",
        "moodle": "Prêt",
        "timetable": "Prêt",
    }
    for follower in ("cas", "mailbox"):
        assert "Identité universitaire" in shown.words[follower]
        assert USUALLY not in shown.words[follower]
    assert "2 services sur 5 sont prêts" in shown.page
    assert "code pour l’assistance" in shown.words["directory"]
    assert 'href="/compte/aide"' in shown.html


def test_a_dead_letter_without_a_follower(portal: Portal) -> None:
    number = portal.active()
    ready(portal, number, "directory", "moodle", "timetable")
    put(portal, number, "mailbox", "failed", "welcome_refused")
    letter(portal, number, "mailbox", "welcome_refused")
    shown = read(portal, number)
    assert shown.state["mailbox"] == "Échec"
    assert shown.state["cas"] == "À essayer"


def test_the_leader_is_down_and_the_follower_waits_for_it(portal: Portal) -> None:
    number = portal.active()
    ready(portal, number, "moodle", "timetable")
    running(portal, **{**dict.fromkeys(EVERYTHING, "running"), "directory": "open"})
    shown = read(portal, number)
    assert (shown.state["directory"], shown.state["mailbox"]) == ("En panne", "En attente")
    assert shown.state["cas"] == "En attente"
    assert USUALLY not in shown.page


def test_tried_again_promises_no_time(portal: Portal) -> None:
    number = portal.active()
    values: dict[str, Any] = {
        "consumer": "directory",
        "student_number": number,
        "kind": "retry",
        "version": 1,
        "due_at": portal.clock.now + 60.0,
        "attempts": 4,
        "first_at": portal.clock.now - 85.0,
        "counted_at": portal.clock.now,
        "cause": "directory_busy",
        "lane": "personal",
        "event_id": "e",
    }
    with portal.database.write() as connection:
        connection.execute(insert(parked).values(**values))
    shown = read(portal, number)
    assert (shown.state["directory"], shown.state["mailbox"]) == (UNDER_WAY, UNDER_WAY)
    for name in ("cas", "directory", "mailbox"):
        assert USUALLY not in shown.words[name]
    assert "essayée de nouveau" in shown.words["directory"]


@pytest.mark.parametrize(
    ("target", "reason", "said"),
    [
        ("directory", "credential_needed", "nouveau mot de passe"),
        ("directory", "password_replaced", "nouveau mot de passe"),
        ("directory", "adoption_undecided", "empêche l’ouverture"),
        ("mailbox", "mailbox_full", "pleine"),
        ("mailbox", "own_sieve_script_active", "filtre"),
        ("moodle", "pedagogical_enrolment_pending", ""),
        ("moodle", "moodle_email_taken", "empêche l’ouverture"),
        ("timetable", "timetable_not_scheduled", "pas encore publié"),
    ],
)
def test_a_service_waits(portal: Portal, target: str, reason: str, said: str) -> None:
    number = portal.active()
    ready(portal, number, *(set(EVERYTHING) - {target}))
    put(portal, number, target, "waiting", reason)
    shown = read(portal, number)
    assert shown.state[target] == "En attente"
    assert said in shown.words[target]
    assert USUALLY not in shown.page
    assert ALL_READY not in shown.page
    if target == "directory":
        assert shown.state["cas"] == "En attente"


def test_without_a_password_the_login_says_what_to_do(portal: Portal) -> None:
    number = portal.active()
    ready(portal, number, "mailbox", "moodle", "timetable")
    put(portal, number, "directory", "waiting", "credential_needed")
    shown = read(portal, number)
    assert "choisir un nouveau mot de passe" in shown.words["cas"]
    assert "tout seul" not in shown.words["cas"]


def test_a_login_that_was_seen_is_not_ready_once_the_password_was_replaced(portal: Portal) -> None:
    number = portal.active()
    ready(portal, number)
    logged_in(portal, number)
    assert read(portal, number).state["cas"] == "Prêt"
    put(portal, number, "directory", "waiting", "password_replaced")
    shown = read(portal, number)
    assert shown.state["cas"] == "En attente"
    assert "il faut en choisir un nouveau" in shown.words["cas"]


def test_without_cas_the_login_is_ready_only_where_the_directory_tells_of_passwords(tmp_path: Path) -> None:
    with Portal(tmp_path, more={"targets": ("directory", "mailbox")}) as portal:
        running(portal, **dict.fromkeys(("directory", "mailbox", "registry", "propagation"), "running"))
        told, untold = portal.active(), portal.active()
        for number, at in ((told, 1_700_000_000.0), (untold, None)):
            ready(portal, number, "directory", "mailbox")
            with portal.database.read() as connection:
                account = accounts.find(connection, number)
            assert account is not None
            portal.vault.consume({account.credential_ref or "": at})
        shown = read(portal, told)
        assert shown.state["cas"] == "Prêt"
        assert ALL_READY in shown.page
        shown = read(portal, untold)
        assert shown.state["cas"] == "À essayer"
        assert "ne peut pas vérifier" in shown.words["cas"]
        assert ALL_READY not in shown.page


def test_a_group_that_is_not_ours_does_not_keep_anybody_from_logging_in(portal: Portal) -> None:
    number = portal.active()
    ready(portal, number, "mailbox", "moodle", "timetable")
    put(portal, number, "directory", "waiting", "group_not_ours")
    assert read(portal, number).state["cas"] == "À essayer"


@pytest.mark.parametrize(
    ("hold", "act"),
    [
        (Hold.SUSPENDED, "Léa, contactez l’assistance"),
        (Hold.ADMINISTRATIVE, "Léa, contactez l’assistance"),
        (Hold.TECHNICAL, "Léa, la scolarité doit vérifier votre identité. Votre accès rouvrira dès que"),
    ],
)
@pytest.mark.parametrize("done", [False, True], ids=["closing", "closed"])
def test_closed_by_a_hold(portal: Portal, hold: Hold, act: str, done: bool) -> None:
    number = portal.active()
    portal.apply(HoldPlaced(student_number=number, hold=hold))
    if done:
        ready(portal, number)
        logged_in(portal, number)
    shown = read(portal, number)
    assert shown.state == of("cas", *EVERYTHING, is_="Fermé")
    assert act in shown.page
    assert shown.page.count("dès que") == 1, "said once, not at each service"
    assert UNDER_WAY not in shown.state.values()
    assert "Réessayer" not in shown.page
    assert "ouvert" not in shown.words["moodle"]


def test_a_target_that_is_only_observed(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    number = portal.active()
    ready(portal, number, "directory", "mailbox", "timetable")
    logged_in(portal, number)
    moodle = portal.settings.moodle.model_copy(update={"mode": "observe"})
    monkeypatch.setattr(portal.context, "settings", portal.settings.model_copy(update={"moodle": moodle}))
    shown = read(portal, number)  # nobody has looked at it yet
    assert shown.state["moodle"] == "Non suivi ici"
    assert ALL_READY in shown.page
    put(portal, number, "moodle", "waiting", "observed_only")
    assert read(portal, number).state["moodle"] == "Non suivi ici"


def test_who_follows_a_target_that_is_only_observed_waits_for_nothing(portal: Portal) -> None:
    number = portal.active()
    put(portal, number, "directory", "waiting", "observed_only")
    ready(portal, number, "moodle", "timetable")
    shown = read(portal, number)
    assert (shown.state["cas"], shown.state["directory"], shown.state["mailbox"]) == ("Non suivi ici",) * 3


def test_where_nothing_is_ours_nothing_is_said_to_be_ready(portal: Portal) -> None:
    number = portal.active()
    for target in EVERYTHING:
        put(portal, number, target, "waiting", "observed_only")
    assert ALL_READY not in read(portal, number).page


@pytest.mark.parametrize("state", ["open", "misconfigured", "throttled", "quarantined", "stopped"])
def test_a_target_is_away(portal: Portal, state: str) -> None:
    number = portal.active()
    ready(portal, number, "directory", "mailbox", "timetable")
    running(portal, **{**dict.fromkeys(EVERYTHING, "running"), "moodle": state})
    shown = read(portal, number)
    assert shown.state["moodle"] == "En panne"
    assert USUALLY not in shown.words["moodle"]


def test_everybody_is_away(portal: Portal) -> None:
    running(portal)
    shown = read(portal, portal.active())
    assert UNDER_WAY not in shown.state.values()
    assert USUALLY not in shown.page
