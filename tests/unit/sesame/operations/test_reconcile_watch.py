"""What a target tells of its changes is compared with the accounts at once, and remembered until mended."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import select, update

from consumers.kit.connector import Changes, TargetObject, Wanted
from consumers.kit.handler import AMBIGUOUS
from pipeline import pauses
from pipeline.audit.trail import audit
from pipeline.db.database import Database
from pipeline.errors import TargetDown
from pipeline.target_states import target_states
from pipeline.threshold import Threshold
from schemas.account import Account, Stage
from sesame.app.comparing import DriftWatch
from sesame.operations.questions.adoption import adoptions
from sesame.operations.questions.adoption.acts import AnswerRequest, decide
from sesame.operations.questions.adoption.adoptions import AdoptionAnswer, QuestionRow
from sesame.operations.questions.adoption.questions import QuestionKind
from sesame.operations.questions.reconcile import passes
from sesame.operations.questions.reconcile.acts import WatchRequest, watch
from sesame.operations.questions.reconcile.comparison import TargetReport
from sesame.operations.questions.reconcile.passes import Pass, reconciliations
from sesame.settings.runtime import ReconcileSettings
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.population_kit import OPERATOR
from tests.unit.sesame.operations.test_reconcile import (
    LENIENT,
    NOW,
    STUDENTS,
    Shelf,
    Site,
    account,
    filled,
    its_object,
    stored,
)

FEW = 10
"""Whom each look reads first, to see whether the target went back."""


class Telling(Shelf):
    """A target that numbers its changes. `changes`: of each, the object; None: something was removed."""

    changes: list[TargetObject | None]

    def changes_since(self, mark: str) -> Changes[TargetObject]:
        if mark and int(mark) > len(self.changes):
            return Changes(str(len(self.changes)), gone=True, went_back=True)
        since = self.changes[int(mark) :] if mark else []
        objects = [each for each in since if each is not None]
        return Changes(str(len(self.changes)), iter(objects), gone=len(objects) < len(since))


class Shop(Site):
    """A site with such a target, and the hands of somebody who works there."""

    def __init__(self, database: Database, folder: Path) -> None:
        super().__init__(database, folder)
        self.changes: list[TargetObject | None] = []
        self.made = {"shelf": self.telling}

    def telling(self) -> Telling:
        made = cast("Telling", self.shelf(Telling))
        made.changes = self.changes
        return made

    def hand(self, number: str, **changed: Any) -> TargetObject:
        """Change a student's object by hand."""
        [at] = [at for at, each in enumerate(self.there) if each.student_number == number]
        self.there[at] = replace(self.there[at], **changed)
        self.changes.append(self.there[at])
        return self.there[at]

    def look(self, *, repair: bool = False, threshold: Threshold = LENIENT) -> TargetReport | None:
        """Ask, some time later than before."""
        with self.database.write() as connection:
            connection.execute(update(reconciliations).values(looked_at=reconciliations.c.looked_at - 60))
        return self.ask(repair=repair, threshold=threshold)

    def ask(self, *, repair: bool = False, threshold: Threshold = LENIENT) -> TargetReport | None:
        request = WatchRequest(target="shelf", repair=repair)
        return watch(cast("Any", self), OPERATOR, request, clock=lambda: NOW, threshold=threshold)

    def known(self) -> Pass:
        with self.database.read() as connection:
            [last] = passes.latest(connection)
        return last

    def left(self) -> Mapping[str, list[str]]:
        return {kind: names for kind, names in self.known().left.items() if names}

    def listings(self) -> int:
        """How often everybody was compared."""
        return sum(each.listings for each in self.shelves)

    def rested(self) -> None:
        """Let time pass since everybody was compared."""
        last, then = self.known(), NOW.replace(year=2020)
        with self.database.write() as connection:
            old = last.model_copy(update={"ended_at": then, "failed_at": last.failed_at and then})
            passes.keep(connection, self.database, old)


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Shop:
    shop = Shop(database, tmp_path)
    filled(shop)
    assert shop.ask() is None, "everybody is as they are to be"
    return shop


