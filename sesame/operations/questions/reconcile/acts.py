"""Compare every target with the accounts; repair differences by a bulk replay."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from threading import Event
from typing import Annotated, Final

from pydantic import BaseModel, Field

from consumers.kit.connector import Anything, Changes, TargetObject
from consumers.kit.handler import SHARED
from pipeline import accounts, pauses, target_states
from pipeline.errors import DependencyDown, SesameError, fault
from pipeline.target import digest_of
from pipeline.threshold import Threshold
from producers.replay.requests import replay
from schemas.account import Lane
from schemas.language import gettext
from schemas.scalars import INTEGER_MAX
from sesame.acts import acts
from sesame.acts.acts import EVERYBODY, OPERATORS, Actor, ActPath, ActRequest, Report, act, may, utc
from sesame.acts.admission import StoreRestored, admit
from sesame.acts.ports import Reconciling, Stored, check_target
from sesame.operations.people.diagnosis.students import listed as list_students
from sesame.operations.questions.reconcile import passes, questions
from sesame.operations.questions.reconcile.comparison import PARTS, TargetComparison, TargetReport
from sesame.operations.questions.reconcile.passes import WENT_BACK, Pass

REASON = "reconcile"

LOOK_EVERY_S: Final = 20.0
"""Minimum interval between looks at a target's changes, over all processes."""

_REST: Final = 5.0
"""Rest after a full comparison, before one for a change, in times its length."""


_USUAL: Final = Threshold()
_FEW, _NEWEST = 10, 5
"""Sample checked at each look for a great loss, and the part provisioned last.

A restored target lacks the last ones, or has an older version.
"""

OLDER, LOST = "older", "lost"
"""Why a target has gone back: it shows an older state, or lacks unusually many."""

_LOOKED: Final = "-"
"""The mark of a target that reports no changes, once it was looked at."""


class ReconcileStopped(SesameError):
    """The comparison was told to stop. Start it again: nothing was written by it."""


def until(stopping: Event) -> Callable[[], None]:
    """Make a progress callback that raises `ReconcileStopped` once `stopping` is set."""

    def go_on() -> None:
        if stopping.is_set():
            raise ReconcileStopped

    return go_on


class ReconcileRequest(ActRequest):
    """What to compare.

    Attributes:
        targets: these; none: all that the settings name.
        sample: so many accounts, drawn by lot, instead of everybody.
        repair: have what is missing or different written.
        approve: the ID that a held repair gave.
    """

    targets: tuple[str, ...] = ()
    sample: Annotated[int, Field(ge=1, le=INTEGER_MAX)] | None = None
    repair: bool = False
    approve: str = ""


class WatchRequest(BaseModel):
    """Which target to watch for changes; `repair`: rewrite what they made different."""

    target: str
    repair: bool = False


class Reconciliation(Report):
    """What a comparison of every target came to; `seconds`: how long it took."""

    seconds: float
    targets: dict[str, TargetReport]


