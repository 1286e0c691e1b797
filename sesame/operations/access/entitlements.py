"""Entitlements: explain a student's; preview whom a change of the rows changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import date
from typing import Literal

from consumers.registry.lifecycle.entitlements import CRITERIA, Entitlement, TargetVerdict, in_grace
from consumers.registry.lifecycle.stages import OPEN, Lifecycle
from pipeline import accounts, target_states
from schemas.account import Account, Enrolment, Stage
from schemas.language import gettext
from sesame.acts.acts import DESK, OPERATORS, Actor, ActPath, Report, act, shown, shown_one, utc
from sesame.acts.ports import Configured
from sesame.operations.people.known_persons import NoSuchStudent

_PAGE = 500

Given = Literal["open", "later", "shut", "none"]
"""What a student has of a target: open; open on a later day; shut, after it was open; never given."""


class PassedRow(Report):
    """An earlier row of the target that is not for the student. `lacks`: the criteria that are not met."""

    row: int
    lacks: tuple[str, ...]


class TargetEntitlement(Report):
    """What the rows give a student of one target.

    Attributes:
        now: what the account has; None: it is not active.
        given: what the rows give today; another one than `now` is not applied yet, or held by the guard.
        row: the row that decides, counted from 1; None: no row is for the student, so it is for everybody.
        opens_on: the first day, if that is still to come.
        ends_on: the last day of one that is open; None: as long as the account.
    """

    target: str
    now: Given | None
    given: Given
    row: int | None
    opens_on: date | None
    ends_on: date | None
    passed: tuple[PassedRow, ...]


class EntitlementsReport(Report):
    """A student's targets, with the row that decides about each."""

    student_number: str
    stage: Stage
    targets: tuple[TargetEntitlement, ...]


class RowCount(Report):
    """The open accounts that a row decides about. `row` None: no row is for them."""

    target: str
    row: int | None
    students: int
    open: int
    later: int
    not_given: int
    changed: int


class PassedCount(Report):
    """Open accounts that a row is not for, by the criteria that they do not meet."""

    target: str
    row: int
    lacks: tuple[str, ...]
    students: int


class EntitlementChange(Report):
    """A student whom the rows would change at a target. `shut` waits for a release by the guard."""

    student_number: str
    target: str
    before: Given
    after: Given
    row: int | None
    opens_on: date | None


class EntitlementsPreview(Report):
    """What a merge of all open accounts by the present rows would change today, and why not others."""

    rows: list[RowCount]
    passed: list[PassedCount]
    changes: list[EntitlementChange]


@act(
    "entitlements.explain",
    DESK,
    path=ActPath("explain_entitlements", "GET", "/students/{student_number}/entitlements"),
    shows=lambda report, _number: shown_one(report.student_number),
)
def explain(site: Configured, _actor: Actor, student_number: str) -> EntitlementsReport:
    """Explain which targets a student has, from when to when, and by which row.

    Raises:
        NoSuchStudent: the number has no account.
    """
    lifecycle = Lifecycle(site.settings.registry, site.settings.lifecycle)
    with site.database.read() as connection:
        account = accounts.find(connection, student_number)
        today = utc(site.database.now(connection)).date()
        if account is None:
            raise NoSuchStudent(gettext("no account for student number {number!r}", number=student_number))
        had = target_states.all_states_of(connection, student_number, site.settings.targets)
    targets = _entitled(lifecycle, account, site.settings.targets, had, today)
    return EntitlementsReport(
        student_number=account.student_number,
        stage=account.stage,
        targets=tuple(_passed(lifecycle, account, each) for each in targets),
    )


