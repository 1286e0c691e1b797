"""An incident at the console: preview, five drawn by lot, the rest at a pace, stopped, reported."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Locator, expect

from pipeline import accounts, attempts, quarantine, replays
from pipeline.attempts import Attempt, AttemptEnd
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from sandbox.moodle import MoodleStandIn
from sandbox.process import wait_until
from sandbox.slapd import Slapd
from schemas.account import Lane
from sesame.acts.acts import Actor, Role
from sesame.operations.work.incidents import IncidentReport, IncidentRequest, show
from sesame.operations.work.replays import ReplayRequest, ResumeReplayRequest, replay, standing
from sesame.testing.servers.console_kit import ConsoleDesk
from sesame.testing.servers.console_scene import at_work, given_up
from sesame.testing.servers.ldap_tools import as_provisioner
from sesame.testing.servers.portal_browser import page_of, violations
from sesame.testing.servers.portal_reader import Browser
from sesame.testing.servers.sections import slapd_section

VIEW: Final = {"width": 1180, "height": 800}
QUARANTINED: Final = "12 of the last 14 turns were given up for good within 300 s, 9 of them by x"
ADA = Actor("ada", frozenset({Role.OPERATOR}))


@pytest.fixture(scope="module")
def desk(module_store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleDesk]:
    """One console beside a Moodle site for this file, on each kind of store."""
    with MoodleStandIn(tmp_path_factory.mktemp("moodle")) as moodle:
        settings = {"base_url": moodle.url, "token_file": moodle.token_file}
        folder = tmp_path_factory.mktemp("console")
        with ConsoleDesk(folder, store=module_store, more={"moodle": settings}) as desk:
            yield desk


def failed(desk: ConsoleDesk, cause: str, count: int) -> list[str]:
    """So many students whom Moodle's consumer gave up for this cause."""
    numbers = [desk.portal.active() for _ in range(count)]
    for number in numbers:
        given_up(desk, number, "moodle", cause)
    return numbers


def asked(desk: ConsoleDesk, numbers: list[str]) -> Counter[str]:
    """Who was asked for, and how often."""
    found: Counter[str] = Counter()
    for number in numbers:
        events = [event for event in desk.published(number) if event.type.endswith("replay.requested.v1")]
        found[number] += len(events)
    return +found


def begin(desk: ConsoleDesk, browser: Browser, cause: str, **fields: str) -> str:
    """Try on five; the replay's id."""
    browser.get(f"/console/echecs/moodle/{cause}")
    page = browser.send(f"/console/echecs/moodle/{cause}/essai", raison="corrigé", **fields)
    assert page.status_code == 200, page.text
    assert page.url.path == f"/console/echecs/moodle/{cause}"
    with desk.portal.database.read() as connection:
        return replays.latest(connection, limit=1)[0][0].id


def end(
    desk: ConsoleDesk,
    replay_id: str,
    done: list[str],
    *,
    given_up_again: AbstractSet[str] = frozenset(),
    consumer: str = "moodle",
) -> None:
    """As if the consumer had carried these out."""
    events = {number: [replays.identity(number, consumer, replay_id)] for number in done}
    now = desk.portal.clock.now
    with desk.portal.database.write() as connection:
        replays.end(connection, consumer, events, failed=given_up_again)
        for number in set(done) - given_up_again:
            dead_letters.mark_resolved(connection, consumer, number, up_to_version=9, how="replayed", now=now)


def figures(browser: Browser, replay_id: str) -> list[int]:
    """Asked, done, failed, under way, as the report shows them."""
    page = browser.get(f"/console/relances/{replay_id}").text  # leads to the incident
    live = page[page.index('id="etat"') : page.index('id="annonce"')]
    return [int(text) for text in re.findall(r'class="figure[^"]*">(\d+)<', live)]