@act("reconcile", OPERATORS, path=ActPath("compare_targets", "POST", "/reconciliations"))
def reconcile(
    site: Reconciling,
    actor: Actor,
    request: ReconcileRequest,
    *,
    clock: Callable[[], datetime],
    say: Callable[[str], None] = lambda _what: None,
    progress: Callable[[], None] = lambda: None,
    threshold: Threshold = _USUAL,
    older: bool = False,
    in_depth: bool = False,
) -> Reconciliation:
    """Compare targets with the accounts; with `repair`, have differences written.

    Consumers write them. A target that cannot be compared is reported, and the others are compared all the
    same.

    Args:
        clock: the time of a repair's events.
        say: called with the target that is compared now.
        progress: called repeatedly; it ends the act by raising ReconcileStopped.
        threshold: how much a repair may write without an approval, and a target lose without an alert.
        older: whether the targets report that they show an older state than before.
        in_depth: check the next part of all students, where a list does not show a whole object.

    Raises:
        ReconcileStopped: see `progress`.
        UnknownTarget: the settings name no such target; nothing was compared.
        StoreRestored: nothing is repaired until an operator has checked.
        StoreUnavailable, LogUnavailable: repeat it.
    """
    for target in request.targets:
        check_target(site, target)
    if request.repair:
        admit(site, works=False)
    begun = time.monotonic()
    found = {}
    for target in request.targets or site.settings.targets:
        say(gettext("comparing {target}", target=target))
        at = time.monotonic()
        with site.database.read() as connection:
            before = passes.of_target(connection, target)
        part = (before.part + in_depth) % PARTS if before is not None else 0
        drift = _compare(site, target, request.sample, progress, before, part if in_depth else None)
        found[target] = drift
        if request.sample is None and not drift.trouble:
            _judge(site, target, before, drift, threshold, older=older)
        turn = _turns(site, actor, target, clock)
        _have_said(site, drift, turn)
        if request.repair:
            _repair(target, drift, request.approve, threshold, turn)
        if request.sample is None:
            _keep(site, target, drift, part, time.monotonic() - at)
    counts = {target: one.counts() for target, one in found.items()}
    acts.note(site.database, actor, "reconcile", targets=counts, sample=request.sample, repair=request.repair)
    return Reconciliation(seconds=round(time.monotonic() - begun, 1), targets=found)


@act("reconcile.latest", EVERYBODY, path=ActPath("list_reconciliations", "GET", "/reconciliations"))
def latest(site: Stored, actor: Actor) -> list[Pass]:
    """The last comparison of each target; details need the right to list students."""
    with site.database.read() as connection:
        found = passes.latest(connection)
    if may(actor, list_students):
        return found
    return [each.model_copy(update={"left": {}, "evidence": {}, "several": []}) for each in found]


@act("reconcile.watch", OPERATORS)
def watch(
    site: Reconciling,
    actor: Actor,
    request: WatchRequest,
    *,
    clock: Callable[[], datetime],
    progress: Callable[[], None] = lambda: None,
    threshold: Threshold = _USUAL,
) -> TargetReport | None:
    """Read a target's changes since the last look, and compare them with the accounts.

    Where something was removed, or may have been, everyone is compared, at most a sixth of the time. A
    target that went back in time, or lost unusually much, is reported at once, by a sample of students
    looked at each time. None: nothing differs that did not before, the target is paused, another process
    has looked, or no student has been imported yet, so that no number at the target would have an owner.

    Raises:
        TargetDown, Throttled, Misconfigured: the target cannot be read: retry.
        ReconcileStopped, StoreUnavailable, LogUnavailable: see `reconcile`.
    """
    target = request.target
    with site.database.write() as connection:
        if pauses.of(connection, target) is not None:  # changes there during a pause are intended
            passes.end_look(connection, target, "")
            return None
        mark = passes.begin_look(connection, site.database, target, every_s=LOOK_EVERY_S)
    if mark is None:
        return None
    with site.connector(target) as connector:
        told = connector.changes_since(mark) if "changes_since" in connector.verbs() else None
        with site.database.read() as connection:
            before, now = passes.of_target(connection, target), site.database.now(connection)
            if before is None and (told is None or not accounts.numbers_after(connection, after="", limit=1)):
                return None
        seems, certain = (
            (True, "") if before is None else _seems(site, connector, before, told, progress, threshold)
        )
        rested = before is None or now > before.tried_at.timestamp() + _REST * before.seconds
        if before is not None and mark and seems and certain:
            with site.database.write() as connection:  # comparing all the others may take minutes
                noted = passes.going_back(before, certain, utc(site.database.now(connection)))
                passes.keep(connection, site.database, noted)
        told = told or Changes(_LOOKED)
        if before is None or not mark or seems or (told.gone and rested):
            whole = ReconcileRequest(targets=(target,), repair=request.repair)
            done = reconcile(
                site,
                actor,
                whole,
                clock=clock,
                progress=progress,
                threshold=threshold,
                older=certain == OLDER,
            )
            found = done.targets[target]
            news, compared = found if found.differs else None, not found.trouble
        else:
            drift, looked = TargetComparison(connector, site.database, progress).look_at(
                told.objects, () if told.mark == _LOOKED else before.to_look_at_again()
            )
            news = _noticed(site, actor, request, before, drift, looked, clock, threshold)
            compared = not told.gone
    if compared:
        with site.database.write() as connection:
            passes.end_look(connection, target, told.mark)
    return news


