"""*Complete means observed*, in the directory: it takes every write, and then shows something else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from consumers.directory.entry import OWNED, Profile
from consumers.directory.objects import GROUP_NOT_OURS, OPERATOR_RECHECK_S
from consumers.directory.port import (
    Applied,
    ApplyResult,
    DesiredEntry,
    EntryRefused,
    EntryUnsettled,
    Observed,
    ObservedEntry,
)
from consumers.directory.settings import DirectorySettings
from consumers.kit.deadline import OutOfTime
from consumers.kit.passwords import CREDENTIAL_NEEDED
from pipeline.errors import TargetDown
from pipeline.target import Dead, Done, Handler, HandlerOutcome, Retry, Task, Waiting
from schemas.account import (
    Account,
    Administrative,
    Enrolment,
    Hold,
    Membership,
    Pedagogical,
    Requirement,
)
from sesame.testing.servers.directory_kit import handler_over
from tests.unit.consumers.directory.directory_kit import InMemory, Secrets, account

PROFILE = Profile(
    DirectorySettings(uai="0751717J", organisation_dn="dc=univ-exemple,dc=fr", mail_quota="1G"),
    scope="univ-exemple.fr",
)
NUMBER = "22601234"
REF = "ref-a"
ENROLMENT = Enrolment(
    year=2026,
    step="L1INFO",
    step_version="261",
    step_label="Licence 1",
    component="SCI",
    administrative=Administrative.IN_FORCE,
    pedagogical=Pedagogical.VALIDATED,
)


def full(**fields: Any) -> Account:
    """An account that has a value for every attribute that the pipeline owns, but a hold."""
    state: dict[str, Any] = {
        "aliases": ("h.roux@univ-exemple.fr",),
        "entities": ("{UAI}0751717J", "{UAI}SCI"),
        "enrolments": (ENROLMENT,),
        "groups": (Membership(key="info", name="Info", requires=Requirement.ADMINISTRATIVE, met=True),),
        "valid_until": date(2027, 9, 30),
        "credential_ref": REF,
    }
    return account(NUMBER, **(state | fields))


class Lying(InMemory):
    """Takes what it is given, and shows it as somebody bends it.

    Attributes:
        results, closings: what it answers to a write that it has taken.
        goes: whether it is away once something was written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bend: Callable[[ObservedEntry], tuple[ObservedEntry, ...]] = lambda entry: (entry,)
        self.results: Mapping[str, ApplyResult] = {}
        self.closings: Mapping[str, ApplyResult] = {}
        self.members: tuple[str, ...] | None = None
        self.goes = self.away = False

    def apply(
        self, batch: Sequence[DesiredEntry], observed: Observed | None = None
    ) -> Mapping[str, ApplyResult]:
        taken = super().apply(batch)
        for number, entry in self.entries.items():
            self.entries[number] = replace(entry, groups=self.members)
        self.away = self.goes
        return {**taken, **self.results}

    def close(self, observed: Observed) -> Mapping[str, ApplyResult]:
        taken = super().close(observed)
        self.away = self.goes and any(not isinstance(each, Applied) for each in self.closings.values())
        return {**taken, **self.closings}

    def read(
        self,
        student_numbers: Sequence[str],
        adopted: Mapping[str, str] | None = None,
        renumbered: Mapping[str, str] | None = None,
    ) -> Observed:
        self.probe()
        found = super().read(student_numbers, adopted)
        return {
            number: tuple(bent for e in several for bent in self.bend(e)) for number, several in found.items()
        }

    def probe(self) -> None:
        if self.away:
            raise TargetDown("connection refused", unknown=False)


@pytest.fixture
def directory() -> Lying:
    return Lying()


def turn(directory: Lying, wanted: Account | None = None, secrets: Secrets | None = None) -> HandlerOutcome:
    vault = Secrets(**{REF: "$argon2id$a"}) if secrets is None else secrets
    wanted = full() if wanted is None else wanted
    handler = handler_over(directory, vault, profile=PROFILE)
    return handler.handle([Task(wanted)])[NUMBER]


def names(outcome: HandlerOutcome) -> str:
    """What is said to differ."""
    assert isinstance(outcome, Retry), outcome
    assert outcome.cause == "read_back_differs"
    assert not outcome.unknown
    return outcome.message.rpartition(": ")[2]


def without(name: str) -> Callable[[ObservedEntry], ObservedEntry]:
    return lambda e: replace(e, attributes={key: v for key, v in e.attributes.items() if key != name})