def test_an_incident_from_the_failure_to_its_report(desk: ConsoleDesk) -> None:
    numbers = failed(desk, "moodle_email_taken", 12)
    with desk.browser("operator", login="ada") as browser:
        assert "12 abandons" in browser.get("/console/echecs").text
        seen = browser.get("/console/echecs/moodle/moodle_email_taken")
        assert re.findall(r'class="figure[^"]*">(\d+)<', seen.text) == ["12", "0", "0"], "Moodle knows nobody"
        assert seen.text.index("12 entrées seraient créées") < seen.text.index("Ce qui serait écrit")
        assert not asked(desk, numbers)
        replay_id = begin(
            desk, browser, "moodle_email_taken", incident="Adresses du <b>LDAP</b>", par_s="500"
        )
        assert "Adresses du &lt;b&gt;LDAP&lt;/b&gt;" in browser.page.text
        tried = list(asked(desk, numbers))
        assert (len(tried), figures(browser, replay_id)) == (5, [5, 0, 0, 5])
        end(desk, replay_id, tried, given_up_again={tried[0]})
        assert figures(browser, replay_id) == [5, 4, 1, 0]
        assert "corrigez la cause avant la suite" in browser.page.text
        assert f"/console/personnes/{tried[0]}" in browser.page.text
        browser.send(f"/console/relances/{replay_id}/suite", par_s="500")
        wait_until(lambda: len(asked(desk, numbers)) == 12, "the others to be asked for")
        end(desk, replay_id, numbers, given_up_again={tried[0]})
        assert figures(browser, replay_id) == [12, 11, 1, 0]
        assert "1 étudiant est encore en échec" in browser.page.text
        assert asked(desk, numbers) == Counter(numbers), "each of them once"
        preview = browser.get("/console/echecs/moodle/moodle_email_taken").text
        assert "1 d’entre eux a déjà été relancé en vain" in preview
        assert "Adresses du" in browser.get("/console/relances").text
        again = "/console/echecs/moodle/moodle_email_taken/essai"
        browser.get("/console/echecs/moodle/moodle_email_taken")
        refused = browser.send(again, raison="encore")
        assert refused.status_code == 409
        assert "a déjà été relancé en vain" in refused.text
        assert asked(desk, numbers) == Counter(numbers), "nobody once more"
        browser.get("/console/echecs/moodle/moodle_email_taken")
        assert browser.send(again, raison="corrigée", corrige="oui").status_code == 200
        assert asked(desk, numbers) > Counter(numbers)
    for action in ("replay", "replay.resume"):
        found = [e for e in desk.audit(action) if e.detail.get("replay_id") == replay_id]
        (entry,) = [e for e in found if e.action == action]
        assert entry.actor == "ada"


def test_a_replay_that_was_stopped_asks_nobody_more_and_goes_on_later(desk: ConsoleDesk) -> None:
    numbers = failed(desk, "moodle_refused", 60)  # a minute's work, of which seconds are done
    with desk.browser("operator") as browser:
        replay_id = begin(desk, browser, "moodle_refused")
        browser.get(f"/console/relances/{replay_id}")
        browser.send(f"/console/relances/{replay_id}/suite", par_s="1")
        browser.get(f"/console/relances/{replay_id}")
        page = browser.send(f"/console/relances/{replay_id}/arreter")
        assert "arrêtée" in page.text
        wait_until(lambda: not asking(desk, replay_id), "the run to notice it")
        left = len(numbers) - len(asked(desk, numbers))
        assert left > 0
        assert f"Il en reste {left}" in browser.get(f"/console/relances/{replay_id}").text
        browser.send(f"/console/relances/{replay_id}/suite", par_s="500")
        wait_until(lambda: len(asked(desk, numbers)) == len(numbers), "the others to be asked for")
        assert asked(desk, numbers) == Counter(numbers)
        assert "arrêtée" not in browser.get(f"/console/relances/{replay_id}").text


def asking(desk: ConsoleDesk, replay_id: str) -> bool:
    """Whether a run asks for this replay at this moment."""
    with desk.portal.database.read() as connection:
        query = replays.replays.select().where(replays.replays.c.id == replay_id)
        return connection.execute(query).one().asking_by is not None


def test_the_canary_goes_first_whoever_is_drawn_and_the_others_keep_their_order(desk: ConsoleDesk) -> None:
    numbers = failed(desk, "moodle_user_ambiguous", 6)
    request = ReplayRequest(
        consumer="moodle", students=tuple(numbers), lane=Lane.PERSONAL, reason="x", canary=2
    )
    begun = replay(
        desk.application, ADA, request, lambda: datetime.now(UTC), draw=lambda all_, _n: [all_[4], all_[1]]
    )
    assert set(asked(desk, numbers)) == {numbers[4], numbers[1]}
    found = standing(desk.application, ADA, ResumeReplayRequest(replay_id=begun.replay_id))
    assert found.next == (numbers[0], numbers[2], numbers[3], numbers[5])