def _seems(
    site: Reconciling,
    connector: Anything,
    before: Pass,
    told: Changes[TargetObject] | None,
    progress: Callable[[], None],
    threshold: Threshold,
) -> tuple[bool, str]:
    """Whether a target seems to lack unusually many, and why, before all are compared.

    It reports itself older, or most of a sample are gone, or the newest students are as they were before.
    A server's changes are not enough: any write to a restored one, even a probe's mark, makes it look
    newer than the mark that it reported.
    """
    if told is not None and told.went_back:
        return not before.found[WENT_BACK], OLDER
    if before.found[WENT_BACK]:
        return False, ""
    with site.database.read() as connection:
        few = target_states.drawn(connection, connector.name, newest=_NEWEST, by_lot=_FEW - _NEWEST)
        newest = accounts.newest(connection, few[:_NEWEST])
    drift, _ = TargetComparison(connector, site.database, progress).look_at((), few)
    known = {each for names in before.left.values() for each in names}
    gone = set(drift.missing) - known
    behind = {
        number
        for number, account in newest.items()
        if number not in known
        and set(connector.wanted(account).undigested).intersection(drift.evidence.get(number, ()))
    }
    back = behind | gone.intersection(newest)
    if len(back) > 1 and 2 * len(back) > len(newest) and not gone.intersection(few[_NEWEST:]):
        return True, OLDER
    of_others = (before.found["missing"] - len(before.left.get("missing", ()))) / max(before.accounts, 1)
    lost = len(gone) - math.ceil(of_others * len(few))
    most = len(few) > 1 and 2 * lost > len(few)
    return threshold.passed(affected=lost, losing=0, in_all=len(few)), LOST if most else ""


def _judge(
    site: Stored,
    target: str,
    before: Pass | None,
    drift: TargetReport,
    threshold: Threshold,
    *,
    older: bool,
) -> None:
    """Record whether a target went back: it lost what the last comparison found.

    A target that is paused, or was until now, is not judged: the changes there were intended.
    """
    with site.database.read() as connection:
        paused = pauses.of(connection, target) is not None or not passes.mark_of(connection, target)
    if before is None or paused:
        return
    still = bool(before.found[WENT_BACK])
    lost = len(drift.missing) + (len(drift.different) if still else -before.found["missing"])
    if older or threshold.passed(affected=lost, losing=0, in_all=drift.accounts):
        drift.went_back = [target]
        drift.evidence[target] = (OLDER,) if older else before.evidence.get(target, (LOST,))


def _noticed(
    site: Reconciling,
    actor: Actor,
    request: WatchRequest,
    before: Pass,
    drift: TargetReport,
    looked: set[str],
    clock: Callable[[], datetime],
    threshold: Threshold,
) -> TargetReport | None:
    """Record the result of a look at changes; return its new part, which is repaired."""
    found = drift.named()
    if not looked or (not any(found.values()) and not before.names() & looked):
        return None
    with site.database.write() as connection:
        at = utc(site.database.now(connection))
        passes.keep(connection, site.database, passes.amended(before, looked, found, drift.evidence, at))
        questions.ask(connection, site.database, request.target, found, drift.evidence)
    new = TargetReport(accounts=before.accounts, objects=before.objects)
    for kind, names in found.items():
        news = [name for name in names if name not in before.left.get(kind, ())]
        setattr(new, kind, news)
        new.evidence |= {name: drift.evidence[name] for name in news}
        new.unsaid |= drift.unsaid.intersection(news)
    if not new.evidence:
        return None
    turn = _turns(site, actor, request.target, clock)
    _have_said(site, new, turn)
    if request.repair:
        admit(site, works=False)
        _repair(request.target, new, "", threshold, turn)
    counts = {request.target: new.counts()}
    acts.note(site.database, actor, "reconcile.watch", targets=counts, repair=request.repair)
    return new