def numbers(found: TargetReport | None) -> list[str]:
    assert found is not None
    return [*found.missing, *found.different]


def test_the_first_look_compares_everybody_and_the_next_ones_what_was_changed(shop: Shop) -> None:
    assert (shop.listings(), shop.known().accounts) == (1, STUDENTS)
    shop.hand("22600007", fields={"name": ("by hand",)})
    found = shop.look()
    assert numbers(found) == ["22600007"]
    assert found is not None
    assert found.evidence == {"22600007": ("name",)}
    assert shop.shelves[-1].asked[FEW:] == ["22600007"], "nobody else is read"
    assert shop.listings() == 1
    assert shop.left() == {"different": ["22600007"]}
    assert shop.known().found["different"] == 1
    assert shop.known().noticed_at is not None


def test_before_the_first_import_nobody_is_asked_about_what_the_target_has(
    database: Database, tmp_path: Path
) -> None:
    shop = Shop(database, tmp_path)
    shop.there.append(its_object(account("22600007")))
    assert shop.ask() is None
    assert shop.listings() == 0
    stored(database, [account("22600008")])
    assert present(shop.look()).orphaned, "the first look of all waits for the first import"


def test_what_was_told_once_is_no_news_and_is_forgotten_once_it_is_mended(shop: Shop) -> None:
    shop.hand("22600007", fields={"name": ("by hand",)})
    shop.look()
    assert shop.look() is None
    assert shop.left() == {"different": ["22600007"]}
    mended = its_object(account("22600007"))
    shop.there[7] = mended  # by us: the target does not tell of it
    assert shop.look() is None
    assert shop.left() == {}
    assert set(shop.known().found.values()) == {0}


def test_what_hands_changed_back_or_what_we_wrote_is_no_difference(shop: Shop) -> None:
    shop.changes += shop.there[:50]
    assert shop.look() is None
    assert shop.shelves[-1].asked[FEW:] == []
    assert shop.left() == {}


def test_of_two_processes_one_asks(shop: Shop) -> None:
    shop.hand("22600007", fields={"name": ("by hand",)})
    asked = len(shop.shelves)
    assert shop.ask() is None
    assert len(shop.shelves) == asked, "another process has just asked"
    assert numbers(shop.look()) == ["22600007"]


def test_a_removal_is_found_by_comparing_everybody_once_that_has_rested(shop: Shop) -> None:
    removed = shop.there.pop(7)
    shop.changes.append(None)
    with shop.database.write() as connection:  # it took an hour, a moment ago
        last = shop.known().model_copy(update={"seconds": 3600.0})
        passes.keep(connection, shop.database, last)
    changed = shop.hand("22600020", fields={"name": ("by hand",)})
    assert numbers(shop.look()) == ["22600020"], "what was changed does not wait"
    assert shop.listings() == 1
    shop.rested()
    assert sorted(numbers(shop.look())) == [removed.student_number, changed.student_number]
    assert shop.listings() == 2
    assert shop.look() is None
    assert shop.listings() == 2, "it is asked from then on"
    assert shop.left() == {"missing": ["22600007"], "different": ["22600020"]}


def test_a_number_that_a_hand_took_away_or_gave_to_another_object_is_found(shop: Shop) -> None:
    shop.hand("22600007", student_number="", names=(("login", "Login-22600007"),))
    assert numbers(shop.look()) == ["22600007"]
    twin = TargetObject("twin", "22600008", {"name": ("somebody",)}, True)
    stranger = TargetObject("stranger", "999", {}, True)
    nobody = TargetObject("nobody", "", {}, True, names=(("login", "prof"),))
    shop.there += [twin, stranger, nobody]
    shop.changes += [twin, stranger, nobody]
    found = present(shop.look())
    assert (found.extra, found.orphaned) == (["twin"], ["stranger"])
    assert found.evidence == {"twin": ("22600008",), "stranger": ("999",)}
    stranger = replace(stranger, student_number="")
    shop.there[-2] = stranger
    shop.changes.append(stranger)
    assert shop.look() is None
    assert shop.left() == {"missing": ["22600007"], "extra": ["twin"]}


