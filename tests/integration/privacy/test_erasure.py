"""A person is erased from the targets, the store, the log and the archive; and nobody else is."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from consumers.registry.erasure.erasures import erasures
from consumers.registry.esi import PREFIX
from consumers.registry.people import People
from consumers.webhooks.handler import Webhooks
from pipeline import accounts
from pipeline.audit import operator_notes
from pipeline.audit.verification import verify as verify_audit
from pipeline.engine.bell import Bell, WorkItem
from pipeline.eventlog.port import Record
from pipeline.facts import Fact, FactHandler, Rejected
from pipeline.target import Waiting
from schemas import catalogue
from schemas.account import Hold, Lane, Stage
from schemas.envelope import Message, event_id
from schemas.events import AccountChanged, Cause
from sesame.acts.acts import Actor, Role
from sesame.app import housekeeping
from sesame.operations.access import holds
from sesame.operations.access.holds import HoldChangeRequest
from sesame.operations.identities import acts as identities
from sesame.operations.identities.acts import DoubtDecisionRequest, DoubtsRequest, Merge
from sesame.operations.imports import acts as imports
from sesame.operations.imports.acts import ImportRequest
from sesame.operations.people.known_persons import ErasedAlready, NoSuchStudent
from sesame.operations.privacy import acts, erasure
from sesame.operations.privacy.acts import ErasureRequest, ErasureStanding, StillEnrolled, UnderHold
from sesame.operations.privacy.export import export
from sesame.operations.privacy.receipts import verify
from sesame.testing.servers.database_kit import ONLY_SQLITE
from sesame.testing.servers.registrar_kit import ZOE, Registrar
from sesame.testing.servers.registry_kit import activation, cancelled, enrolled
from sesame.testing.servers.target_kit import outcome
from sesame.testing.servers.waiting import until
from tests.integration.targets.site_kit import Site, running

LEA, PAUL = "22607731", "22607732"
LEA_TOO = "22607739"
"""Her other number: each test of a person has one of two."""
DPO = Actor("dpo", frozenset({Role.ADMINISTRATOR}))
YEAR = datetime.now(UTC).year
WHO: dict[str, Any] = {
    "birth_name": "Quézenec",
    "given_name": "Maëlwenn",
    "ine": "0607ZZ0QQ17",
    "ine_provisional": False,
    "personal_mail": "lutine.secrete@maison.example",
    "mobile": "+33655501234",
}
OTHERWISE = WHO | {
    "ine": "0607ZZ0QQ99",
    "personal_mail": None,
    "mobile": "+33655505678",
    "birth_date": date(2001, 1, 1),
}
TRACES = (LEA, LEA_TOO, "Quézenec", "Maëlwenn", "quezenec", "0607ZZ0QQ17", "lutine.secrete", "3365550")
"""What must be found nowhere afterwards."""


@pytest.fixture
def site(tmp_path: Path, store_url: str) -> Iterator[Site]:
    """A site with its targets in memory."""
    store = "" if store_url.startswith("sqlite") else f'[store]\nurl = "{store_url}"\n'
    targets = ("directory", "mailbox", "moodle")
    settings = f"targets = {json.dumps(targets)}\n{store}[directory.federation]\nesi = true\n"
    with closing(Site(tmp_path / "site", settings, in_memory=targets)) as made:
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


def in_force(site: Site, number: str) -> bool:
    with site.database.read() as connection:
        return erasure.enrolled(site, connection, [number])


def held(site: Site) -> bool:
    with site.database.read() as connection:
        person = People(site.database).known(connection, LEA)
    return person is not None and bool(person.holds)


def complete(site: Site, number: str = LEA) -> bool:
    states = site.states(number)
    return bool(states) and set(states.values()) == {"provisioned"}


def erase(site: Site, number: str = LEA) -> ErasureStanding:
    reason = f"asked by {LEA}: maelwenn, Mme QUEZENEC"
    return acts.erase(site, DPO, ErasureRequest(student_number=number, reason=reason))


def erased(site: Site, begun: ErasureStanding) -> bytes:
    """Wait for the receipt."""

    def standing() -> ErasureStanding:
        return acts.standing(site, DPO, begun.id)

    until(lambda: standing().ended_at is not None, standing)
    return acts.receipt(site, DPO, begun.id).encode()


def merge(site: Site) -> None:
    """Léa has two numbers: the registrar gave her another one, and an operator found out."""
    enrol(site, number=LEA_TOO)
    until(lambda: bool(site.letters()))
    identities.merge(site, DPO, Merge(student_number=LEA_TOO, other=LEA, keep=LEA, reason="one person"))
    until(lambda: not site.letters())


def live_through(site: Site) -> None:
    """Two students live through what leaves traces; Paul's rows name Léa here and there. She has two
    numbers."""
    enrol(site)
    site.say(activation(LEA), catalogue.ACTIVATIONS)
    site.enrol_and_activate(PAUL, "Quidam", "Paul")
    until(lambda: complete(site) and complete(site, PAUL), site.letters)
    merge(site)
    change = HoldChangeRequest(student_number=LEA_TOO, kind=Hold.SUSPENDED, reason="Maëlwenn Quézenec called")
    holds.place(site, DPO, change)
    until(lambda: held(site))
    holds.lift(site, DPO, change)
    until(lambda: not held(site))
    with site.database.write() as connection:
        known = f"{LEA}, {WHO['personal_mail']}, {WHO['mobile']}"
        words = f"like {known}, MAELWENN QUEZENEC or Quézenec  Maëlwenn"
        kept = {"action": "x", "about": LEA, "student_number": PAUL, "actor": "c", "words": words}
        operator_notes.keep(connection, site.database, **kept)
    until(lambda: complete(site), site.letters)
    leave(site)
    leave(site, number=LEA_TOO)
    until(lambda: stage(site) is Stage.GRACE)


def rows(site: Site) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    with site.database.read() as connection:
        return {
            table.name: sorted(repr(tuple(row)) for row in connection.execute(select(table)))
            for table in site.tables.sorted_tables
        }


def plain(text: str) -> str:
    """Without accents and capitals."""
    kept = (each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each))
    return "".join(kept).casefold()


def traces(site: Site) -> list[str]:
    """Where something of Léa's is left: in rows, and in the bytes of files."""
    found = [
        f"{table}: {trace}"
        for table, each in rows(site).items()
        for trace in TRACES
        for row in each
        if plain(trace) in plain(row)
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
        shown = export(site, DPO, LEA).model_dump_json()
        assert {trace for trace in TRACES if trace in shown} == set(TRACES), "she is told what is kept"
        assert PAUL not in shown
        assert f"{PREFIX}{WHO['ine']}" in shown, "her European Student Identifier"
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


class Killed(BaseException):
    """As kill -9: what was not committed is not there."""


def cut_off_once(site: Site, monkeypatch: pytest.MonkeyPatch, step: str, when: str) -> None:
    """The first time that this step is taken, everything ends before it, or after; and nobody but the test
    carries erasures on."""
    done, cuts = getattr(site, step), iter([True])

    def cut_off(*arguments: object) -> object:
        last = done(*arguments) if when == "after" else None
        if next(cuts, False):
            raise Killed
        return last if when == "after" else done(*arguments)

    monkeypatch.setattr(housekeeping, "advance", lambda _site, **_which: 0)
    monkeypatch.setattr(site, step, cut_off)


def ended(site: Site, begun: ErasureStanding) -> bool:
    """Carry erasures one step on; whether this one is at its end."""
    erasure.advance(site, retention=False)
    return acts.standing(site, DPO, begun.id).ended_at is not None


@ONLY_SQLITE
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["erase_in_log", "rewrite_files"])
def test_an_erasure_that_is_cut_off_at_any_step_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    cut_off_once(site, monkeypatch, step, when)
    with running(site):
        live_through(site)
        begun = erase(site)
        with pytest.raises(Killed):
            until(lambda: ended(site, begun))
        until(lambda: ended(site, begun))
    document = acts.receipt(site, DPO, begun.id).encode()
    receipt = verify(document, fingerprint=None, privacy=site.privacy, student=LEA).receipt
    counted = {line.table: line.removed + line.kept for line in receipt.tables}
    assert counted["people"] == 2
    assert counted["ledger"] == 3
    assert traces(site) == []


