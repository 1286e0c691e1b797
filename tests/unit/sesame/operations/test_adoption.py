"""What existed before Sésame: whose it is, what an operator is asked, and what follows from the answer."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from consumers.mailbox.welcome_journal import WelcomeMessages
from consumers.registry.ledger import MINTED, SqlLedger
from pipeline.audit.trail import audit
from pipeline.target import Done, Preview, Task, Waiting
from schemas.account import Account, Hold, Stage
from sesame.app.handlers import ADOPTION_UNDECIDED, GuardedHandler
from sesame.app.targets import adopted_refs
from sesame.operations.people.diagnosis.words import glossary
from sesame.operations.questions.adoption import adoptions
from sesame.operations.questions.adoption.acts import (
    LinkRequest,
    NoSuchQuestion,
    NotDecidable,
    UnknownStudent,
    link,
    to_activate,
)
from sesame.operations.questions.adoption.adoptions import AdoptionAnswer
from sesame.operations.questions.adoption.questions import QuestionKind
from sesame.operations.questions.inbox import INBOX
from sesame.testing.servers.database_kit import ONLY_SQLITE
from sesame.testing.servers.registry_kit import LEA, PAUL, RegistryHarness, activation, enrolled
from tests.unit.sesame.operations.adoption_kit import (
    ALINE,
    REASON,
    Targets,
    asked,
    decide,
    held,
    linked,
    questions,
)


@pytest.fixture
def desk(store_url: str) -> Iterator[RegistryHarness]:
    desk = RegistryHarness(store_url)
    yield desk
    desk.database.close()


@pytest.fixture
def targets(desk: RegistryHarness) -> Targets:
    return Targets(desk)


# --- what is certain ----------------------------------------------------------------------------------


def test_a_student_who_was_there_keeps_login_and_mail_and_nothing_is_minted(
    desk: RegistryHarness, targets: Targets
) -> None:
    targets.entry("lmartin", LEA, aliases=("lea.m@univ-exemple.fr",))
    targets.user(17, "lmartin", LEA)
    targets.mailbox("lmartin@univ-exemple.fr")
    targets.adopt()
    desk.apply(enrolled())
    account = desk.account()
    assert (account.login, account.mail) == ("lmartin", "lmartin@univ-exemple.fr")
    assert account.aliases == ("lea.m@univ-exemple.fr",)
    minted = {name for name, holder in held(desk).items() if holder == LEA}
    assert minted == {
        ("login", "lmartin"),
        ("mail", "lmartin@univ-exemple.fr"),
        ("mail", "lea.m@univ-exemple.fr"),
        ("principal", "lmartin@etu.univ-exemple.fr"),  # it had none
    }


def test_an_entry_without_number_is_a_students_by_the_ine_even_after_the_import(
    desk: RegistryHarness, targets: Targets
) -> None:
    desk.apply(enrolled(ine="123456789AB"))
    before = desk.account()
    assert before.login == "lea.martin"
    targets.entry("lmartin", ine="123456789AB")
    targets.adopt_and_tell_the_registry()
    after = desk.account()
    assert (after.login, after.mail, after.aliases) == ("lmartin", "lmartin@univ-exemple.fr", ())
    assert linked(desk, "directory") == {LEA: ("uid=lmartin,ou=people", "ine")}
    assert held(desk)["login", "lea.martin"] == LEA  # retired: given to nobody, and no alias
    desk.apply(enrolled(sequence=2, given_name="Léa-Marie"))
    assert desk.account().login == "lmartin"


@ONLY_SQLITE
def test_every_name_in_use_is_taken_whoever_has_it(desk: RegistryHarness, targets: Targets) -> None:
    targets.entry("lea.martin", family="Roussel", given="Hélène", mail="chef@univ-exemple.fr")
    targets.user(18, "paul.durand", mail="paul.durand@univ-exemple.fr")
    targets.mailbox("lea.martin@etu.univ-exemple.fr")
    targets.adopt()
    desk.apply(enrolled())
    assert desk.account().login == "lea.martin2"
    assert set(held(desk)) >= {
        ("login", "lea.martin"),
        ("mail", "chef@univ-exemple.fr"),
        ("login", "paul.durand"),
        ("mail", "lea.martin@etu.univ-exemple.fr"),
    }


@ONLY_SQLITE
def test_an_address_of_moodle_never_becomes_a_students_alias(desk: RegistryHarness, targets: Targets) -> None:
    desk.apply(enrolled())
    targets.entry("lmartin", LEA)
    targets.user(17, "lmartin", LEA, mail="lea@courriel.example")
    targets.adopt_and_tell_the_registry()
    assert desk.account().aliases == ()
    assert held(desk)["mail", "lea@courriel.example"] is None


@ONLY_SQLITE
def test_a_student_who_is_in_moodle_only_keeps_that_login(desk: RegistryHarness, targets: Targets) -> None:
    desk.apply(enrolled())
    targets.user(17, "lmartin", LEA)
    targets.adopt()
    desk.apply(enrolled(sequence=2, given_name="Léa"))
    with desk.database.write() as connection:
        names = SqlLedger(connection, desk.database, 0.0).held_by(LEA)
    assert names["login"] == "lmartin"


@ONLY_SQLITE
def test_a_dry_run_changes_nothing_and_says_the_same(
    desk: RegistryHarness, targets: Targets, tmp_path: Path
) -> None:
    desk.apply(enrolled())
    before = held(desk)
    targets.entry("lmartin", LEA)
    targets.entry("=cmd|calc", family="Agent", given="Agent")
    targets.user(17, "lmartin")
    report = tmp_path / "report.csv"
    found = targets.adopt(dry_run=True, report=report)
    assert found.written is None
    assert (held(desk), asked(desk), linked(desk, "directory")) == (before, set(), {})
    with report.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    assert [(row["standing"], row["kind"], row["student"]) for row in rows] == [
        ("conflict", "idnumber_empty", LEA),
        ("match", "student_number", LEA),
        ("stranger", "nobody", ""),
    ]
    assert rows[2]["login"] == "'=cmd|calc"  # a spreadsheet runs nothing
    assert report.stat().st_mode & 0o077 == 0
    real = targets.adopt()
    assert (real.questions, real.standings) == (found.questions, found.standings)


def test_again_nothing_is_new_and_an_adoption_that_was_cut_off_is_carried_on(
    desk: RegistryHarness, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.apply(enrolled(ine="123456789AB"))
    targets.entry("lmartin", ine="123456789AB")
    targets.user(17, "lmartin")
    with monkeypatch.context() as cut:

        def fall(*_: object) -> None:
            raise KeyboardInterrupt

        cut.setattr(adoptions, "ask", fall)
        with pytest.raises(KeyboardInterrupt):
            targets.adopt()
    assert linked(desk, "directory") != {}
    first = targets.adopt_and_tell_the_registry()
    assert first.written is not None
    assert (first.written.asked, first.written.differing) == (1, [LEA])
    assert desk.account().login == "lmartin"
    again = targets.adopt()
    assert again.written is not None
    assert vars(again.written) == {"names": 0, "adopted": 0, "asked": 0, "mended": 0, "differing": []}


# --- what an operator decides -------------------------------------------------------------------------


def test_names_and_birth_date_are_a_candidate_that_only_an_operator_links(
    desk: RegistryHarness, targets: Targets
) -> None:
    desk.apply(enrolled())
    born = desk.person().identity.birth_date.isoformat()
    targets.entry("lmartin", birth=born)
    found = targets.adopt()
    assert found.standings["directory"]["candidate"] == 1
    assert asked(desk) == {("directory", "names_and_birth_date", LEA)}
    assert (linked(desk, "directory"), desk.account().login) == ({}, "lea.martin")
    decide(desk)
    assert targets.adopt_and_tell_the_registry().questions == {}
    assert linked(desk, "directory") == {LEA: ("uid=lmartin,ou=people", "operator")}
    assert desk.account().login == "lmartin"
    assert targets.adopt().questions == {}  # remembered


@ONLY_SQLITE
def test_what_is_somebody_elses_is_not_asked_again(desk: RegistryHarness, targets: Targets) -> None:
    desk.apply(enrolled())
    targets.entry("lmartin", birth=desk.person().identity.birth_date.isoformat())
    targets.adopt()
    decide(desk, "separate")
    assert targets.adopt().questions == {}
    assert (linked(desk, "directory"), desk.account().login) == ({}, "lea.martin")


@ONLY_SQLITE
def test_a_user_without_idnumber_is_told_by_its_login_or_its_address(
    desk: RegistryHarness, targets: Targets
) -> None:
    desk.apply(enrolled())
    targets.entry("lmartin", LEA)
    targets.user(17, "autre", mail="lmartin@univ-exemple.fr")
    targets.adopt()
    assert asked(desk) == {("moodle", "idnumber_empty", LEA)}
    decide(desk)
    targets.adopt()
    assert linked(desk, "moodle") == {LEA: ("17", "operator")}


@ONLY_SQLITE
def test_each_contradiction_is_asked_once_and_its_object_is_not_linked(
    desk: RegistryHarness, targets: Targets
) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(PAUL, birth_name="Durand", given_name="Paul", birth_date=date(2005, 1, 2)))
    targets.entry("lmartin", LEA, aliases=("lea.m@univ-exemple.fr",))
    targets.entry("pdurand", PAUL, family="Durand", given="Paul", mail="lmartin@univ-exemple.fr")
    targets.user(17, "LMARTIN", LEA)
    targets.user(18, "pdurand", PAUL, family="Brzozowski", given="Wojtek", mail="pd@univ-exemple.fr")
    targets.mailbox("lea.m@univ-exemple.fr")
    targets.adopt()
    assert asked(desk) == {
        ("directory", "mail_shared", LEA),
        ("moodle", "username_case", LEA),
        ("moodle", "number_of_other", PAUL),
        ("mailbox", "mail_differs", LEA),
    }
    assert linked(desk, "moodle") == linked(desk, "mailbox") == {}
    assert set(linked(desk, "directory")) == {PAUL}


@ONLY_SQLITE
def test_a_conflict_that_ends_where_it_is_cannot_be_decided_and_goes_when_it_is_mended(
    desk: RegistryHarness, targets: Targets
) -> None:
    desk.apply(enrolled())
    one = targets.entry("lmartin", LEA)
    targets.entry("lmartin-bis", LEA)
    targets.adopt()
    assert asked(desk) == {("directory", "number_twice", LEA)}
    with pytest.raises(NotDecidable) as refused:
        decide(desk)
    assert "Remove the number" in refused.value.remedy
    targets.replace("directory", one)
    assert targets.adopt().questions == {}
    assert asked(desk, AdoptionAnswer.GONE) == {("directory", "number_twice", LEA)}
    assert set(linked(desk, "directory")) == {LEA}
    targets.entry("lmartin-bis", LEA)
    targets.adopt()
    assert asked(desk) == {("directory", "number_twice", LEA)}  # it came back
    assert linked(desk, "directory") == {}


def test_a_login_that_was_minted_for_somebody_else_goes_back_to_who_uses_it(
    desk: RegistryHarness, targets: Targets
) -> None:
    desk.apply(enrolled())  # lea.martin is minted for her, and she has not seen it
    desk.apply(enrolled(PAUL, birth_date=date(1999, 5, 5)))
    assert desk.account(PAUL).login == "lea.martin2"
    targets.entry("lea.martin", PAUL)  # the other Léa Martin has used it for years
    targets.adopt_and_tell_the_registry()
    assert asked(desk) == {("directory", "ledger_other", PAUL)}
    decide(desk)
    first = targets.adopt_and_tell_the_registry()
    assert first.written is not None
    assert first.written.differing == [LEA]  # she first: two accounts never have one login
    targets.adopt_and_tell_the_registry()
    assert desk.account(PAUL).login == "lea.martin"
    assert desk.account(LEA).login not in ("lea.martin", "lea.martin2")
    assert targets.adopt().questions == {}


@ONLY_SQLITE
def test_a_login_of_an_active_account_is_taken_from_nobody(desk: RegistryHarness, targets: Targets) -> None:
    desk.apply(enrolled())
    desk.apply(activation())
    targets.entry("lea.martin", family="Roussel", given="Hélène")
    targets.entry("autre", LEA)
    targets.adopt_and_tell_the_registry()
    assert asked(desk) == {("directory", "ledger_active", LEA), ("directory", "account_differs", LEA)}
    with pytest.raises(NotDecidable):
        decide(desk)
    assert desk.account().login == "lea.martin"


def test_an_operator_links_what_nothing_tells(desk: RegistryHarness, targets: Targets) -> None:
    desk.apply(enrolled())
    targets.entry("x123", family="", given="")
    targets.adopt()
    site: Any = SimpleNamespace(database=desk.database, settings=SimpleNamespace(targets=("directory",)))
    asked = {"object": "uid=x123,ou=people", "target": "directory", "reason": REASON}
    with pytest.raises(UnknownStudent):
        link(site, ALINE, LinkRequest(student_number=PAUL, **asked))
    link(site, ALINE, LinkRequest(student_number=LEA, **asked))
    targets.adopt_and_tell_the_registry()
    assert desk.account().login == "x123"
    assert list(to_activate(desk.database)) == [LEA]


@ONLY_SQLITE
def test_a_question_is_named_by_the_beginning_of_its_id(desk: RegistryHarness, targets: Targets) -> None:
    desk.apply(enrolled())
    targets.entry("lmartin", LEA)
    targets.user(17, "lmartin")
    targets.adopt()
    (question,) = questions(desk)
    for wrong in ("", question.id[:5], "0" * 12):
        with pytest.raises(NoSuchQuestion):
            decide(desk, "linked", question.id, wrong)
    assert questions(desk) == [question]
    decide(desk, "linked", question.id[:8])
    assert questions(desk) == []


@ONLY_SQLITE
def test_decisions_and_adoptions_are_audited_without_names(desk: RegistryHarness, targets: Targets) -> None:
    desk.apply(enrolled())
    targets.entry("lmartin", LEA)
    targets.user(17, "lmartin")
    targets.adopt()
    decide(desk)
    with desk.database.read() as connection:
        rows = connection.execute(select(audit.c.actor, audit.c.action, audit.c.detail)).all()
    assert [(row.actor, row.action) for row in rows] == [("aline", "adopt"), ("aline", "adopt.linked")]
    assert not any(word in row.detail for row in rows for word in ("lmartin", "Martin", "desk"))


# --- what the consumers make of it --------------------------------------------------------------------


class Writing:
    """A handler that would write to everybody."""

    name, batch_size, call_s_max = "moodle", 10, 1.0

    def handle(self, tasks: Iterable[Task]) -> dict[str, Any]:
        return {task.account.student_number: Done("sha256:" + "0" * 64, changed=True) for task in tasks}

    def preview(self, accounts: Iterable[Account]) -> dict[str, Preview]:
        return {account.student_number: Preview(("email",)) for account in accounts}

    def probe(self) -> None: ...
    def describe(self) -> Any: ...
    def close(self) -> None: ...


@ONLY_SQLITE
def test_nobody_is_written_while_a_question_is_open_but_access_is_shut(
    desk: RegistryHarness, targets: Targets
) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(PAUL, birth_name="Durand", given_name="Paul", birth_date=date(2005, 1, 2)))
    targets.entry("lmartin", LEA)
    targets.user(17, "lmartin", LEA, mail="lea@courriel.example")
    targets.adopt_and_tell_the_registry()
    opened = {"stage": Stage.ACTIVE}
    lea, paul = (desk.account(number).model_copy(update=opened) for number in (LEA, PAUL))
    handler = GuardedHandler(Writing(), desk.database)
    outcomes = handler.handle([Task(lea), Task(paul)])
    assert outcomes[LEA] == Waiting(ADOPTION_UNDECIDED, ("mail_differs",))
    assert isinstance(outcomes[PAUL], Done)
    assert handler.preview([lea])[LEA] == Preview(("email",), ADOPTION_UNDECIDED)
    shut = lea.model_copy(update={"holds": frozenset({Hold.SUSPENDED})})
    assert isinstance(handler.handle([Task(shut)])[LEA], Done)
    decide(desk)
    assert isinstance(handler.handle([Task(lea)])[LEA], Done)


class Corrected(Writing):
    """A target where somebody changed what these students have."""

    def __init__(self, *numbers: str) -> None:
        self.numbers = set(numbers)

    def handle(self, tasks: Iterable[Task]) -> dict[str, Any]:
        said = super().handle(tasks)
        return said | {number: Waiting("changed_there") for number in said.keys() & self.numbers}


def test_a_correction_is_asked_about_until_it_is_accepted_or_gone(
    desk: RegistryHarness, targets: Targets
) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(PAUL, birth_name="Durand", given_name="Paul", birth_date=date(2005, 1, 2)))
    tasks = [Task(desk.account(number).model_copy(update={"stage": Stage.ACTIVE})) for number in (LEA, PAUL)]
    target = Corrected(LEA, PAUL)
    handler = GuardedHandler(target, desk.database, asking=["changed_there"])
    both = {("moodle", "corrected", LEA), ("moodle", "corrected", PAUL)}

    assert handler.handle(tasks)[LEA] == Waiting("changed_there")
    assert asked(desk) == both
    raised = {each.student_number: each.raised_at for each in questions(desk)}
    desk.clock.now += 60
    assert handler.handle(tasks[:1])[LEA] == Waiting("changed_there"), "the question holds no turn up"
    targets.adopt()
    assert {each.student_number: each.raised_at for each in questions(desk)} == raised

    mine, his = ([each.id for each in questions(desk) if each.student_number == n] for n in (LEA, PAUL))
    with pytest.raises(NotDecidable):
        decide(desk, "separate", *mine)
    [replayed] = decide(desk, "linked", *mine)
    assert (replayed.student_number, replayed.consumer) == (LEA, "moodle")
    assert adopted_refs(desk.database, "moodle", [LEA, PAUL]).keys() == {LEA}
    assert handler.handle(tasks)[LEA] == Waiting("changed_there")
    assert asked(desk) == {("moodle", "corrected", PAUL)}, "an answered one is not asked again"

    target.numbers.clear()
    assert isinstance(handler.handle(tasks)[PAUL], Done)
    assert asked(desk) == set()
    target.numbers.add(PAUL)
    handler.handle(tasks)
    assert [each.id for each in questions(desk)] == his


@ONLY_SQLITE
def test_nobody_is_welcomed_to_a_mailbox_that_they_had(desk: RegistryHarness, targets: Targets) -> None:
    desk.apply(enrolled())
    targets.entry("lmartin", LEA)
    targets.mailbox("lmartin@univ-exemple.fr")
    targets.adopt()
    adopted = partial(adopted_refs, desk.database, "mailbox")
    journal = WelcomeMessages(desk.database, clock=desk.clock, adopted=adopted)
    assert {number: intent.state for number, intent in journal.known([LEA, PAUL]).items()} == {LEA: "waived"}
    earlier = journal.intend({LEA: ("<a@b>", 1, 1), PAUL: ("<c@d>", 1, 1)})
    assert {number: intent.state for number, intent in earlier.items()} == {LEA: "waived"}


def test_every_kind_has_words_and_a_remedy() -> None:
    for table in ("object_questions", "object_remedies"):
        assert all(all(glossary()[table][kind].values()) for kind in QuestionKind)
    for name, one in INBOX.items():
        assert {name, f"{name}_aucune"} <= glossary()["questions"].keys()
        assert set(one.answers) <= glossary()["answers"].keys()


def test_a_retired_name_is_nobodys_but_comes_back_to_its_student(desk: RegistryHarness) -> None:
    with desk.database.write() as connection:
        book = SqlLedger(connection, desk.database, 1.0)
        assert book.claim({"login": "lea.martin", "mail": "lea.martin@etu.univ-exemple.fr"}, LEA)
        book.reserve("login", "lmartin", holder=LEA, origin="directory")
        book.retire_minted([LEA, PAUL])
        assert book.held_by(LEA) == {"login": "lmartin"}
        assert book.names_of([LEA]) == {LEA: {"login": "lmartin"}}
        assert book.all_of(LEA, "mail") == []
        assert not book.claim({"mail": "lea.martin@etu.univ-exemple.fr"}, PAUL)
        assert book.claim({"mail": "lea.martin@etu.univ-exemple.fr"}, LEA)
        assert book.all_of(LEA, "mail") == ["lea.martin@etu.univ-exemple.fr"]
        assert book.holders([("login", "lmartin")])["login", "lmartin"].student_number == LEA
        assert book.holders([("mail", "lea.martin@etu.univ-exemple.fr")]).popitem()[1].origin == MINTED