def test_who_never_activated_or_is_under_way_is_no_difference(shop: Shop) -> None:
    never = account("30", stage=Stage.PRECREATED, activated_at=None)
    erased, erasing, now = (account(number, stage=Stage.ERASED) for number in ("31", "32", "33"))
    stored(shop.database, [never, erased, erasing, now])
    shop.there += map(its_object, (erasing, now, never, erased))
    shop.there[-2] = replace(shop.there[-2], open=True)
    shop.changes += shop.there[-4:]
    with shop.database.write() as connection:
        of, later = target_states.c.student_number, shop.database.now(connection) + 9
        connection.execute(update(target_states).where(of == "32").values(applied_version=0))
        connection.execute(update(target_states).where(of == "33").values(since=later))  # after it was listed
    busy = "22600009"
    with shop.database.write() as connection:
        one = target_states.c.student_number == busy
        connection.execute(update(target_states).where(one).values(state_version=2))
    shop.hand(busy, fields={"name": ("by hand",)})
    found = present(shop.look())
    assert (numbers(found), found.orphaned) == ([], ["ref-31"])


def test_only_what_is_new_is_repaired_and_in_the_audit(shop: Shop) -> None:
    shop.hand("22600007", fields={"name": ("by hand",)})
    assert present(shop.look(repair=True)).replay_id
    assert [each.student_number for each in shop.replays()] == ["22600007"]
    assert shop.look(repair=True) is None
    assert len(shop.on_the_log) == 1, "it was asked for already"
    for number in range(22600100, 22600200):
        shop.hand(str(number), fields={"name": ("by hand",)})
    held = present(shop.look(repair=True, threshold=Threshold()))
    assert (len(held.different), held.replay_id, len(shop.on_the_log)) == (100, "", 1)
    assert held.approval
    with shop.database.read() as connection:
        actions = connection.scalars(select(audit.c.action)).all()
    assert [each for each in actions if each != "replay"] == [
        "reconcile",
        "reconcile.watch",
        "reconcile.watch",
    ]


def emptied(shop: Shop, *, share: float = 1.0) -> None:
    """Whoever did it, the target says that something was removed."""
    del shop.there[: int(len(shop.there) * share)]
    shop.changes.append(None)


def test_a_target_that_shows_an_older_state_is_told_before_everybody_is_compared(shop: Shop) -> None:
    for number in (22600007, 22600008):
        shop.hand(str(number), fields={"name": ("by hand",)})
    shop.look()
    del shop.changes[1:]  # out of the backup of before
    del shop.there[7]
    shop.listed = cast("Any", FallsOver())
    assert present(shop.look()).trouble
    assert shop.left()["went_back"] == ["shelf"], "it does not wait for a comparison that may take minutes"
    shop.listed = None
    shop.rested()
    found = present(shop.look())
    assert (found.went_back, found.missing, found.evidence["shelf"]) == (["shelf"], ["22600007"], ("older",))
    assert shop.known().found["went_back"] == 1
    shop.there[7:8] = [its_object(account(number)) for number in ("22600007", "22600008")]
    shop.run()
    assert shop.known().found == dict.fromkeys(passes.KINDS, 0), "and all is well again"


class Versioned(Telling):
    """One whose objects show the account's version."""

    def wanted(self, account: Account) -> Wanted:
        of = super().wanted(account).fields
        return Wanted({**of, "version": (str(account.version),)}, undigested=("version",))


