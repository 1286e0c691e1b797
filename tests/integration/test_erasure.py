"""A person is erased from the targets, the store, the log and the archive; and nobody else is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from pipeline import accounts
from pipeline.audit import operator_notes
from pipeline.audit.verification import verify as verify_audit
from pipeline.vault import new_key
from schemas import catalogue
from schemas.account import Hold, Stage
from sesame.operations import holds
from sesame.operations.acts import Actor, Role
from sesame.operations.holds import HoldChange
from sesame.operations.privacy import acts
from sesame.operations.privacy.acts import (
    ErasureRequest,
    ErasureStanding,
)
from sesame.operations.privacy.receipts import verify
from sesame.testing.servers.registry_kit import activation, cancelled, enrolled
from tests.integration.site_kit import Site, running
from tests.waiting import until

LEA, PAUL = "22607731", "22607732"
DPO = Actor("dpo", frozenset({Role.ADMINISTRATOR}))
YEAR = datetime.now(UTC).year
WHO = {
    "birth_name": "Quézenec",
    "given_name": "Maëlwenn",
    "ine": "0607ZZ0QQ17",
    "personal_mail": "lutine.secrete@maison.example",
}
TRACES = (LEA, "Quézenec", "Maëlwenn", "quezenec", "0607ZZ0QQ17", "lutine.secrete")
"""What must be found nowhere afterwards."""


@pytest.fixture
def site(tmp_path: Path, store_url: str) -> Iterator[Site]:
    """A site with its targets in memory."""
    store = "" if store_url.startswith("sqlite") else f'[store]\nurl = "{store_url}"\n'
    targets = ("directory", "mailbox", "moodle")
    made = Site(tmp_path / "site", f"targets = {json.dumps(targets)}\n{store}", in_memory=targets)
    key = made.settings.privacy_key_file
    key.touch(mode=0o600)
    key.write_text(new_key(), encoding="ascii")
    with closing(made):
        yield made


def enrol(site: Site, sequence: int = 1, number: str = LEA, tell_apart: str = "") -> None:
    fact = enrolled(number, sequence, year=YEAR, **WHO)
    site.say(fact, catalogue.ENROLMENTS, tell_apart=f"{sequence}{tell_apart}")


def leave(site: Site, sequence: int = 2, number: str = LEA) -> None:
    ended = cancelled(number, sequence, year=YEAR)
    site.say(ended, catalogue.ENROLMENTS, tell_apart=str(sequence))


def stage(site: Site, number: str = LEA) -> Stage | None:
    with site.database.read() as connection:
        account = accounts.find(connection, number)
    return None if account is None else account.stage


def login(site: Site, number: str = LEA) -> str:
    with site.database.read() as connection:
        account = accounts.find(connection, number)
    return "" if account is None else account.login


def complete(site: Site, number: str = LEA) -> bool:
    states = site.states(number)
    return bool(states) and set(states.values()) == {"provisioned"}


def erase(site: Site, number: str = LEA) -> ErasureStanding:
    return acts.erase(site, DPO, ErasureRequest(student_number=number, reason=f"asked by {LEA}"))


def erased(site: Site, begun: ErasureStanding) -> bytes:
    """Wait for the receipt."""

    def standing() -> ErasureStanding:
        return acts.standing(site, DPO, begun.id)

    until(lambda: standing().ended_at is not None, standing)
    return acts.receipt(site, DPO, begun.id).encode()


def live_through(site: Site) -> None:
    """Two students live through what leaves traces; Paul's rows name Léa here and there."""
    enrol(site)
    site.say(activation(LEA), catalogue.ACTIVATIONS)
    site.enrol_and_activate(PAUL, "Quidam", "Paul")
    until(lambda: complete(site) and complete(site, PAUL), site.letters)
    for each in (holds.place, holds.lift):
        change = HoldChange(
            student_number=LEA, kind=Hold.SUSPENDED, reason="Maëlwenn Quézenec called", at=datetime.now(UTC)
        )
        each(site, DPO, change)
    with site.database.write() as connection:
        words = f"like {LEA}, {WHO['personal_mail']}"
        kept = {"action": "x", "about": LEA, "student_number": PAUL, "actor": "c", "words": words}
        operator_notes.keep(connection, site.database, **kept)
    until(lambda: complete(site), site.letters)
    leave(site)
    until(lambda: stage(site) is Stage.GRACE)


def rows(site: Site) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    with site.database.read() as connection:
        return {
            table.name: sorted(repr(tuple(row)) for row in connection.execute(select(table)))
            for table in site.tables.sorted_tables
        }


def traces(site: Site) -> list[str]:
    """Where something of Léa's is left: in rows, and in the bytes of files."""
    found = [
        f"{table}: {trace}"
        for table, each in rows(site).items()
        for trace in TRACES
        for row in each
        if trace.casefold() in row.casefold()
    ]
    for path in site.settings.data_dir.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            seen = [content, content.lower(), *_inside(content)]
            found += [f"{path.name}: {trace}" for trace in TRACES for each in seen if trace.encode() in each]
    return found


def _inside(content: bytes) -> list[bytes]:
    """What is packed in it by JSON's escapes."""
    return [content.decode("utf-8", "replace").encode("unicode_escape")] if b"\\u" in content else []


def test_an_erased_person_is_in_no_row_and_in_no_byte(site: Site) -> None:
    with running(site):
        live_through(site)
        assert {each.partition(": ")[2] for each in traces(site)} == set(TRACES), "they can be found at all"
        before = rows(site)
        document = erased(site, erase(site))
        assert traces(site) == []
        assert verify_audit(site.database).breaks == []
        receipt = verify(document, fingerprint=None, privacy=site.privacy, student=LEA).receipt
        assert {line.target for line in receipt.targets} == {"directory", "mailbox", "moodle"}
        assert {line.left for line in receipt.tables} == {0}
        assert not [trace for trace in TRACES if trace.encode() in document]
        after = rows(site)
        of_paul = {name: [row for row in each if PAUL in row] for name, each in before.items()}
        assert {name: len([row for row in after[name] if PAUL in row]) for name in of_paul} == {
            name: len(each) for name, each in of_paul.items()
        }
        assert complete(site, PAUL)
        assert site.letters() == []