def _keep(site: Stored, target: str, found: TargetReport, part: int, seconds: float) -> None:
    """Record the differences found and raise questions.

    A target that could not be compared keeps its earlier differences.
    """
    with site.database.write() as connection:
        before = passes.of_target(connection, target)
        ended = Pass(
            target=target,
            ended_at=utc(site.database.now(connection)),
            seconds=round(seconds, 1),
            found=found.counts(),
            left={kind: names[: passes.KEPT_MAX] for kind, names in found.named().items()},
            several=sorted(found.several)[: passes.KEPT_MAX],
            part=part,
            **found.model_dump(include=Pass.model_fields.keys() & TargetReport.model_fields.keys()),
        )
        if found.trouble and before is not None:
            ended = before.failed(ended)
        passes.keep(connection, site.database, ended)
        if not found.trouble:
            differences = found.named()
            single = before.one_of_several() - found.several if before is not None else set()
            questions.ask(connection, site.database, target, differences, found.evidence)
            questions.close_others(connection, target, differences, found.evidence, single=single)


def _compare(
    site: Reconciling,
    target: str,
    sample: int | None,
    progress: Callable[[], None],
    before: Pass | None,
    part: int | None,
) -> TargetReport:
    """Compare one target: what differs, or why it could not be compared."""
    try:
        with site.connector(target) as connector:
            again = before.to_look_at_again() if before is not None else []
            comparison = TargetComparison(connector, site.database, progress)
            return comparison.run(sample, again=again, part=part)
    except (DependencyDown, ReconcileStopped):
        raise
    except SesameError as error:
        return TargetReport(trouble=str(error))
    except Exception as error:  # noqa: BLE001 (connector code: the other targets are compared)
        return TargetReport(trouble=fault(error))


_Replay = Callable[[Sequence[str]], str]
"""Requests a turn of these students in the bulk lane; returns the replay's id."""


def _repair(target: str, drift: TargetReport, approve: str, threshold: Threshold, turn: _Replay) -> None:
    """Request a replay of these from the target's consumer, unless it needs an approval."""
    changed_too = (each for each in drift.password_replaced if len(drift.evidence[each]) > 1)
    shared = {number for number in drift.different if drift.evidence[number] == (SHARED,)}
    students = sorted({*drift.missing, *drift.different, *changed_too} - drift.unsaid - shared)
    if not students:
        return
    approval = digest_of({"target": target, "students": students}).removeprefix("sha256:")[:12]
    over = threshold.passed(affected=len(students), losing=0, in_all=drift.accounts)
    if over and not hmac.compare_digest(approve.encode(), approval.encode()):
        drift.approval = approval
    else:
        drift.replay_id = turn(students)


def _have_said(site: Reconciling, drift: TargetReport, turn: _Replay) -> None:
    """Have the consumer look at students whose password was replaced at the target.

    It cannot write a password, but pages stop showing that all is done. Skipped for a restored store,
    which must be checked first.
    """
    if drift.unsaid:
        with suppress(StoreRestored):
            admit(site, works=False)
            turn(sorted(drift.unsaid))


def _turns(site: Reconciling, actor: Actor, target: str, clock: Callable[[], datetime]) -> _Replay:
    def turn(students: Sequence[str]) -> str:
        return replay(
            students,
            consumer=target,
            reason=REASON,
            actor=actor.name,
            lane=Lane.BULK,
            producer=site.producer,
            database=site.database,
            clock=clock,
        ).replay_id

    return turn