def test_a_server_out_of_a_backup_is_told_though_it_was_written_to_before_it_is_asked(shop: Shop) -> None:
    """By a probe, say: what it tells of its changes is then as if nothing had happened."""

    def versioned() -> Versioned:
        made = cast("Versioned", shop.shelf(Versioned))
        made.changes = shop.changes
        return made

    shop.made["shelf"] = versioned
    shop.there[:] = [replace(each, fields={**each.fields, "version": ("3",)}) for each in shop.there]
    assert shop.look() is None
    shop.there[-4] = replace(shop.there[-4], fields={"name": ("by hand",), "version": ("3",)})
    for at in (-1, -2):
        shop.there[at] = replace(shop.there[at], fields={**shop.there[at].fields, "version": ("2",)})
    assert shop.look() is None, "two who were changed by hand are no backup"
    del shop.there[-3]
    found = present(shop.look())
    assert (found.went_back, found.evidence["shelf"]) == (["shelf"], ("older",))
    assert (found.missing, len(found.different)) == (["22600997"], 3)


def test_a_target_that_lost_much_is_told_at_once_and_until_it_is_mended(shop: Shop) -> None:
    with shop.database.write() as connection:  # the comparison before took an hour, and ended just now
        passes.keep(connection, shop.database, shop.known().model_copy(update={"seconds": 3600.0}))
    there = list(shop.there)
    emptied(shop)
    found = present(shop.look(threshold=Threshold()))
    assert (found.went_back, len(found.missing)) == (["shelf"], STUDENTS)
    assert found.evidence["shelf"] == ("lost",)
    for _night in range(2):
        assert shop.run(threshold=Threshold()).targets["shelf"].went_back == ["shelf"]
    shop.there[:] = [replace(each, fields={"name": ("x",)}) for each in there]
    assert shop.run(threshold=Threshold()).targets["shelf"].went_back == ["shelf"], "other people's now"
    shop.there[:] = there
    assert shop.run(threshold=Threshold()).targets["shelf"].went_back == []


def test_what_is_lost_little_by_little_or_on_purpose_rings_no_alarm(shop: Shop) -> None:
    for _day in range(3):
        emptied(shop, share=0.04)
        shop.rested()
        assert present(shop.look(threshold=Threshold())).went_back == []
    with shop.database.write() as connection:
        pauses.place(connection, shop.database, "shelf", actor="ada", reason="a new server")
    emptied(shop)
    asked = len(shop.shelves)
    assert shop.look(threshold=Threshold()) is None
    assert len(shop.shelves) == asked, "a paused target is left alone"
    assert shop.run(threshold=Threshold()).targets["shelf"].went_back == []
    with shop.database.write() as connection:
        pauses.lift(connection, "shelf")
    shop.look(threshold=Threshold())
    assert shop.left().get("went_back") is None
    assert shop.known().found["missing"] == STUDENTS
    assert shop.run(threshold=Threshold()).targets["shelf"].went_back == []


def test_a_target_that_cannot_tell_is_looked_at_by_a_few(database: Database, tmp_path: Path) -> None:
    site = Shop(database, tmp_path)
    filled(site)
    site.made["shelf"] = site.shelf
    assert site.look() is None
    site.run()
    site.look()
    del site.there[7]
    compared = site.listings()
    assert site.look(threshold=Threshold()) is None
    assert site.listings() == compared
    assert len(site.shelves[-1].asked) == FEW
    del site.there[:900]
    found = present(site.look(threshold=Threshold()))
    assert (found.went_back, len(found.missing)) == (["shelf"], 901)
    compared = site.listings()
    for _look in range(3):
        assert site.look(threshold=Threshold()) is None
    assert site.listings() == compared, "what is known already is no reason to compare everybody again"


def test_those_who_came_last_tell_that_a_backup_was_taken_back(database: Database, tmp_path: Path) -> None:
    """Of a target that does not tell: they are far fewer than what an operator must let pass."""
    site = Shop(database, tmp_path)
    site.made["shelf"] = site.shelf
    filled(site)
    today = [account(f"{22700000 + each}") for each in range(5)]  # of a sixth, the lot might draw one
    stored(database, today, **{one.student_number: {"applied_at": NOW.timestamp()} for one in today})
    site.there += map(its_object, today)
    site.run()
    site.look()
    del site.there[-5:]
    found = present(site.look(threshold=Threshold()))
    assert len(found.missing) == 5
    assert found.went_back == ["shelf"]