@act(
    "entitlements.preview",
    OPERATORS,
    shows=lambda report: shown(change.student_number for change in report.changes),
)
def preview(site: Configured, _actor: Actor) -> EntitlementsPreview:
    """Preview whom the rows would change today, and why not others. Write nothing."""
    lifecycle = Lifecycle(site.settings.registry, site.settings.lifecycle)
    names = [name for name in site.settings.targets if name in lifecycle.given]
    counted: dict[tuple[str, int | None], Counter[str]] = {}
    passed: Counter[tuple[str, int, tuple[str, ...]]] = Counter()
    changes = []
    for account, had, today in _open_accounts(site, names):
        for found in _entitled(lifecycle, account, names, had, today):
            changed = found.now != found.given
            kind = "open" if found.given == "open" else "later" if found.opens_on else "not_given"
            counts = counted.setdefault((found.target, found.row), Counter())
            counts.update({"students": 1, kind: 1, "changed": int(changed)})
            others = _passed(lifecycle, account, found).passed
            passed.update((found.target, each.row, each.lacks) for each in others)
            if found.now is not None and changed:
                changes.append(
                    EntitlementChange(
                        student_number=account.student_number,
                        target=found.target,
                        before=found.now,
                        after=found.given,
                        row=found.row,
                        opens_on=found.opens_on,
                    )
                )
    fields = RowCount.model_fields.keys() - {"target", "row"}
    rows = [
        RowCount(target=name, row=row, **{field: counts[field] for field in fields})
        for (name, row), counts in counted.items()
    ]
    rows.sort(key=lambda each: (names.index(each.target), each.row is None, each.row))
    left = [
        PassedCount(target=name, row=row, lacks=lacks, students=students)
        for (name, row, lacks), students in sorted(passed.items())
    ]
    return EntitlementsPreview(rows=rows, passed=left, changes=changes)


def _entitled(
    lifecycle: Lifecycle, account: Account, names: Sequence[str], had: Collection[str], today: date
) -> Iterator[TargetEntitlement]:
    """What the rows give an account of these targets. `had`: those that had something of it."""
    is_open, rows = account.activated_at is not None and account.stage in OPEN, lifecycle.rules.entitlements
    stages, days = lifecycle.given_again(account, today) if is_open else ({}, {})
    for name in names:
        if account.stage is Stage.GRACE:
            by = next((at for at, row in enumerate(rows, 1) if row.target == name and row.names_grace), None)
            found = TargetVerdict(open=in_grace(rows, name) is not False, row=by)
        else:
            found = lifecycle.entitled(name, account.enrolments, today)
        stage, opens, now = (Stage.ACTIVE if found.open else Stage.PRECREATED), found.opens_on, None
        if is_open:
            stage, opens = stages.get(name, account.stage), days.get(name)
            now = _given(account.at(name).stage, account.opens_on.get(name), had=True)
        yield TargetEntitlement(
            target=name,
            now=now,
            given=_given(stage, opens, had=name in had),
            row=found.row,
            opens_on=opens,
            ends_on=found.ends_on if found.open else None,
            passed=(),
        )


def _passed(lifecycle: Lifecycle, account: Account, found: TargetEntitlement) -> TargetEntitlement:
    """The same, with the rows before the one that decides."""
    in_force = [enrolment for enrolment in account.enrolments if enrolment.in_force]
    earlier = [
        PassedRow(row=at, lacks=_lacks(row, account, in_force))
        for at, row in enumerate(lifecycle.rules.entitlements, 1)
        if row.target == found.target and (found.row is None or at < found.row)
    ]
    return found.model_copy(update={"passed": tuple(earlier)})


def _given(stage: Stage, opens: date | None, *, had: bool) -> Given:
    """The word for a stage at a target. One that never had anything of the student is not shut."""
    if stage in OPEN:
        return "open"
    if stage is not Stage.PRECREATED and had:
        return "shut"
    return "none" if opens is None else "later"


def _lacks(row: Entitlement, account: Account, in_force: Sequence[Enrolment]) -> tuple[str, ...]:
    """The criteria of a row that no enrolment in force meets, or else that not all meet."""
    if account.stage is Stage.GRACE or not row.names_enrolled:
        return ("affiliations",)
    unmet = [row.unmet(each) for each in in_force] or [{n for n in CRITERIA if getattr(row, n)}]
    return tuple(sorted(set.intersection(*unmet) or set.union(*unmet)))


def _open_accounts(site: Configured, names: Sequence[str]) -> Iterator[tuple[Account, Sequence[str], date]]:
    """The open accounts, each with the targets that had something of it, and the day."""
    for page in accounts.number_pages(site.database, *accounts.LIVE, size=_PAGE):
        with site.database.read() as connection:
            found = accounts.newest(connection, page)
            today = utc(site.database.now(connection)).date()
            states = {name: target_states.states_of(connection, name, page).keys() for name in names}
        for number in page:
            account = found.get(number)
            if account is not None and account.stage in OPEN:
                yield account, [name for name in names if number in states[name]], today
