"""An incident at the console: preview, five drawn by lot, the rest at a pace, stopped, reported."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

import pytest

from pipeline import replays
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from sandbox.moodle import MoodleStandIn
from sandbox.process import wait_until
from schemas.account import Lane
from sesame.acts.acts import Actor, Role
from sesame.operations.work.replays import ReplayRequest, ResumeReplayRequest, replay, standing
from sesame.testing.servers.console_kit import ConsoleDesk
from sesame.testing.servers.console_scene import given_up
from sesame.testing.servers.portal_reader import Browser

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
    return page.url.path.rpartition("/")[2]


def end(
    desk: ConsoleDesk, replay_id: str, done: list[str], *, given_up_again: AbstractSet[str] = frozenset()
) -> None:
    """As if the consumer had carried these out."""
    events = {number: [replays.identity(number, "moodle", replay_id)] for number in done}
    with desk.portal.database.write() as connection:
        replays.end(connection, "moodle", events, failed=given_up_again)


def figures(browser: Browser, replay_id: str) -> list[int]:
    """Asked, done, failed, under way, as the report shows them."""
    page = browser.get(f"/console/relances/{replay_id}")
    return [int(text) for text in re.findall(r'class="figure[^"]*">(\d+)<', page.text)]


def test_an_incident_from_the_failure_to_its_report(desk: ConsoleDesk) -> None:
    numbers = failed(desk, "moodle_email_taken", 12)
    with desk.browser("operator", login="ada") as browser:
        assert "12 abandons" in browser.get("/console/echecs").text
        seen = browser.get("/console/echecs/moodle/moodle_email_taken/apercu")
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
        end(desk, replay_id, numbers)
        assert figures(browser, replay_id) == [12, 11, 1, 0]
        assert "1 étudiant est encore en échec" in browser.page.text
        assert asked(desk, numbers) == Counter(numbers), "each of them once"
        preview = browser.get("/console/echecs/moodle/moodle_email_taken/apercu").text
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