def test_many_are_counted_though_not_all_are_remembered(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "KEPT_MAX", 10)
    for number in range(22600000, 22600030):
        shop.hand(str(number), fields={"name": ("by hand",)})
    assert len(numbers(shop.look())) == 30
    assert (shop.known().found["different"], len(shop.left()["different"])) == (30, 10)
    for at in range(5):
        shop.there[at] = its_object(account(f"{22600000 + at}"))
    shop.look()
    assert (shop.known().found["different"], len(shop.left()["different"])) == (25, 5)


def test_a_target_that_cannot_be_asked_is_asked_again_from_the_same_mark(shop: Shop) -> None:
    shop.hand("22600007", fields={"name": ("by hand",)})
    shop.made["shelf"] = away
    with pytest.raises(TargetDown):
        shop.look()
    shop.made["shelf"] = shop.telling
    assert numbers(shop.look()) == ["22600007"]


def test_a_comparison_that_failed_is_made_again_for_the_same_change(shop: Shop) -> None:
    removed = shop.there.pop(7)
    shop.changes.append(None)
    shop.rested()
    shop.listed = cast("Any", FallsOver())
    assert present(shop.look()).trouble
    shop.listed = None
    shop.rested()
    assert numbers(shop.look()) == [removed.student_number]


def test_a_connector_s_fault_is_told_and_the_watch_goes_on(shop: Shop) -> None:
    told: list[tuple[str, str]] = []
    settings = SimpleNamespace(targets=("shelf",), reconcile=ReconcileSettings())
    site = SimpleNamespace(
        settings=settings,
        database=shop.database,
        connector=shop.connector,
        producer=shop.producer,
        follows={},
    )
    process = DriftWatch(cast("Any", site), ["shelf"], on_trouble=lambda *what: told.append(what))

    def odd() -> Any:
        raise KeyError("Léa Martin")

    shop.made["shelf"] = odd
    with shop.database.write() as connection:
        connection.execute(update(reconciliations).values(looked_at=0.0))
    process.look("shelf", threading.Event())
    [(target, why)] = told
    assert target == "shelf"
    assert why.startswith("its changes were not compared: KeyError in ")
    assert "Martin" not in why


class FallsOver:
    """A list that breaks while it is read."""

    def __iter__(self) -> Iterator[TargetObject]:
        raise KeyError("x")


def test_a_target_that_cannot_tell_is_left_to_the_night(database: Database, tmp_path: Path) -> None:
    site = Shop(database, tmp_path)
    filled(site)
    site.made["shelf"] = site.shelf
    del site.there[7]
    assert site.ask() is None
    assert site.listings() == 0


def questions(shop: Site, state: AdoptionAnswer = AdoptionAnswer.OPEN) -> list[tuple[str, str, str | None]]:
    with shop.database.read() as connection:
        return [(q.kind, q.object, q.student_number) for q in adoptions.questions(connection, [state])]


def raised(shop: Shop, question: QuestionRow) -> None:
    """`sesame adopt` has asked this."""
    with shop.database.write() as connection:
        adoptions.ask(connection, shop.database, [question], NOW.timestamp())


def away() -> Any:
    raise TargetDown("no answer")


def answer(shop: Site, ref: str) -> None:
    with shop.database.read() as connection:
        [asked] = [q.id for q in adoptions.questions(connection, [AdoptionAnswer.OPEN]) if q.object == ref]
    request = AnswerRequest(ids=(asked,), answer=AdoptionAnswer.SEPARATE, reason="a guest of the library")
    decide(cast("Any", shop), OPERATOR, request)