@pytest.mark.parametrize("pace", ["0", "-1", "x", "99999", "1e3", "٣"])
def test_a_pace_that_is_none_begins_nothing(desk: ConsoleDesk, pace: str) -> None:
    numbers = failed(desk, "moodle_busy", 1)
    with desk.browser("operator") as browser:
        browser.get("/console/echecs/moodle/moodle_busy")
        page = browser.send("/console/echecs/moodle/moodle_busy/essai", raison="x", par_s=pace)
        assert page.status_code == 422
        assert browser.get("/console/relances/none-such").status_code == 409
    assert not asked(desk, numbers)


def test_what_cannot_be_read_is_dismissed_with_a_reason_and_what_is_owed_is_not(desk: ConsoleDesk) -> None:
    owed = failed(desk, "moodle_unknown_course", 1)
    letter = DeadLetter(
        id="f" * 64,
        consumer="registry",
        student_number=None,
        version=None,
        cause="unreadable_record",
        message="no JSON",
        attempts=1,
        recorded_at=desk.portal.clock.now,
    )
    with desk.portal.database.write() as connection:
        dead_letters.add(connection, desk.portal.database, letter)
    with desk.browser("operator", login="ada") as browser:
        browser.get("/console/echecs/registry/unreadable_record")
        page = browser.send("/console/echecs/registry/unreadable_record/classer", raison="fichier d'essai")
        assert page.url.path == "/console/echecs"
        assert "unreadable_record" not in page.text
        token = re.search(r'name="jeton" value="([^"]+)"', page.text)
        assert token is not None
        path = "/console/echecs/moodle/moodle_unknown_course/classer"
        form = {"jeton": token[1], "raison": "x"}
        assert browser.client.post(path, data=form, headers={"Origin": desk.url}).status_code == 409
        assert owed[0] in browser.get("/console/echecs/moodle/moodle_unknown_course").text
    (entry,) = desk.audit("dead_letters.dismiss")
    assert (entry.actor, entry.reason) == ("ada", "fichier d'essai")


def test_two_operators_who_let_the_same_replay_go_on_ask_for_nobody_twice(desk: ConsoleDesk) -> None:
    numbers = failed(desk, "moodle_down_for_one", 9)
    with desk.browser("operator", login="ada") as ada, desk.browser("operator", login="grace") as grace:
        replay_id = begin(desk, ada, "moodle_down_for_one")
        for browser in (ada, grace):
            browser.get(f"/console/relances/{replay_id}")
        for browser in (ada, grace):
            browser.send(f"/console/relances/{replay_id}/suite", par_s="2")
        wait_until(lambda: len(asked(desk, numbers)) == 9, "the others to be asked for")
        wait_until(lambda: not asking(desk, replay_id), "the runs to end")
    assert asked(desk, numbers) == Counter(numbers)


# --- one page for an incident ---------------------------------------------------------------------

TAKEN: Final = "/console/echecs/directory/identity_collision"
MOTIVE: Final = "Comptes de test <supprimés>"


@dataclass
class DirectoryDesk:
    """A console beside a real directory, and the entries that hold students' logins."""

    desk: ConsoleDesk
    slapd: Slapd
    others: dict[str, str] = field(default_factory=dict)

    def taken(self, count: int) -> list[str]:
        """So many students whose logins other entries hold, and who were given up therefore."""
        numbers = [self.desk.portal.active() for _ in range(count)]
        for number in numbers:
            with self.desk.portal.database.read() as connection:
                account = accounts.find(connection, number)
            assert account is not None
            name = f"uid={account.login},{self.slapd.people_dn}"
            entry = f"dn: {name}\nobjectClass: inetOrgPerson\nuid: {account.login}\ncn: x\nsn: x\n"
            as_provisioner(self.slapd, "ldapadd", stdin=entry)
            given_up(self.desk, number, "directory", "identity_collision")
            self.others[number] = name
        return numbers

    def clear(self) -> None:
        """As the directory's administrator does."""
        for name in self.others.values():
            as_provisioner(self.slapd, "ldapdelete", name)
        self.others.clear()

    def carry_out(self, numbers: list[str]) -> list[str]:
        """As the directory's consumer does: whoever was asked for, and is not done, is done now."""
        with self.desk.portal.database.read() as connection:
            last = replays.latest(connection, limit=1)[0][0].id
            done = replays.outcomes(connection, last)
        asked_for = [number for number in asked(self.desk, numbers) if number not in done]
        end(self.desk, last, asked_for, consumer="directory")
        return asked_for


