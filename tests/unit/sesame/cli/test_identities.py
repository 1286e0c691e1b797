"""`sesame identities`: what an operator sees, what is published, what is audited."""

from __future__ import annotations

import os
import pwd
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import select

from consumers.registry.ledger import ledger
from pipeline import audit
from pipeline.audit import operator_notes
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.facts import Rejected
from schemas import catalogue
from schemas.envelope import from_record
from schemas.events import IdentityDecided, IdentityDecision
from sesame.cli.errors import ExitCode
from sesame.testing.servers.command import sesame
from sesame.testing.servers.registry_kit import LEA, PAUL, RegistryHarness, activation, enrolled

OTHER = "22009999"
ME = pwd.getpwuid(os.getuid()).pw_name
KARIM: dict[str, Any] = {"birth_name": "Benali", "given_name": "Karim", "birth_date": date(2005, 1, 2)}
REASON = ("--reason", "papers seen", "--yes")


@pytest.fixture(autouse=True)
def operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who types the commands."""
    monkeypatch.setenv("LOGNAME", "operatrice")


def identities(*words: str, answer: str | None = None) -> Result:
    return sesame("identities", *words, answer=answer)


def published(folder: Path) -> list[IdentityDecided]:
    log = SqliteEventLog(folder / "data" / "events.db")
    with closing(log), closing(log.consumer("test", (catalogue.ACTIVATIONS,), member="test")) as consumer:
        records = consumer.poll(100, 1.0)
    found = [from_record(record.key, record.headers, record.value).event for record in records]
    return [event for event in found if isinstance(event, IdentityDecided)]


def audited(desk: RegistryHarness) -> list[tuple[str, str, dict[str, str]]]:
    with desk.database.read() as connection:
        found = audit.entries(connection, limit=100)
    return [(entry.actor, entry.action, dict(entry.detail)) for entry in reversed(found)]


def in_doubt(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA, ine="0123456789A"))
    desk.apply(enrolled(PAUL, 2, ine="0123456789A", usage_name="Roux", step="M1DROIT"))


def test_a_decision_about_a_holder_is_not_offered_again(desk: RegistryHarness) -> None:
    desk.apply(enrolled(OTHER, 3, birth_name="Petit"))
    desk.apply(enrolled(OTHER, 4, **KARIM))
    assert f"sesame identities merge {OTHER} --holder" in identities("show", OTHER).stderr
    desk.apply(IdentityDecided(student_number=OTHER, decision=IdentityDecision.SEPARATE))
    decided = identities("show", OTHER)
    assert decided.exit_code == 0
    assert "separate" in decided.stdout
    assert "sesame identities" not in decided.stderr


def test_two_people_are_said_by_one_event_and_audited(desk: RegistryHarness, tmp_path: Path) -> None:
    in_doubt(desk)
    result = identities("separate", PAUL, *REASON)
    assert result.exit_code == 0, result.output
    [event] = published(tmp_path)
    assert (event.student_number, event.other, event.decision) == (PAUL, LEA, IdentityDecision.SEPARATE)
    [(actor, action, detail)] = audited(desk)
    assert (actor, action, detail["reason_ref"]) == (ME, "identity.separate", event.reason_ref)
    with desk.database.read() as connection:
        [remark] = operator_notes.of_student(connection, PAUL)
    assert (remark.ref, remark.about, remark.words) == (event.reason_ref, LEA, "papers seen")


def test_the_number_with_an_account_goes_on_unless_the_operator_says_otherwise(
    desk: RegistryHarness, tmp_path: Path
) -> None:
    in_doubt(desk)
    identities("merge", LEA, PAUL, *REASON)
    identities("merge", PAUL, "--keep", PAUL, *REASON)
    first, second = published(tmp_path)
    assert (first.student_number, first.other) == (PAUL, LEA)
    assert (second.student_number, second.other) == (LEA, PAUL)


def test_of_two_accounts_the_operator_says_which_goes_on(desk: RegistryHarness, tmp_path: Path) -> None:
    desk.apply(enrolled(LEA))
    desk.apply(enrolled(PAUL, 2, birth_name="Durand"))
    for number in (LEA, PAUL):
        desk.apply(activation(number))
    undecided = identities("merge", LEA, PAUL, *REASON)
    assert undecided.exit_code == ExitCode.USAGE
    assert "--keep" in undecided.stderr
    assert identities("merge", LEA, PAUL, "--keep", OTHER, *REASON).exit_code == ExitCode.USAGE
    assert identities("merge", LEA, PAUL, "--keep", LEA, *REASON).exit_code == 0
    [event] = published(tmp_path)
    assert (event.student_number, event.other) == (PAUL, LEA)


def test_of_several_doubts_about_one_number_the_operator_names_one(
    desk: RegistryHarness, tmp_path: Path
) -> None:
    in_doubt(desk)
    desk.apply(enrolled(PAUL, 5, **KARIM))
    several = identities("separate", PAUL, *REASON)
    assert several.exit_code == ExitCode.USAGE
    assert LEA in several.stderr
    assert identities("separate", PAUL, LEA, "--holder", *REASON).exit_code == ExitCode.USAGE
    assert identities("merge", PAUL, "--holder", *REASON).exit_code == 0
    [event] = published(tmp_path)
    assert (event.student_number, event.other, event.decision) == (PAUL, None, IdentityDecision.MERGE)


# --- names that were minted from damaged ones -----------------------------------------------------------

DAMAGED: dict[str, Any] = {"birth_name": "Lefvre", "given_name": "Hlne", "birth_date": date(2005, 1, 2)}
RIGHT: dict[str, Any] = {"birth_name": "Lefèvre", "given_name": "Hélène", "birth_date": date(2005, 1, 2)}


def names_held(desk: RegistryHarness, number: str = LEA) -> dict[str, str]:
    """Every login and mail address of the ledger that was given to this student, and its origin."""
    with desk.database.read() as connection:
        rows = connection.execute(
            select(ledger).where(ledger.c.student_number == number, ledger.c.kind.in_(("login", "mail")))
        ).all()
    return {row.value: row.origin for row in rows}


def corrected(desk: RegistryHarness) -> None:
    """A student whose name was damaged; the registrar has put it right since, and an operator knew them."""
    desk.apply(enrolled(**DAMAGED))
    desk.apply(enrolled(sequence=2, **RIGHT))
    desk.apply(IdentityDecided(student_number=LEA, decision=IdentityDecision.MERGE))


def apply_published(desk: RegistryHarness, folder: Path) -> None:
    for event in published(folder):
        desk.apply(event)


def test_an_account_that_nobody_activated_gets_its_names_from_the_corrected_ones(
    desk: RegistryHarness, tmp_path: Path
) -> None:
    corrected(desk)
    before = desk.account()
    assert before.login == "hlne.lefvre"
    result = identities("mint-again", LEA, *REASON)
    assert result.exit_code == 0, result.output
    assert "hlne.lefvre" in result.stdout
    assert "helene.lefevre" in result.stdout
    apply_published(desk, tmp_path)
    account = desk.account()
    assert (account.login, account.mail.partition("@")[0]) == ("helene.lefevre", "helene.lefevre")
    assert account.version == before.version + 1
    assert account.aliases == ()
    held = names_held(desk)
    assert (held["hlne.lefvre"], held["helene.lefevre"]) == ("retired", "minted")
    assert [(actor, action) for actor, action, _ in audited(desk)] == [(ME, "identity.mint_again")]


def test_what_was_put_out_of_use_is_given_to_nobody(desk: RegistryHarness, tmp_path: Path) -> None:
    corrected(desk)
    identities("mint-again", LEA, *REASON)
    apply_published(desk, tmp_path)
    desk.apply(enrolled(PAUL, **{**DAMAGED, "birth_date": date(2001, 5, 6)}))
    assert desk.account(PAUL).login == "hlne.lefvre2"


def test_a_redelivery_mints_nothing_more(desk: RegistryHarness, tmp_path: Path) -> None:
    corrected(desk)
    identities("mint-again", LEA, *REASON)
    apply_published(desk, tmp_path)
    held, account = names_held(desk), desk.account()
    apply_published(desk, tmp_path)
    assert (names_held(desk), desk.account()) == (held, account)


def test_an_account_that_was_activated_keeps_its_login(desk: RegistryHarness, tmp_path: Path) -> None:
    corrected(desk)
    desk.apply(activation())
    before = desk.account()
    result = identities("mint-again", LEA, *REASON)
    assert result.exit_code == ExitCode.FAILED
    assert "has been activated" in result.stderr
    assert "registry.rename" in result.stderr
    assert published(tmp_path) == []
    with pytest.raises(Rejected) as refused:  # it was activated between the command and its effect
        desk.apply(IdentityDecided(student_number=LEA, decision=IdentityDecision.MINT_AGAIN))
    assert refused.value.cause == "already_activated"
    assert (desk.account(), names_held(desk)["hlne.lefvre"]) == (before, "minted")


def test_names_that_give_the_same_again_are_to_be_corrected_first(
    desk: RegistryHarness, tmp_path: Path
) -> None:
    desk.apply(enrolled(**DAMAGED))
    domain = desk.settings.mail_domain
    with Path("sesame.toml").open("a", encoding="utf-8") as settings:
        settings.write(f'[registry]\nmail_domain = "{domain}"\n')
    result = identities("mint-again", LEA, *REASON)
    assert result.exit_code == ExitCode.FAILED
    assert "Have the registrar correct the names" in result.stderr
    assert identities("mint-again", OTHER, *REASON).exit_code == ExitCode.FAILED
    assert published(tmp_path) == []


def test_a_login_that_was_found_in_the_directory_is_not_minted_again(
    desk: RegistryHarness, tmp_path: Path
) -> None:
    corrected(desk)
    with desk.database.write() as connection:
        connection.execute(ledger.update().where(ledger.c.value == "hlne.lefvre").values(origin="directory"))
    result = identities("mint-again", LEA, *REASON)
    assert result.exit_code == ExitCode.FAILED
    assert "found in the directory" in result.stderr
    assert published(tmp_path) == []