def test_an_operator_is_asked_once_and_what_is_to_stay_is_told_no_more(shop: Shop) -> None:
    twin = TargetObject("twin", "22600008", {"name": ("somebody",)}, True)
    strangers = [TargetObject(f"stranger-{at}", "999", {}, True) for at in range(2)]
    shop.there += [twin, *strangers]
    shop.changes += [twin, *strangers]
    shop.look()
    asked = [
        ("number_of_nobody", "stranger-0", "999"),
        ("number_of_nobody", "stranger-1", "999"),
        ("number_twice", "twin", "22600008"),
    ]
    assert sorted(questions(shop)) == asked
    answer(shop, "stranger-0")
    shop.changes += strangers
    assert shop.look() is None
    assert shop.left() == {"extra": ["twin"], "orphaned": ["stranger-1"]}
    whole = shop.run().targets["shelf"]
    assert sorted(whole.extra) == ["ref-22600008", "twin"]
    assert (whole.orphaned, whole.unmanaged) == (["stranger-1"], 1)
    assert ("number_of_nobody", "stranger-1", "999") in questions(shop)
    del shop.there[-3:]
    shop.run()
    assert questions(shop) == []
    assert questions(shop, AdoptionAnswer.SEPARATE) == [asked[0]], "what was decided is remembered"


@pytest.mark.parametrize(
    "state", [{"state": "waiting", "reason": AMBIGUOUS}, {"state_version": 2}], ids=["waits", "under way"]
)
def test_a_question_of_two_objects_stands_until_one_is_gone(shop: Shop, state: dict[str, Any]) -> None:
    """Though the comparison says nothing of such a student, which is no news."""
    stored(shop.database, [account("30")], **{"30": state})
    shop.there += [TargetObject(ref, "30", {"name": ("Léa 30",)}, True) for ref in ("one", "two")]
    raised(shop, QuestionRow("shelf", "one", "30", QuestionKind.NUMBER_TWICE))
    for _night in range(2):
        assert shop.run().targets["shelf"].extra == []
        assert questions(shop) == [("number_twice", "one", "30")]
    del shop.there[-1]
    shop.run()
    assert questions(shop) == []


def test_what_adoption_alone_can_see_is_not_for_a_comparison_to_close(shop: Shop) -> None:
    """Whoever never activated the account is not compared, and two may be one student's by their INE."""
    never = account("30", stage=Stage.PRECREATED, activated_at=None)
    stored(shop.database, [never])
    shop.there += [its_object(never), TargetObject("twin", "30", {}, True)]
    of_both = [("ref-22600007", "22600007"), ("ref-30", "30")]
    for ref, number in of_both:
        raised(shop, QuestionRow("shelf", ref, number, QuestionKind.NUMBER_TWICE))
    for _night in range(2):
        shop.run()
        assert sorted(questions(shop)) == [("number_twice", ref, number) for ref, number in of_both]


def test_a_comparison_that_failed_says_so_and_of_the_rest_what_was_known(shop: Shop) -> None:
    shop.hand("22600007", fields={"name": ("by hand",)})
    shop.there.append(TargetObject("twin", "22600008", {"name": ("somebody",)}, True))
    shop.run()
    shop.rested()
    before, asked = shop.known(), questions(shop)
    shop.made["shelf"] = away
    shop.run()
    failed = shop.known()
    assert failed.trouble == "no answer"
    assert failed.tried_at > failed.ended_at, "which alerts go by: it was not compared since"
    kept = {"ended_at", "found", "left", "evidence", "several", "accounts", "objects"}
    assert failed.model_dump(include=kept) == before.model_dump(include=kept)
    assert +Counter(before.found) == {"different": 1, "extra": 2}
    shop.made["shelf"] = shop.telling
    del shop.there[-1]
    assert questions(shop) == asked
    shop.run()
    assert (shop.known().trouble, shop.known().failed_at, questions(shop)) == ("", None, [])


def test_of_very_many_nobody_is_asked_one_by_one(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sesame.operations.questions.reconcile.questions.ASKED_MAX", 3)
    shop.there += [TargetObject(f"stranger-{at}", "999", {}, True) for at in range(4)]
    assert len(shop.run().targets["shelf"].orphaned) == 4
    assert questions(shop) == []
