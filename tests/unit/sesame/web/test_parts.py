"""The small parts of the students' pages: languages, addresses, slow-downs, sessions, expected times."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from sqlalchemy import insert

from consumers.propagation.rows import propagation, propagation_targets
from pipeline.db.database import Database
from pipeline.vault import derive_keys, new_key
from producers.activation import mail_proofs, throttles
from producers.activation.mail_proofs import MailProof
from producers.activation.throttles import Rate
from sesame.settings import PortalSettings
from sesame.testing.servers.database_kit import Clock
from sesame.testing.servers.narrowing import present
from sesame.web.kit import languages
from sesame.web.kit.addresses import NOBODY, client_address, counted_as
from sesame.web.kit.signatures import Signing
from sesame.web.students import web_sessions
from sesame.web.students.estimates import Expected, measure

WEB = Path(languages.__file__).parents[1]
OURS = PortalSettings.networks(("127.0.0.1", "10.0.0.0/8"))


# --- languages --------------------------------------------------------------------------------------------


def texts() -> Iterator[str]:
    how = {"silent": "false", "trim_blocks": "true", "lstrip_blocks": "true"}
    files = ("**/templates/*.html", "**/templates/*.svg")
    method = [(each, "jinja2.ext:babel_extract") for each in files]
    found = extract_from_dir(str(WEB), method_map=method, options_map=dict.fromkeys(files, how))
    for _file, _line, message, _comments, _context in found:
        yield message if isinstance(message, str) else message[0]


def test_every_text_of_the_pages_is_translated_and_no_translation_is_left_over() -> None:
    with (languages.LOCALE_FOLDER / "en.po").open("rb") as file:
        catalogue = read_po(file, locale="en")
    known = {each.id if isinstance(each.id, str) else each.id[0]: each for each in catalogue if each.id}
    assert set(texts()) == set(known)
    assert [id_ for id_, each in known.items() if not each.string or each.fuzzy] == []


@pytest.mark.parametrize(
    ("chosen", "accepted", "spoken"),
    [
        (None, "", "fr"),
        (None, "en-GB,en;q=0.9", "en"),
        (None, "de,en;q=0.5,fr;q=0.4", "en"),
        (None, "fr;q=0.9,en;q=0.1", "fr"),
        (None, "en;q=0,fr", "fr"),
        (None, "zh", "fr"),
        (None, ";;q=x,,", "fr"),
        ("en", "fr", "en"),
        ("fr", "en", "fr"),
        ("xx", "en", "en"),
    ],
)
def test_the_language_is_the_reader_s(chosen: str | None, accepted: str, spoken: str) -> None:
    assert languages.spoken(chosen, accepted) == spoken


def test_no_line_breaks_before_a_double_sign_in_french() -> None:
    french = languages.translations("fr")
    assert french.gettext("Rien reçu ?") == "Rien reçu\u202f?"
    assert french.ngettext("un", "deux", 0) == "un"
    assert french.ngettext("un", "deux", 2) == "deux"


@pytest.mark.parametrize(
    ("seconds", "french"),
    [(0.2, "moins d’une seconde"), (8, "8\u00a0s"), (125, "2\u00a0min"), (7300, "2\u00a0h")],
)
def test_a_duration_is_said_as_people_say_it(seconds: float, french: str) -> None:
    assert languages.duration(seconds, "fr") == french


# --- who asks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.7", [], "198.51.100.7"),
        ("198.51.100.7", ["203.0.113.9"], "198.51.100.7"),  # no proxy of ours: not believed
        ("127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        ("127.0.0.1", ["1.2.3.4, 203.0.113.9"], "203.0.113.9"),  # what the client wrote itself comes first
        ("127.0.0.1", ["1.2.3.4", "203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["rubbish"], "127.0.0.1"),
        ("::ffff:127.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        (None, ["203.0.113.9"], str(NOBODY)),
    ],
)
def test_only_our_own_proxies_are_believed(peer: str | None, forwarded: list[str], address: str) -> None:
    assert str(client_address(peer, forwarded, OURS)) == address


def test_a_household_counts_as_one() -> None:
    one, other = (client_address(f"2001:db8:1:2::{n}", [], OURS) for n in (1, 2))
    assert counted_as(one) == counted_as(other) == "2001:db8:1:2::/64"
    assert counted_as(client_address("198.51.100.7", [], OURS)) == "198.51.100.7"


# --- slow-downs and sessions, on both databases -----------------------------------------------------------


def test_so_many_at_once_then_one_in_so_many_seconds(database: Database, clock: Clock) -> None:
    rate = Rate(3, 10.0)

    def take(name: str = "one") -> float:
        with database.write() as connection:
            return throttles.take(connection, database, name, rate, clock.now)

    assert [take(), take(), take()] == [0.0, 0.0, 0.0]
    assert take() == pytest.approx(10.0)
    assert take() == pytest.approx(10.0)  # who insists does not wait longer
    assert take("other") == 0.0
    clock.now += 10.0
    assert take() == 0.0
    assert take() > 0
    clock.now += 1_000.0
    assert [take(), take(), take()] == [0.0, 0.0, 0.0]
    with database.write() as connection:
        assert throttles.forget(connection, clock.now + 1_000.0) == 2


def test_a_session_is_found_by_its_id_until_it_ends(database: Database, clock: Clock) -> None:
    with database.write() as connection:
        ids = [
            web_sessions.open_session(connection, "22001234", "mail", now=clock.now, lasts_s=60.0)
            for _ in range(3)
        ]
        assert present(web_sessions.find(connection, ids[0], clock.now)).student_number == "22001234"
        assert web_sessions.find(connection, "made up", clock.now) is None
        assert web_sessions.find(connection, ids[0], clock.now + 60.0) is None
        web_sessions.end(connection, ids[0], clock.now)
        assert web_sessions.find(connection, ids[0], clock.now) is None
        assert web_sessions.find(connection, ids[1], clock.now) is not None
        web_sessions.end_all(connection, "22001234", clock.now)
        assert [web_sessions.find(connection, each, clock.now) for each in ids] == [None] * 3
        assert web_sessions.forget(connection, expired_before=clock.now + 61.0) == 3


def proof(number: str | None, clock: Clock, **more: object) -> MailProof:
    given: dict[str, object] = {
        "id": secrets.token_urlsafe(12),
        "purpose": "password",
        "student_number": number,
        "pair": "p",
        "language": "fr",
        "link_digest": "l",
        "code_digest": "c",
        "created_at": clock.now,
        "asked_by": None,
        "expires_at": clock.now + 60.0,
        **more,
    }
    return MailProof(**given)  # type: ignore[arg-type]


def test_a_proof_is_used_once_and_voids_the_others(database: Database, clock: Clock) -> None:
    mine, other, foreign = proof("1", clock), proof("1", clock, value=b"v"), proof("2", clock)
    with database.write() as connection:
        for each in (mine, other, foreign):
            mail_proofs.add(connection, each)
        assert mail_proofs.find(connection, mine.id) == mine
        assert mail_proofs.use(connection, mine.id, clock.now, by="me")
        assert not mail_proofs.use(connection, mine.id, clock.now, by="me")
        mail_proofs.void_others(connection, "1", "password", clock.now)
        assert not mail_proofs.use(connection, other.id, clock.now, by="me")
        voided = present(mail_proofs.find(connection, other.id))
        assert (voided.voided_at, voided.value, voided.stands(clock.now)) == (clock.now, None, False)
        assert not mail_proofs.use(connection, foreign.id, clock.now + 61.0, by="me")
        assert mail_proofs.use(connection, foreign.id, clock.now, by="me")
        assert mail_proofs.forget(connection, expired_before=clock.now + 61.0) == 3


def test_attempts_at_a_code_are_counted_and_end(database: Database, clock: Clock) -> None:
    one = proof("1", clock)
    with database.write() as connection:
        mail_proofs.add(connection, one)
        count = partial(mail_proofs.count_attempt, connection, one.id, attempts_max=3, repeats_max=2)
        assert [count(proved_after=0.0) for _ in range(5)] == [True, True, True, False, False]
        mail_proofs.prove(connection, one.id, clock.now)
        mail_proofs.prove(connection, one.id, clock.now + 9.0)  # the first time counts
        assert not count(proved_after=clock.now)
        assert [count(proved_after=clock.now - 1.0) for _ in range(3)] == [True, True, False]


def test_the_messages_of_one_browser_for_one_address_are_one_request(
    database: Database, clock: Clock
) -> None:
    lost = proof("1", clock, asked_by="me", pair="a")
    kept = proof("1", clock, asked_by="me", pair="a", created_at=clock.now + 1.0)
    others = [
        proof("1", clock, asked_by="somebody", pair="a"),
        proof("2", clock, asked_by="me", pair="b"),
        proof("1", clock, asked_by=None, pair="a"),
    ]
    with database.write() as connection:
        for each in (lost, kept, *others):
            mail_proofs.add(connection, each)
        find = partial(mail_proofs.of_request, connection, asked_by="me")
        assert [one.id for one in find([kept.id], limit=3)] == [kept.id, lost.id]
        assert [one.id for one in find([kept.id], limit=1)] == [kept.id]
        assert find([], limit=3) == []
        assert find(["unknown"], limit=3) == []
        assert {one.id for one in find([others[0].id, kept.id], limit=9)} == {others[0].id, kept.id, lost.id}


def test_a_message_is_claimed_by_one_sender_and_by_another_when_that_one_is_gone(
    database: Database, clock: Clock
) -> None:
    due = proof("1", clock, letter=b"x", send_at=clock.now)
    decoy = proof(None, clock, letter=b"x")
    with database.write() as connection:
        for each in (due, decoy):
            mail_proofs.add(connection, each)
        until = clock.now + 30.0
        claimed = mail_proofs.claim_letters(connection, clock.now, until=until, limit=10)
        assert [(each.id, each.send_attempts) for each in claimed] == [(due.id, 1)]
        assert mail_proofs.claim_letters(connection, clock.now, until=until, limit=10) == []
        again = mail_proofs.claim_letters(connection, until, until=until + 30.0, limit=10)
        assert [(each.id, each.send_attempts) for each in again] == [(due.id, 2)]
        mail_proofs.sent(connection, due.id, until)
        gone = present(mail_proofs.find(connection, due.id))
        assert (gone.letter, gone.send_at, gone.sent_at) == (None, None, until)
        assert not mail_proofs.letters_due(connection, until + 1_000.0)


# --- signatures -------------------------------------------------------------------------------------------


def test_what_was_signed_is_read_back_by_its_kind_and_age_and_across_a_turn_of_the_key() -> None:
    old, new = new_key(), new_key()
    before = Signing(derive_keys([old], "portal"))
    text = before.sign("grant", ["a", "b"])
    turned = Signing(derive_keys([new, old], "portal"))
    assert turned.read("grant", text, age_s_max=60) == ["a", "b"]
    assert turned.read("access", text, age_s_max=60) is None
    assert turned.read("grant", text + "x", age_s_max=60) is None
    assert turned.read("grant", text, age_s_max=-1) is None
    assert Signing(derive_keys([new], "portal")).read("grant", text, age_s_max=60) is None
    token = turned.form_token("browser")
    assert turned.is_form_token("browser", token)
    assert not turned.is_form_token("other", token)
    assert not turned.is_form_token("", turned.form_token(""))


# --- expected times ---------------------------------------------------------------------------------------


def test_what_is_expected_comes_from_what_was_measured_and_from_those_who_wait(
    database: Database, clock: Clock
) -> None:
    now, hour = clock.now, 3600.0
    assert measure_of(database, now) == Expected(None, None)
    for n in range(5):
        finish(database, f"old{n}", opened_at=now - 3 * hour, took_s=8.0 + n)
    for n in range(3):
        finish(database, f"bulk{n}", opened_at=now - hour, took_s=900.0 + n, lane="bulk")
    finish(database, "yesterday", opened_at=now - 30 * hour, took_s=500.0)
    assert measure_of(database, now) == Expected(10.0, None, within_s=12.0, within_bulk_s=902.0)
    for n in range(3):
        wait(database, f"waiting{n}", opened_at=now - 100.0 - n)
    found = measure_of(database, now)
    assert found.usual_s == 10.0
    assert found.present_s == pytest.approx(101.0)


def measure_of(database: Database, now: float) -> Expected:
    with database.read() as connection:
        return measure(connection, ["moodle"], now)["moodle"]


def wait(
    database: Database, number: str, *, opened_at: float, lane: str = "personal", state: str = "in_progress"
) -> None:
    values = {"student_number": number, "version": 1, "lane": lane, "opened_at": opened_at, "state": state}
    with database.write() as connection:
        connection.execute(insert(propagation).values(**values))


def finish(
    database: Database, number: str, *, opened_at: float, took_s: float, lane: str = "personal"
) -> None:
    wait(database, number, opened_at=opened_at, lane=lane, state="completed")
    values = {
        "student_number": number,
        "target": "moodle",
        "version": 1,
        "lease_epoch": 1,
        "sequence": 1,
        "state": "provisioned",
        "finished_at": opened_at + took_s,
    }
    with database.write() as connection:
        connection.execute(insert(propagation_targets).values(**values))


def test_a_persons_message_leaves_before_warnings_that_are_due_longer(
    database: Database, clock: Clock
) -> None:
    def due(purpose: str, send_at: float) -> MailProof:
        return proof("1", clock, purpose=purpose, letter=b"l", send_at=send_at)

    warnings = [due("ending", clock.now - 50.0 + n) for n in range(3)]
    late, person = due("password", clock.now + 5.0), due("password", clock.now)
    with database.write() as connection:
        for each in (*warnings, late, person):
            mail_proofs.add(connection, each)
        claimed = mail_proofs.claim_letters(connection, clock.now, until=clock.now + 60.0, limit=3)
        assert [each.id for each in claimed] == [person.id, warnings[0].id, warnings[1].id]