def with_values(
    name: str, change: Callable[[tuple[str, ...]], tuple[str, ...]]
) -> Callable[..., ObservedEntry]:
    return lambda e: replace(e, attributes={**e.attributes, name: change(tuple(e.attributes.get(name, ())))})


def test_what_is_shown_as_written_is_done(directory: Lying) -> None:
    outcome = turn(directory)
    assert isinstance(outcome, Done)
    assert outcome.changed


VALUED = sorted(set(OWNED) - {"sesameHold"})


@pytest.mark.parametrize("name", VALUED)
def test_a_value_that_is_not_there_is_no_success(directory: Lying, name: str) -> None:
    directory.bend = lambda entry: (without(name)(entry),)
    assert names(turn(directory)) == name


@pytest.mark.parametrize("name", [*VALUED, "sesameHold"])
def test_a_value_too_many_is_no_success(directory: Lying, name: str) -> None:
    directory.bend = lambda entry: (with_values(name, lambda values: (*values, "of before"))(entry),)
    assert names(turn(directory)) == name


@pytest.mark.parametrize("name", sorted(set(VALUED) - {"supannEtuAnneeInscription", "sesameMailQuota"}))
def test_another_case_is_another_value(directory: Lying, name: str) -> None:
    directory.bend = lambda entry: (
        with_values(name, lambda values: tuple(value.swapcase() for value in values))(entry),
    )
    assert names(turn(directory)) == name


@pytest.mark.parametrize(
    ("bend", "said"),
    [
        (lambda e: replace(e, version=e.version - 1), "sesameVersion"),
        (lambda e: replace(e, version=e.version + 1), "sesameVersion"),
        (lambda e: replace(e, locked=True), "access"),
        (lambda e: replace(e, logins=("another",)), "uid"),
        (lambda e: replace(e, classes=e.classes[1:]), "objectClass"),
        (lambda e: replace(e, classes=()), "objectClass"),
    ],
    ids=["an old version", "a newer version", "locked", "another login", "a class less", "no class"],
)
def test_an_entry_that_is_shown_otherwise_is_no_success(
    directory: Lying, bend: Callable[[ObservedEntry], ObservedEntry], said: str
) -> None:
    directory.bend = lambda entry: (bend(entry),)
    assert names(turn(directory)) == said


def test_a_hold_that_is_not_shown_is_no_success(directory: Lying) -> None:
    turn(directory)
    directory.bend = lambda entry: (without("sesameHold")(entry),)
    assert names(turn(directory, full(holds=frozenset({Hold.SUSPENDED})))) == "sesameHold"


def test_all_that_differs_is_named(directory: Lying) -> None:
    directory.bend = lambda entry: (replace(without("sn")(without("mail")(entry)), locked=True),)
    assert set(names(turn(directory)).split(", ")) == {"mail", "access", "sn"}


def test_values_and_classes_are_compared_as_the_server_has_them(directory: Lying) -> None:
    """Values have no order, and names of classes no case; the server may have more of these."""
    directory.bend = lambda entry: (
        replace(
            entry,
            attributes={name: values[::-1] for name, values in entry.attributes.items()},
            classes=("top", *(name.upper() for name in reversed(entry.classes))),
        ),
    )
    assert isinstance(turn(directory), Done)


def test_several_entries_are_no_success(directory: Lying) -> None:
    directory.bend = lambda entry: (entry,) * 2
    outcome = turn(directory)
    assert isinstance(outcome, Dead)
    assert outcome.cause == "student_number_ambiguous"


def test_an_answer_that_nothing_differed_is_believed_no_more_than_a_write(directory: Lying) -> None:
    directory.results = {NUMBER: Applied(changed=False)}
    directory.bend = lambda entry: (without("mail")(entry),)
    assert names(turn(directory)) == "mail"
    directory.bend = lambda entry: (entry,)
    assert isinstance(turn(directory), Done)


# --- the password -----------------------------------------------------------------------------------------


REFERENCES = pytest.mark.parametrize("shown", [None, "ref-of-before", REF.upper()])


@REFERENCES
def test_a_password_whose_reference_is_not_shown_is_tried_again_and_kept(
    directory: Lying, shown: str | None
) -> None:
    secrets = Secrets(**{REF: "$argon2id$a"})
    directory.bend = lambda entry: (replace(entry, credential_ref=shown),)
    assert names(turn(directory, secrets=secrets)) == "sesameCredentialRef"
    assert secrets.consumed == []


