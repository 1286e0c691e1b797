"""Every object of a target against every account: planted differences are found, all of them and no other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import insert, select

from consumers.kit.connector import (
    Anything,
    Connector,
    ConnectorContext,
    Held,
    Secret,
    Seen,
    TargetObject,
    Wanted,
)
from consumers.kit.deadline import Deadline
from consumers.kit.settings import ClientSettings
from pipeline.accounts import accounts
from pipeline.audit.trail import audit
from pipeline.db.database import Database
from pipeline.errors import TargetDown
from pipeline.eventlog.port import NewRecord
from pipeline.target_states import target_states
from pipeline.threshold import Threshold
from schemas.account import Account, Hold, Membership, Person, Requirement, Stage
from schemas.catalogue import ACTIVATIONS
from schemas.envelope import from_record
from schemas.events import ReplayRequested
from sesame.acts.acts import UnknownTarget
from sesame.operations.questions.adoption import adoptions
from sesame.operations.questions.adoption.adoptions import AdoptionAnswer
from sesame.operations.questions.reconcile.acts import ReconcileRequest, Reconciliation, reconcile
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.population_kit import OPERATOR

NOW = datetime(2026, 11, 2, 3, tzinfo=UTC)
STUDENTS = 1_000
LENIENT = Threshold(share=1.0, people=10**6)


def no_secret(_name: str) -> Secret:
    raise AssertionError


class Shelf(Connector[ClientSettings]):
    """A target that is a list of objects."""

    section = ClientSettings
    title = {"fr": "Le rayon", "en": "The shelf"}  # noqa: RUF012

    def __init__(self, name: str, there: list[TargetObject], adopted: Mapping[str, str]) -> None:
        super().__init__(
            ConnectorContext(
                name,
                ClientSettings(),
                no_secret,
                read_only=True,
                adopted=lambda numbers: {n: adopted[n] for n in numbers if n in adopted},
            )
        )
        self.there = there
        self.adopted = adopted
        self.asked: list[str] = []
        self.listings = 0
        self.listed: Sequence[TargetObject] | None = None
        self.held: dict[str, Held] = {}

    def wanted(self, account: Account) -> Wanted:
        return Wanted({"name": (account.person.given_name,)})

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        self.asked += [each.student_number for each in accounts]
        return {each.student_number: self.held.get(each.student_number) or self.of(each) for each in accounts}

    def of(self, account: Account) -> list[TargetObject]:
        number, mine = account.student_number, self.adopted.get(account.student_number)
        return [each for each in self.there if each.student_number == number or each.ref == mine]

    def objects(self) -> Iterator[TargetObject]:
        self.listings += 1
        yield from self.there if self.listed is None else self.listed

    def probe(self) -> None:
        raise AssertionError("reconcile probes nothing")


class ByMail(Shelf):
    """One whose list says no more than who is there, by their addresses."""

    lists = ()
    known_by = "mail"

    def objects(self) -> Iterator[TargetObject]:
        yield from (replace(each, student_number="", fields={}, open=None) for each in self.there)


class Unlisted(Shelf):
    """One that cannot be listed."""

    objects = Connector.objects


class Site:
    """A site with one target, as far as `reconcile` looks at it."""

    store_file = None

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.notes_file = folder / "store.life"
        self.there: list[TargetObject] = []
        self.adopted: dict[str, str] = {}
        self.made: dict[str, Callable[[], Anything]] = {"shelf": self.shelf}
        self.on_the_log: list[NewRecord] = []
        self.producer = SimpleNamespace(append=self.on_the_log.extend)
        self.shelves: list[Shelf] = []
        self.listed: Sequence[TargetObject] | None = None
        self.held: dict[str, Held] = {}
        self.follows: dict[str, str] = {}

    @property
    def settings(self) -> Any:
        return SimpleNamespace(targets=tuple(self.made))

    def shelf(self, kind: type[Shelf] = Shelf) -> Shelf:
        made = kind("shelf", self.there, self.adopted)
        made.listed, made.held = self.listed, self.held
        self.shelves.append(made)
        return made

    @contextmanager
    def connector(self, target: str) -> Iterator[Anything]:
        yield self.made[target]()

    def run(self, *, threshold: Threshold = LENIENT, **given: Any) -> Reconciliation:
        return reconcile(
            cast("Any", self), OPERATOR, ReconcileRequest(**given), clock=lambda: NOW, threshold=threshold
        )

    def replays(self) -> list[ReplayRequested]:
        events = [from_record(each.key, each.headers, each.value).event for each in self.on_the_log]
        assert all(isinstance(each, ReplayRequested) for each in events)
        return cast("list[ReplayRequested]", events)


def account(number: str, **changes: Any) -> Account:
    person = Person(birth_name="Martin", given_name=f"Léa {number}")
    values = {"version": 3, "person": person, "activated_at": NOW, "opened_at": NOW}
    return account_of(number, f"login-{number}", **{**values, **changes})


def its_object(one: Account) -> TargetObject:
    number = one.student_number
    return TargetObject(f"ref-{number}", number, {"name": (f"Léa {number}",)}, one.access_open)


def stored(database: Database, known: Sequence[Account], **states: dict[str, Any]) -> None:
    """Keep these accounts, each provisioned at the shelf but those whose state is given."""
    rows: list[dict[str, Any]] = []
    settled: list[dict[str, Any]] = []
    for one in known:
        rows.append(
            {
                "student_number": one.student_number,
                "version": one.version,
                "stage": one.stage.value,
                "login": one.login,
                "activated_at": one.activated_at.timestamp() if one.activated_at else None,
                "changed_at": NOW.timestamp(),
                "document": one.model_dump_json(),
            }
        )
        values = {
            "target": "shelf",
            "student_number": one.student_number,
            "applied_version": one.version,
            "applied_at": float(one.student_number),
            "state": "provisioned",
            "state_version": one.version,
            "reason": None,
            **states.get(one.student_number, {}),
        }
        settled.append(values)
    with database.write() as connection:
        connection.execute(insert(accounts), rows)
        connection.execute(insert(target_states), settled)


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    return Site(database, tmp_path)


def filled(site: Site, **changed: dict[str, Any]) -> list[Account]:
    """A thousand students, each there as they are to be; `changed`: their states, by number."""
    known = [account(f"{22600000 + each}") for each in range(STUDENTS)]
    stored(site.database, known, **changed)
    site.there += map(its_object, known)
    return known


def test_all_that_was_planted_is_found_and_nothing_else(site: Site) -> None:
    busy: dict[str, dict[str, Any]] = {"22600900": {"state_version": 2}, "22600901": {"state": "failed"}}
    known = filled(site, **busy)
    site.there += [TargetObject(f"stranger-{each}", "", {"name": ("x",)}, True) for each in range(25)]
    missing = {each.student_number for each in known[10:60]}
    different = {each.student_number for each in known[100:150]}
    twice = {each.student_number for each in known[200:217]}
    by_hand = different | busy.keys()
    site.there[:] = [
        replace(each, fields={"name": ("changed by hand",)}) if each.student_number in by_hand else each
        for each in site.there
        if each.student_number not in missing
    ]
    site.there += [TargetObject(f"twin-{n}", n, {"name": (f"Léa {n}",)}, True) for n in sorted(twice)]
    orphans = [f"left-{each}" for each in range(20)]
    site.there += [TargetObject(each, f"999{each[5:]}", {}, True) for each in orphans]

    found = site.run().targets["shelf"]
    assert (set(found.missing), len(found.missing)) == (missing, 50)
    assert (set(found.different), len(found.different)) == (different, 50)
    assert sorted(found.extra) == sorted([f"twin-{n}" for n in twice] + [f"ref-{n}" for n in twice])
    assert sorted(found.orphaned) == sorted(orphans)
    assert (found.accounts, found.objects) == (STUDENTS, len(site.there))
    assert (found.unmanaged, found.unsettled) == (25, 2)
    assert found.evidence["22600100"] == ("name",)
    assert found.evidence["left-3"] == ("9993",)
    assert found.evidence["twin-22600200"] == ("22600200",)
    assert site.on_the_log == []


def test_where_all_is_as_it_is_to_be_nobody_is_looked_at_twice(site: Site) -> None:
    filled(site)
    found = site.run().targets["shelf"]
    assert not found.differs
    assert site.shelves[0].asked == []


def test_what_was_adopted_is_theirs_though_it_carries_no_number(site: Site) -> None:
    known = filled(site)
    number = known[0].student_number
    site.there[0] = replace(site.there[0], ref="cn=before", student_number="")
    assert site.run().targets["shelf"].missing == [number]
    site.adopted[number] = "cn=before"
    assert not site.run().targets["shelf"].differs
    site.there[0] = replace(site.there[0], fields={"name": ("x",)})
    assert site.run().targets["shelf"].different == [number]


def test_access_is_a_difference_and_an_absent_object_of_nobody_s_access_is_none(site: Site) -> None:
    shut = [account(f"2{each}", holds=frozenset({Hold.SUSPENDED})) for each in range(3)]
    never = account("30", stage=Stage.PRECREATED, activated_at=None)
    gone = account("31", stage=Stage.ERASED)
    stored(site.database, [*shut, never, gone])
    site.there += map(its_object, (shut[0], shut[1], never, gone))
    site.there[1] = replace(site.there[1], open=True)
    found = site.run().targets["shelf"]
    assert (found.missing, found.different, found.orphaned) == ([], ["21"], ["ref-31"])
    assert found.evidence["21"] == ("access",)


def test_who_is_known_to_wait_for_this_is_no_news_and_who_waits_for_another_thing_is(site: Site) -> None:
    waiting = {"state": "waiting", "reason": "shelf_full", "applied_version": 0}
    known = filled(site, **{"22600001": waiting, "22600002": waiting, "22600003": waiting})
    site.there[1:3] = []
    site.held["22600001"] = Held("shelf_full")
    site.there[1] = replace(site.there[1], fields={"name": ("x",)})
    found = site.run().targets["shelf"]
    assert found.missing == ["22600002"], known
    assert found.different == ["22600003"]
    assert found.unsettled == 1


def test_a_stranger_with_the_address_of_a_student_is_told_and_one_who_was_adopted_is_not(site: Site) -> None:
    known = filled(site)
    alias = account("21", aliases=("lea@univ-exemple.fr",))
    stored(site.database, [alias])
    site.there.append(its_object(alias))
    taken = known[7].mail
    strangers = {"thief": taken.upper(), "staff": "prof@univ-exemple.fr", "other": "lea@univ-exemple.fr"}
    site.there += [TargetObject(ref, names=(("mail", mail),)) for ref, mail in strangers.items()]
    own = site.there[9] = replace(site.there[9], student_number="", names=(("mail", known[9].mail),))
    site.adopted[known[9].student_number] = own.ref
    found = site.run().targets["shelf"]
    assert (sorted(found.extra), found.missing, found.different) == (["other", "thief"], [], [])
    assert found.evidence == {"thief": (known[7].student_number, "mail"), "other": ("21", "mail")}
    with site.database.read() as connection:
        assert adoptions.questions(connection, [AdoptionAnswer.OPEN]) == []


def test_what_is_out_of_place_is_told_once_all_the_rest_is_as_it_is_to_be(site: Site) -> None:
    filled(site)
    for at in (3, 4):
        site.there[at] = replace(site.there[at], out_of_place=True)
    site.there[4] = replace(site.there[4], fields={"name": ("by hand",)})
    found = site.run().targets["shelf"]
    assert (found.moved, found.different) == (["22600003"], ["22600004"])
    assert found.evidence == {"22600003": ("out_of_place",), "22600004": ("name",)}
    site.there[4] = replace(
        site.there[3], ref="ref-22600004", student_number="22600004", fields={"name": ("Léa 22600004",)}
    )
    assert site.run().targets["shelf"].moved == ["22600003", "22600004"]


class Cohorts(Shelf):
    """One whose cohorts a hand has renamed: it says what it is asked about."""

    def renamed(self, cohorts: Mapping[str, Collection[str]]) -> Mapping[str, tuple[str, ...]]:
        return {key: ("name", *sorted(names)) for key, names in cohorts.items()}


def test_who_shares_with_others_is_told_whatever_they_wait_for_and_nobody_is_repaired_for_it(
    site: Site,
) -> None:
    waits: dict[str, dict[str, Any]] = {"22600902": {"state": "waiting", "reason": "mailbox_full"}}
    filled(site, **waits)
    site.made = {"shelf": lambda: site.shelf(Unlisted)}
    changed = {"22600900", "22600901", "22600902"}
    site.there[:] = [
        replace(
            each,
            held=Held("shared_with_others"),
            fields={"name": ("by hand",)} if each.student_number == "22600901" else each.fields,
        )
        if each.student_number in changed
        else each
        for each in site.there
    ]
    found = site.run(repair=True).targets["shelf"]
    assert sorted(found.different) == sorted(changed)
    assert found.evidence == {
        "22600900": ("shared_with_others",),
        "22600901": ("name", "shared_with_others"),
        "22600902": ("shared_with_others",),
    }
    assert [each.student_number for each in site.replays()] == ["22600901"]


def test_cohorts_that_a_hand_has_renamed_are_told_and_nobody_is_repaired_for_it(site: Site) -> None:
    def member(number: str, key: str, name: str, *, met: bool = True) -> Account:
        of = Membership(key=key, name=name, requires=Requirement.PEDAGOGICAL, met=met)
        return account(number, cohorts=(of,))

    known = [member("21", "L1", "Licence 1"), member("22", "L1", "L1"), member("23", "L2", "L2", met=False)]
    stored(site.database, known)
    site.there += map(its_object, known)
    site.made["shelf"] = lambda: site.shelf(Cohorts)
    found = site.run(repair=True).targets["shelf"]
    assert (found.renamed, found.counted(), found.replay_id) == (["L1"], "1 renamed", "")
    assert found.evidence == {"L1": ("name", "L1", "Licence 1")}
    assert site.run(sample=3).targets["shelf"].renamed == []


class Precondition(Shelf):
    """One that gives all the rest to whoever waits for an enrolment."""

    def wanted(self, account: Account) -> Wanted:
        return replace(super().wanted(account), held=Held("enrolment_needed"))


def test_who_waits_for_an_enrolment_is_compared_in_all_the_rest(site: Site) -> None:
    waiting = {"state": "waiting", "reason": "enrolment_needed"}
    filled(site, **{f"2260000{each}": waiting for each in range(5)})
    site.made["shelf"] = lambda: site.shelf(Precondition)
    site.there[2] = replace(site.there[2], open=False)
    site.there[3] = replace(site.there[3], fields={"name": ("by hand",)})
    del site.there[1]
    found = site.run().targets["shelf"]
    assert (found.missing, found.different) == (["22600001"], ["22600002", "22600003"])
    assert found.evidence["22600002"] == ("access", "enrolment_needed")
    assert found.unsettled == 0


def test_a_list_that_lacks_whom_the_target_has_invents_nothing(site: Site) -> None:
    filled(site)
    site.listed = ()
    found = site.run().targets["shelf"]
    assert not found.differs
    assert len(site.shelves[0].asked) == STUDENTS


def test_a_target_that_cannot_be_listed_is_read_student_by_student(site: Site) -> None:
    known = filled(site)
    site.made["shelf"] = lambda: site.shelf(Unlisted)
    del site.there[7]
    found = site.run().targets["shelf"]
    assert (found.missing, found.objects, found.accounts) == ([known[7].student_number], 0, STUDENTS)


def test_where_a_list_has_addresses_alone_it_tells_who_is_missing(site: Site) -> None:
    known = filled(site)
    site.made["shelf"] = lambda: site.shelf(ByMail)
    site.there[:] = [
        replace(o, names=(("mail", a.mail.upper()),)) for o, a in zip(site.there, known, strict=True)
    ]
    site.there.append(TargetObject("staff", names=(("mail", "prof@univ-exemple.fr"),)))
    site.there[3] = replace(site.there[3], fields={"name": ("x",)})
    del site.there[7]
    found = site.run().targets["shelf"]
    assert (found.missing, found.different, found.orphaned) == ([known[7].student_number], [], [])
    assert (found.objects, found.unmanaged) == (STUDENTS, 1)
    assert site.shelves[0].asked == [known[7].student_number], "nobody else is read"


def test_a_sample_looks_at_so_many_and_finds_what_is_wrong_with_them(site: Site) -> None:
    filled(site)
    site.there.clear()
    found = site.run(sample=30).targets["shelf"]
    assert (len(set(found.missing)), found.accounts) == (30, 30)
    assert len(site.shelves[0].asked) == 30


def test_a_target_that_cannot_be_read_says_why_and_the_others_are_compared(site: Site) -> None:
    filled(site)

    def away() -> Anything:
        raise TargetDown("it is away")

    def odd() -> Anything:
        raise KeyError("Léa Martin, née le 4 mai")

    site.made = {"away": away, "odd": odd, "shelf": site.shelf}
    found = site.run()
    assert found.targets["away"].trouble == "it is away"
    assert found.targets["odd"].trouble.startswith("KeyError in test_reconcile.py")
    assert not found.targets["shelf"].differs
    assert list(site.run(targets=("shelf",)).targets) == ["shelf"]
    with pytest.raises(UnknownTarget):
        site.run(targets=("shell",))


def test_a_repair_asks_the_consumer_in_bulk_for_those_alone_and_is_in_the_audit(site: Site) -> None:
    known = filled(site)
    site.there[5:6] = []
    site.there[8] = replace(site.there[8], fields={"name": ("x",)})
    site.there.append(TargetObject("left", "999", {}, True))
    found = site.run(repair=True).targets["shelf"]
    asked = {each.student_number for each in site.replays()}
    assert asked == {known[5].student_number, known[9].student_number}
    assert {each.topic for each in site.on_the_log} == {f"{ACTIVATIONS}.bulk"}
    assert {each.replay_id for each in site.replays()} == {found.replay_id}
    with site.database.read() as connection:
        rows = connection.execute(select(audit.c.actor, audit.c.action)).all()
    assert [tuple(row) for row in rows] == [("camille", "replay"), ("camille", "reconcile")]


def test_a_repair_of_unusually_many_is_held_until_that_very_one_is_approved(site: Site) -> None:
    known = filled(site)
    del site.there[:100]
    held = site.run(repair=True, threshold=Threshold()).targets["shelf"]
    assert (held.replay_id, site.on_the_log) == ("", [])
    assert len(held.approval) == 12
    del site.there[:1]
    other = site.run(repair=True, approve=held.approval, threshold=Threshold()).targets["shelf"]
    assert other.approval not in ("", held.approval), "another repair than the one that was approved"
    assert site.on_the_log == []
    assert site.run(repair=True, approve=other.approval, threshold=Threshold()).targets["shelf"].replay_id
    assert {each.student_number for each in site.replays()} == {each.student_number for each in known[:101]}