class Operator:
    """An operator at a browser, whose clicks are counted."""

    def __init__(self, browser: Chromium, desk: ConsoleDesk, *, script: bool) -> None:
        self.clicks = 0
        self._script = script
        self._desk = desk
        self._opened = page_of(browser, desk.url, java_script_enabled=script, viewport=VIEW)

    def __enter__(self) -> Self:
        self.page = self._opened.__enter__()
        self.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page.context.add_cookies([self._desk.cookie("operator", login="ada")])  # type: ignore[list-item]
        self.page.goto(f"{self._desk.url}/console/")
        return self

    def __exit__(self, *_error: object) -> None:
        self._opened.__exit__(None, None, None)

    def click(self, what: Locator) -> None:
        self.clicks += 1
        what.click()

    def seen(self, where: str, text: str) -> None:
        """Wait for a text: the page is live, or is reloaded where no script runs."""
        shown = self.page.locator(where)
        if self._script:
            expect(shown).to_contain_text(text)
        else:
            wait_until(
                lambda: bool(self.page.reload()) and text in " ".join(shown.inner_text().split()), text
            )


@pytest.fixture
def incident(slapd: Slapd, tmp_path: Path) -> Iterator[DirectoryDesk]:
    """A console of its own, since an incident is all that its first page shows."""
    with ConsoleDesk(tmp_path, more={"directory": slapd_section(slapd)}) as desk:
        yield DirectoryDesk(desk, slapd)


@pytest.mark.parametrize("quarantined", [False, True])
@pytest.mark.parametrize("script", [True, False])
def test_an_incident_of_twenty_is_settled_on_one_page_in_at_most_six_clicks(
    incident: DirectoryDesk, browser: Chromium, script: bool, quarantined: bool
) -> None:
    desk = incident.desk
    numbers = incident.taken(20)
    at_work(desk, **({"directory": "quarantined"} if quarantined else {}))
    if quarantined:
        with desk.portal.database.write() as connection:
            quarantine.place(connection, desk.portal.database, "directory", QUARANTINED)
    with Operator(browser, desk, script=script) as operator:
        page, click, seen = operator.page, operator.click, operator.seen
        click(page.locator("#pire a").first)
        assert page.url == desk.url + TAKEN
        expect(page.locator("h1")).to_have_text("Annuaire : 20 abandons")
        expect(page.locator("#etat")).to_contain_text("En quarantaine depuis" if quarantined else "en marche")
        expect(page.locator("[aria-labelledby=apercu]")).to_contain_text("20 rencontrent encore un obstacle")
        for number, name in incident.others.items():
            expect(page.locator("tbody tr", has_text=number)).to_contain_text(name.lower())
        assert not script or violations(page) == []
        incident.clear()
        click(page.get_by_role("link", name="Comparer de nouveau"))
        expect(page.locator("[aria-labelledby=apercu]")).to_contain_text("20 entrées seraient créées")
        click(page.get_by_label("Motif"))
        page.keyboard.type(MOTIVE)
        lifting = "Lever la quarantaine et essayer" if quarantined else "Essayer"
        click(page.get_by_role("button", name=f"{lifting} sur 5 d"))
        expect(page.locator("progress")).to_have_attribute("value", "0")
        at_work(desk)  # its consumer finds within seconds that it may go on
        assert len(incident.carry_out(numbers)) == 5
        seen("#etat .figures", "5 réussis")
        seen("#etat", "Relancer les autres")
        click(page.get_by_role("button", name="Relancer les autres"))
        wait_until(lambda: len(asked(desk, numbers)) == 20, "the others to be asked for")
        assert len(incident.carry_out(numbers)) == 15
        seen("#etat", "Terminé : tous vont bien.")
        expect(page.locator("progress")).to_have_attribute("value", "20")
        assert not script or violations(page) == []
        text = page.get_by_label("Compte rendu", exact=True)
        wait_until(
            lambda: bool(script or page.reload()) and "plus aucun abandon" in text.input_value(), "its end"
        )
        report = text.input_value()
        if script:
            click(page.get_by_role("button", name="Copier"))
            assert page.evaluate("navigator.clipboard.readText()") == report
        page.reload()
        expect(page.get_by_role("button", name="Essayer")).to_have_count(0)
    assert operator.clicks <= 6
    assert asked(desk, numbers) == Counter(numbers), "each of them once"
    lifts = [("ada", MOTIVE)] if quarantined else []
    assert [(each.actor, each.reason) for each in desk.audit("quarantine.lift")] == lifts
    tells_all(report, acts=1 + len(lifts))