@REFERENCES
def test_a_password_that_the_vault_has_lost_waits_for_another_one(
    directory: Lying, shown: str | None
) -> None:
    directory.bend = lambda entry: (replace(entry, credential_ref=shown),)
    assert turn(directory, secrets=Secrets()) == Waiting(CREDENTIAL_NEEDED)


def test_what_differs_beside_the_password_is_tried_again(directory: Lying) -> None:
    directory.bend = lambda entry: (replace(without("mail")(entry), credential_ref=None),)
    assert names(turn(directory)) == "mail, sesameCredentialRef"


def test_a_hash_is_consumed_though_something_else_differs(directory: Lying) -> None:
    secrets = Secrets(**{REF: "$argon2id$a"})
    directory.bend = lambda entry: (without("mail")(entry),)
    turn(directory, secrets=secrets)
    assert secrets.consumed == [REF]


def test_a_reference_of_nobody_s_in_the_batch_is_not_consumed(directory: Lying) -> None:
    secrets = Secrets(**{REF: "$argon2id$a"})
    directory.bend = lambda entry: (replace(entry, credential_ref="ref-of-somebody-else"),)
    turn(directory, secrets=secrets)
    assert secrets.consumed == []


# --- static groups ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shown", [(), ("info", "l2info"), ("droit",)], ids=["one less", "one more", "another"]
)
def test_a_membership_that_is_not_as_wanted_is_no_success(directory: Lying, shown: tuple[str, ...]) -> None:
    directory.members = shown
    assert names(turn(directory)) == "groups"


@pytest.mark.parametrize("shown", [("info",), ("INFO",), None], ids=["same", "another case", "searches"])
def test_groups_are_compared_without_case_and_only_where_they_list_members(
    directory: Lying, shown: tuple[str, ...] | None
) -> None:
    directory.members = shown
    assert isinstance(turn(directory), Done)


def test_a_group_of_somebody_else_s_waits_for_an_operator(directory: Lying) -> None:
    directory.members, directory.foreign = (), {"info"}
    waiting = Waiting(GROUP_NOT_OURS, pending=("info",), recheck_after_s=OPERATOR_RECHECK_S)
    assert turn(directory) == waiting
    directory.calls.clear()
    assert turn(directory) == waiting
    assert not any(verb == "apply" for verb, _ in directory.calls), "nothing can be written about it"
    directory.members = ("info",)
    assert turn(directory, full(version=2)) == waiting


def test_a_group_that_is_ours_is_joined_though_another_one_is_somebody_else_s(directory: Lying) -> None:
    directory.members, directory.foreign = (), {"info"}
    more = Membership(key="l2info", name="L2", requires=Requirement.ADMINISTRATIVE, met=True)
    assert names(turn(directory, full(groups=(*full().groups, more)))) == "groups"


def test_a_search_that_somebody_removed_is_made_again(directory: Lying) -> None:
    turn(directory)
    directory.missing = {"info"}
    outcome = turn(directory)
    assert isinstance(outcome, Done)
    assert outcome.changed
    assert directory.missing == set()


def test_what_differs_beside_a_foreign_group_is_tried_again(directory: Lying) -> None:
    directory.foreign = {"info"}
    directory.bend = lambda entry: (without("mail")(entry),)
    assert names(turn(directory)) == "mail"


# --- closing ----------------------------------------------------------------------------------------------

SHUT = {"holds": frozenset({Hold.SUSPENDED})}


def test_a_closing_and_a_writing_are_one_change(directory: Lying) -> None:
    turn(directory)
    first, second = turn(directory, full(**SHUT)), turn(directory, full(**SHUT))
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    assert (first.changed, second.changed) == (True, False)


def test_a_closing_that_failed_with_an_answer_is_tried_again_before_anything_is_written(
    directory: Lying,
) -> None:
    turn(directory)
    directory.calls.clear()
    directory.closings = {NUMBER: EntryUnsettled("directory_busy", "busy")}
    assert turn(directory, full(**SHUT)) == Retry("directory_busy", "busy")
    assert not any(verb == "apply" for verb, _ in directory.calls)


def test_a_closing_does_not_hide_that_the_writing_was_refused(directory: Lying) -> None:
    turn(directory)
    directory.results = {NUMBER: EntryRefused("mail_taken", "held")}
    assert turn(directory, full(**SHUT)) == Dead("mail_taken", "held")