def ring_late(site: Site, number: str) -> None:
    """Every consumer applies what it had read of this student before, and not begun yet."""
    account = AccountChanged(
        student_number=number, version=4, stage=Stage.ERASED, lane=Lane.BULK, cause=Cause.ENROLMENT
    )
    item = WorkItem((Bell(number, 4, Lane.BULK, "late", replay=True),))
    for target in site.settings.targets:
        effects = site.effects(target, site.handler(target))
        assert effects.admit([item]) == {}
        effects.record_fault(item, KeyError("oops"))
    webhooks = Webhooks(site.database, {"portal": [account.type]}, forgotten=site.erased_numbers.forgotten)
    consumers: tuple[FactHandler, ...] = (site.propagation(), webhooks)
    for event in (account, outcome("moodle", number, 4)):
        record = Record("", 0, 0, number, b"", (), 0)
        message = Message(event_id("late", number), "/sesame/moodle", datetime.now(UTC), event)
        for consumer in consumers:
            with site.database.write() as connection:
                consumer.handle(connection, [Fact(record, message)])


@ONLY_SQLITE
@pytest.mark.parametrize("step", ["erase_in_log", "rewrite_files"])
def test_a_consumer_that_is_late_names_nobody_whom_the_store_has_forgotten(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Its dead letter would name them in the store, in the log, and to an operator: again, and for good."""
    cut_off_once(site, monkeypatch, step, "before")
    with running(site):
        live_through(site)
        begun = erase(site)
        with pytest.raises(Killed):
            until(lambda: ended(site, begun))
        for _state in ("forgotten, or cleared", "done"):
            ring_late(site, LEA)
            assert site.letters() == []
            until(lambda: ended(site, begun))
    assert traces(site) == []
    with pytest.raises(Rejected):
        ring_late(site, "22609999")
    assert {letter.student_number for letter in site.letters()} == {"22609999"}, "who was never known is told"


@ONLY_SQLITE
def test_who_is_enrolled_held_unknown_or_erased_already_is_refused_with_words(site: Site) -> None:
    with running(site):
        enrol(site)
        until(lambda: stage(site) is Stage.PRECREATED)
        merge(site)
        leave(site)
        until(lambda: not in_force(site, LEA))
        with pytest.raises(StillEnrolled):  # under the other number
            erase(site)
        with pytest.raises(NoSuchStudent):
            erase(site, "22609999")
        hold = HoldChangeRequest(student_number=LEA_TOO, kind=Hold.ADMINISTRATIVE, reason="case")
        holds.place(site, DPO, hold)
        until(lambda: held(site))
        leave(site, number=LEA_TOO)

        def why() -> type[Exception] | None:
            try:
                erase(site)
            except (UnderHold, StillEnrolled) as error:
                return type(error)
            return None

        until(lambda: why() is UnderHold, why)
        holds.lift(site, DPO, hold)
        until(lambda: why() is None, why)
        begun = erase(site)
        assert erase(site).id == begun.id, "asked twice, erased once"
        erased(site, begun)  # nobody had activated the account: no target had anything
        with pytest.raises(ErasedAlready, match="erased already, on"):
            erase(site)
        with pytest.raises(ErasedAlready):
            holds.place(site, DPO, hold)


@ONLY_SQLITE
def test_who_comes_back_has_the_names_of_before_and_a_namesake_others(site: Site) -> None:
    with running(site):
        live_through(site)
        before = login(site)
        erased(site, erase(site))
        stranger = enrolled("22607733", 1, year=YEAR, **OTHERWISE)
        site.say(stranger, catalogue.ENROLMENTS)
        until(lambda: login(site, "22607733") != "")
        assert login(site, "22607733") == f"{before}2"
        enrol(site, sequence=3)
        until(lambda: login(site) != "")
        assert login(site) == before
        assert site.letters() == []


@ONLY_SQLITE
@pytest.mark.parametrize(
    ("number", "who"),
    [
        (LEA, {"birth_name": "Le Goff", "given_name": "Yann", "birth_date": date(2001, 1, 1)}),
        ("22607733", WHO),
    ],
    ids=["the number with another name", "another number with the same person"],
)
@pytest.mark.parametrize("named", [True, None], ids=["named", "unnamed"])
def test_who_may_be_an_erased_person_is_a_question_and_never_given_the_names(
    site: Site, number: str, who: dict[str, Any], named: bool | None
) -> None:
    with running(site):
        live_through(site)
        before = login(site)
        erased(site, erase(site))
        site.say(enrolled(number, 3, year=YEAR, **who), catalogue.ENROLMENTS)
        until(lambda: bool(site.letters()))
        assert [letter.cause for letter in site.letters()] == ["doubtful_identity"]
        [doubt] = identities.listed(site, DPO, DoubtsRequest())
        assert (doubt.student_number, doubt.other) == (number, site.privacy.pseudonym(LEA))
        assert identities.show(site, DPO, number)[0].before.birth_name == who["birth_name"]
        assert login(site, number) == ""
        decision = DoubtDecisionRequest(student_number=number, other=named and doubt.other, reason="seen")
        identities.separate(site, DPO, decision)
        until(lambda: login(site, number) != "")
        assert login(site, number) not in ("", before)
        assert site.letters() == []


@ONLY_SQLITE
def test_an_erased_person_under_another_number_is_merged_by_the_command_that_is_shown(site: Site) -> None:
    with running(site):
        live_through(site)
        erased(site, erase(site))
        site.say(enrolled("22607733", 3, year=YEAR, **WHO), catalogue.ENROLMENTS)
        until(lambda: bool(site.letters()))
        pseudonym = site.privacy.pseudonym(LEA)
        for other in ("erased-of-nobody", pseudonym[:-1]):
            with pytest.raises(identities.NoSuchDoubt):
                identities.merge(site, DPO, Merge(student_number="22607733", other=other, reason="seen"))
        done = identities.merge(site, DPO, Merge(student_number="22607733", other=pseudonym, reason="seen"))
        assert (done.student_number, done.other) == ("22607733", pseudonym)
        until(lambda: login(site, "22607733") != "")
        assert site.letters() == []


@ONLY_SQLITE
def test_whose_retention_is_over_is_forgotten_without_anybody(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "advance", lambda _site, **_which: 0)
    with running(site):
        live_through(site)
        begun = erase(site)

        def gone() -> bool:
            if stage(site) is Stage.ERASED:
                return not acts.standing(site, DPO, begun.id).awaited
            erasure.advance(site, retention=False)
            return False

        until(gone)
        with site.database.write() as connection:  # as if time had come to this, and nobody asked
            connection.execute(delete(erasures))
        for _step in range(4):
            erasure.advance(site, retention=True)
    [found] = acts.listed(site, DPO)
    assert (found.state, found.requested_by, found.reason) == ("done", "sesame", "retention")
    assert traces(site) == []


@ONLY_SQLITE
def test_an_erasure_says_why_a_target_is_awaited_and_what_is_kept_there(site: Site) -> None:
    forbidden = Waiting("moodle_deletion_forbidden", recheck_after_s=0.2)
    with running(site):
        live_through(site)
        site.held["moodle"].script = lambda task: forbidden if task.account.stage is Stage.ERASED else None
        begun = erase(site)

        def standing() -> ErasureStanding:
            return acts.standing(site, DPO, begun.id)

        until(lambda: standing().causes == {"moodle": "moodle_deletion_forbidden"}, standing)
        assert "moodle/user:delete" in acts.how_far(standing())
        assert standing().later == {}
        site.enrol_and_activate("22607780", "Autre", "Anne")
        until(lambda: complete(site, "22607780"), site.letters)
        assert {state for state, _ in site.consumers().values()} == {"running"}, "only the erasure waits"
        site.held["moodle"].script = lambda _task: None
        document = erased(site, begun)
    receipt = verify(document, fingerprint=None, privacy=site.privacy, student=LEA).receipt
    [listed] = acts.listed(site, DPO)
    assert listed.later == receipt.later
    assert set(listed.later) == {"directory", "mailbox", "moodle"}
    assert any("pseudonym" in line for line in listed.later["moodle"])


# --- who comes back before anything is forgotten ---


def let_targets_erase(site: Site, monkeypatch: pytest.MonkeyPatch, until_stage: Stage) -> ErasureStanding:
    """Bring Léa's erasure to this stage, or further on a slow machine, and forget nothing; it goes on by
    `erasure.advance` alone."""
    monkeypatch.setattr(housekeeping, "advance", lambda _site, **_which: 0)
    live_through(site)
    begun = erase(site, LEA_TOO)

    def there() -> bool:
        if stage(site) in (until_stage, Stage.ERASED):
            return not set(site.settings.targets) & set(acts.standing(site, DPO, begun.id).awaited)
        erasure.advance(site, retention=False)
        return False

    with monkeypatch.context() as before:
        before.setattr(erasure, "_forget_if_gone", lambda *_: None)
        until(there, lambda: acts.standing(site, DPO, begun.id))
    return begun


@ONLY_SQLITE
@pytest.mark.parametrize("number", [LEA, LEA_TOO])
@pytest.mark.parametrize("reached", [Stage.EXPIRED, Stage.ERASED])
def test_who_is_enrolled_again_before_anything_is_forgotten_is_not_erased(
    site: Site, monkeypatch: pytest.MonkeyPatch, number: str, reached: Stage
) -> None:
    with running(site):
        begun = let_targets_erase(site, monkeypatch, reached)
        before = login(site)
        enrol(site, 3, number)
        until(lambda: stage(site) is Stage.ACTIVE and complete(site), lambda: (stage(site), site.letters()))
        for _step in range(3):
            erasure.advance(site, retention=False)
            erasure.advance(site, retention=True)
        [found] = acts.listed(site, DPO)
        assert (found.id, found.state, found.awaited) == (begun.id, "withdrawn", ())
        with pytest.raises(acts.NoSuchErasure):
            acts.receipt(site, DPO, begun.id)
        assert (login(site), site.letters()) == (before, [])
        with site.database.read() as connection:
            newest = accounts.find(connection, LEA)
        assert newest is not None
        assert {each.held[LEA] for each in site.held.values()} == {newest.version}, "made anew"


@ONLY_SQLITE
def test_who_is_enrolled_again_once_the_store_has_forgotten_begins_anew(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(site):
        begun = let_targets_erase(site, monkeypatch, Stage.ERASED)
        before = login(site)
        until(lambda: ended(site, begun) or acts.standing(site, DPO, begun.id).state == "forgotten")
        enrol(site, 3)
        until(lambda: stage(site) is Stage.PRECREATED, site.letters)
        until(lambda: ended(site, begun), lambda: acts.standing(site, DPO, begun.id))
        assert (stage(site), login(site)) == (Stage.PRECREATED, before), "what came since is not forgotten"
        with site.database.write() as connection:  # as one whose retention was over when it was looked at
            erasure._begin_due(site, LEA, connection)  # noqa: SLF001
        assert [each.id for each in acts.listed(site, DPO)] == [begun.id]
        assert [name for name, each in rows(site).items() if any(LEA_TOO in row for row in each)] == []


@ONLY_SQLITE
@pytest.mark.parametrize("reached", [Stage.EXPIRED, Stage.ERASED])
def test_an_old_file_that_is_replayed_withdraws_no_erasure(
    site: Site, monkeypatch: pytest.MonkeyPatch, reached: Stage
) -> None:
    with running(site):
        begun = let_targets_erase(site, monkeypatch, reached)
        old = enrolled(LEA_TOO, 2, year=YEAR, **(WHO | {"step": "L2INFO"}))  # one that was not seen before
        site.say(old, catalogue.ENROLMENTS, tell_apart="old")
        until(lambda: any("L2INFO" in row for row in rows(site)["enrolments"]), site.letters)
        until(lambda: ended(site, begun), lambda: (acts.standing(site, DPO, begun.id), site.states(LEA)))
        assert acts.standing(site, DPO, begun.id).state == "done"
        assert stage(site) is None


@ONLY_SQLITE
def test_the_next_file_does_not_bring_an_erased_number_back_by_a_cancelled_line(
    site: Site, tmp_path: Path
) -> None:
    with running(site):
        live_through(site)
        erased(site, erase(site))
        line = ZOE | {"COD_ANU": str(YEAR), "ETA_IAE": "R"}
        lines = [line | {"COD_ETU": LEA}, line | {"COD_ETU": LEA_TOO}, line | {"COD_ETU": "22607790"}]
        file = Registrar(tmp_path).write(lines)
        request = ImportRequest(file=file, profile="apogee")
        done = imports.import_files(
            site, DPO, request, clock=lambda: datetime.now(UTC), progress=lambda *_told: None
        )
        [report] = done.reports
        assert (report.cancelled, report.unchanged) == (1, 2), "who was never known is told as before"
        site.say(cancelled(LEA, 9, year=YEAR), catalogue.ENROLMENTS)  # as one that another program sends
        site.say(cancelled("22607790", 9, year=YEAR), catalogue.ENROLMENTS)
        until(lambda: any("22607790" in row for row in rows(site)["enrolments"]))
        named = [
            name for name, each in rows(site).items() if any(LEA in row or LEA_TOO in row for row in each)
        ]
        assert named == []
        assert LEA_TOO.encode() not in site.settings.log_path.read_bytes()
        back = enrolled(LEA, 10, year=YEAR, **WHO)  # as another program says, whose feed this is not
        site.say(back, catalogue.ENROLMENTS, tell_apart="back")
        until(lambda: in_force(site, LEA), site.letters)
        done = imports.import_files(
            site, DPO, request, clock=lambda: datetime.now(UTC), progress=lambda *_told: None
        )
        assert done.reports[0].cancelled == 1, "who is back is cancelled as anybody is"