def tells_all(report: str, *, acts: int) -> None:
    """The text that an operator sends on: what, since when, how many, who did what, the end."""
    lines = report.replace("\u00a0", " ").replace("\u202f", " ").splitlines()
    assert lines[0] == "Incident : Annuaire, identity_collision"
    assert "Concernés : 20 étudiants ou enregistrements" in lines
    assert [line.count(MOTIVE) for line in lines if line.startswith("- ")] == [1] * acts
    assert sum("ada a relancé 20 étudiants" in line for line in lines) == 1
    assert lines[-1].startswith("Fin : ")


def test_a_trial_that_is_refused_leaves_the_quarantine_as_it_was(desk: ConsoleDesk) -> None:
    cause = "moodle_token_refused"
    numbers = failed(desk, cause, 2)
    with desk.browser("operator") as browser:
        replay_id = begin(desk, browser, cause)
        end(desk, replay_id, numbers, given_up_again={numbers[0]})
        with desk.portal.database.write() as connection:
            quarantine.place(connection, desk.portal.database, "moodle", QUARANTINED)
        page = f"/console/echecs/moodle/{cause}"
        assert "entre eux a déjà été relancé en vain" in browser.get(page).text
        assert browser.send(f"{page}/essai", raison="encore", lever="oui").status_code == 409
        with desk.portal.database.read() as connection:
            assert [each.consumer for each in quarantine.every(connection)] == ["moodle"]
        shown = browser.get(page).text
        assert 'formaction="/console/cibles/lever"' in shown
        token = re.search(r'name="jeton" value="([^"]+)"', shown)
        assert token is not None
        form = {"jeton": token[1], "consumer": "moodle", "cause": cause, "raison": "vu"}
        lifted = browser.client.post("/console/cibles/lever", data=form, headers={"Origin": desk.url})
        assert (lifted.status_code, lifted.url.path) == (200, page)
        with desk.portal.database.read() as connection:
            assert quarantine.every(connection) == []


def test_an_incident_begins_with_its_first_failure_and_ends_with_its_last(desk: ConsoleDesk) -> None:
    """A failed replay moves a letter; an earlier incident of the same cause is another one."""
    cause, database, now = "moodle_user_deleted", desk.portal.database, desk.portal.clock.now
    old, *numbers = failed(desk, cause, 4)

    def tried(number: str, ended: AttemptEnd, at: float) -> Attempt:
        return Attempt(number, "moodle", 2, 1, ended, cause, "e", at)

    def shown() -> IncidentReport:
        found = show(desk.application, ADA, IncidentRequest(consumer="moodle", cause=cause))
        assert found is not None
        return found

    with database.write() as connection:
        letters = {one.student_number: one for one in dead_letters.unresolved(connection, cause=cause)}
        dead_letters.mark_resolved(connection, "moodle", old, up_to_version=9, how="replayed", now=now - 290)
        dead_letters.add(
            connection,
            database,
            replace(letters[numbers[0]], id="b" * 64, resolved_at=now - 5000, recorded_at=now - 9000),
        )
        attempts.record(
            connection,
            [
                tried(numbers[0], AttemptEnd.FAILED, now - 9000),
                tried(numbers[0], AttemptEnd.FAILED, now - 400),
                tried(numbers[1], AttemptEnd.RETRY, now - 450),
            ],
        )
    first = shown()
    assert first.since.timestamp() == pytest.approx(now - 400, abs=0.01)
    assert first.ended is None
    assert (first.failures, first.left) == (4, 3)
    with database.write() as connection:
        for number in numbers:
            dead_letters.mark_resolved(connection, "moodle", number, up_to_version=9, how="replayed", now=now)
    last = shown()
    assert (last.since, last.failures, last.left) == (first.since, 4, 0)
    assert last.ended is not None
    assert last.ended.timestamp() == pytest.approx(now, abs=0.01)