def test_foreign_groups_of_a_closed_account_are_still_said(directory: Lying) -> None:
    turn(directory)
    directory.foreign = {"info"}
    assert isinstance(turn(directory, full(**SHUT)), Waiting)


@pytest.mark.parametrize(
    ("closing", "applying", "unknown"),
    [
        (EntryUnsettled("x", "x", unknown=True), Applied(changed=True), True),
        (Applied(changed=True), EntryUnsettled("x", "x", unknown=True), True),
        (EntryUnsettled("x", "x"), EntryUnsettled("x", "x"), False),
        (Applied(changed=True), Applied(changed=True), False),
    ],
)
def test_a_directory_that_goes_away_before_the_read_back_leaves_open_what_had_no_answer(
    directory: Lying, closing: ApplyResult, applying: ApplyResult, *, unknown: bool
) -> None:
    turn(directory)
    directory.closings, directory.results, directory.goes = {NUMBER: closing}, {NUMBER: applying}, True
    with pytest.raises(TargetDown) as down:
        turn(directory, full(**SHUT))
    assert down.value.unknown is unknown


# --- the digest -------------------------------------------------------------------------------------------


def digest(shown: ObservedEntry) -> str:
    """Worked out here, from what was shown."""
    fields: dict[str, Any] = {name: sorted(shown.attributes.get(name, ())) for name in OWNED}
    fields |= {
        "uid": list(shown.logins),
        "supannEtuId": list(shown.student_numbers),
        "objectClass": ["inetOrgPerson", "eduPerson", "supannPerson", "sesameAccount"],
        "groups": sorted(shown.groups or ()),
        "sesameCredentialRef": [shown.credential_ref],
    }
    state = {"fields": fields, "open": not shown.locked}
    text = json.dumps(state, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_the_digest_is_of_what_was_shown(directory: Lying) -> None:
    directory.members = ("info",)
    outcome = turn(directory)
    assert isinstance(outcome, Done)
    assert outcome.digest == digest(directory.entries[NUMBER])


def test_the_version_and_the_server_s_bookkeeping_change_no_digest(directory: Lying) -> None:
    one = turn(directory, full(version=1))
    directory.bend = lambda entry: (replace(entry, revision="2", classes=("top", *entry.classes)),)
    two = turn(directory, full(version=2))
    assert isinstance(one, Done)
    assert isinstance(two, Done)
    assert one.digest == two.digest


# --- whom it asks for, and what it foresees ---------------------------------------------------------------


class Asked(Lying):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: list[DesiredEntry] = []
        self.adopted: list[Mapping[str, str] | None] = []
        self.seen: list[Mapping[str, tuple[ObservedEntry, ...]]] = []
        self.foreseen: dict[str, ApplyResult] = {}

    def apply(
        self, batch: Sequence[DesiredEntry], observed: Observed | None = None
    ) -> Mapping[str, ApplyResult]:
        self.wanted += batch
        return super().apply(batch)

    def read(
        self,
        student_numbers: Sequence[str],
        adopted: Mapping[str, str] | None = None,
        renumbered: Mapping[str, str] | None = None,
    ) -> Observed:
        self.adopted.append(adopted)
        return super().read(student_numbers, adopted)

    def foresee(self, batch: Sequence[DesiredEntry], observed: Observed) -> Mapping[str, ApplyResult]:
        self.wanted += batch
        self.seen.append(observed)
        return self.foreseen


DN = "uid=old,ou=people"


def adopting(directory: Asked, secrets: Secrets | None = None) -> Handler:
    vault = secrets or Secrets(**{REF: "$argon2id$a"})
    return handler_over(directory, vault, profile=PROFILE, adopted={NUMBER: DN})


@pytest.mark.parametrize("ref", [None, REF])
def test_the_entry_that_was_adopted_is_the_one_that_is_asked_for(ref: str | None) -> None:
    directory = Asked()
    wanted = [full(credential_ref=ref), account("2")]
    adopting(directory).handle([Task(each) for each in wanted])
    assert {each.student_number: each.adopted for each in directory.wanted} == {NUMBER: DN, "2": None}
    directory.wanted.clear()
    adopting(directory).preview([each.model_copy(update={"version": 2}) for each in wanted])
    assert {each.student_number: each.adopted for each in directory.wanted} == {NUMBER: DN, "2": None}
    assert directory.adopted[-1] == {NUMBER: DN}
    assert {number: len(entries) for number, entries in directory.seen[0].items()} == {NUMBER: 1, "2": 1}


def test_what_would_stand_in_the_way_is_said_before_what_differs() -> None:
    directory = Asked()
    handler = adopting(directory)
    handler.handle([Task(full())])

    def preview(wanted: Account) -> tuple[tuple[str, ...], str]:
        found = handler.preview([wanted])[NUMBER]
        return found.differs, found.obstacle

    assert preview(full()) == ((), "")
    assert preview(full(aliases=())) == (("supannAutreMail",), "")
    directory.foreseen = {NUMBER: EntryRefused("mail_taken", "held")}
    assert preview(full(aliases=())) == (("supannAutreMail",), "mail_taken")
    directory.foreseen = {NUMBER: Applied(changed=False, foreign=("info",))}
    assert preview(full(aliases=())) == (("supannAutreMail",), GROUP_NOT_OURS)
    assert preview(full(credential_ref="ref-gone")) == ((), CREDENTIAL_NEEDED)
    directory.foreign = {"info"}
    assert preview(full()) == ((), GROUP_NOT_OURS)
    directory.bend = lambda entry: (entry, entry)
    assert preview(full()) == ((), "student_number_ambiguous")
    directory.bend = lambda entry: (replace(entry, student_numbers=("22699999",)),)
    assert preview(full()) == ((), "identity_collision")


def test_a_seal_that_does_not_open_is_an_obstacle_of_that_student_alone() -> None:
    directory, secrets = Asked(), Secrets()
    secrets.broken = True
    found = adopting(directory, secrets).preview([full(), account("2")])
    assert {number: each.obstacle for number, each in found.items()} == {NUMBER: "seal_broken", "2": ""}


def test_nobody_is_closed_where_access_is_open(directory: Lying) -> None:
    turn(directory)
    assert not any(verb == "close" for verb, _ in directory.calls)


# --- time -------------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(Lying):
    """Each slice takes so many seconds."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self._clock, self._seconds = clock, seconds

    def apply(
        self, batch: Sequence[DesiredEntry], observed: Observed | None = None
    ) -> Mapping[str, ApplyResult]:
        self._clock.now += self._seconds
        return super().apply(batch)


@pytest.mark.parametrize(("seconds", "done"), [(5.0, 20), (4.9, 30), (9.9, 20), (10.0, 10), (15.0, 10)])
def test_writing_ends_in_time_and_nobody_is_left_without_an_outcome(seconds: float, done: int) -> None:
    clock = Clock()
    handler = handler_over(Slow(clock, seconds), profile=PROFILE, monotonic=clock, call_s_max=10.0)
    outcomes = handler.handle([Task(account(str(n))) for n in range(30)])
    late = [o for o in outcomes.values() if isinstance(o, Retry)]
    assert len(outcomes) == 30
    assert sum(isinstance(outcome, Done) for outcome in outcomes.values()) == done
    assert {(o.cause, o.unknown) for o in late} <= {("target_slow", False)}


class Slower(InMemory):
    """Uses up the time of a batch by its first answer."""

    def holders(self, logins: Sequence[str]) -> Mapping[str, ObservedEntry]:
        raise OutOfTime


def test_a_reading_that_uses_up_the_time_is_tried_again_and_no_outage() -> None:
    outcomes = handler_over(Slower(), profile=PROFILE).handle([Task(account(str(n))) for n in range(2)])
    assert {(o.cause, o.unknown) for o in outcomes.values() if isinstance(o, Retry)} == {
        ("target_slow", False)
    }
    assert len(outcomes) == 2


class Breaking(InMemory):
    """Answers nothing to the first slice, and is away at the second."""

    def apply(
        self, batch: Sequence[DesiredEntry], observed: Observed | None = None
    ) -> Mapping[str, ApplyResult]:
        if any(verb == "apply" for verb, _ in self.calls):
            raise TargetDown("connection refused", unknown=False)
        super().apply(batch)
        return {each.student_number: EntryUnsettled("outcome_unknown", "-", unknown=True) for each in batch}


def test_a_directory_that_goes_away_between_two_slices_leaves_open_what_had_no_answer() -> None:
    with pytest.raises(TargetDown) as down:
        handler_over(Breaking(), profile=PROFILE).handle([Task(account(str(n))) for n in range(11)])
    assert down.value.unknown
