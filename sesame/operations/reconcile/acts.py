"""Compare every target with the accounts, and have what differs written, as a replay in bulk."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from datetime import datetime

from pydantic import BaseModel

from pipeline.digest import digest_of
from pipeline.errors import DependencyDown, SesameError, fault
from pipeline.threshold import Threshold
from producers.replay.requests import replay
from schemas.account import Lane
from schemas.language import gettext
from sesame.operations import acts
from sesame.operations.acts import Actor, Report, act, utc
from sesame.operations.ports import Reconciling, Stored, check_target
from sesame.operations.reconcile import passes
from sesame.operations.reconcile.comparison import TargetComparison, TargetDrift
from sesame.operations.reconcile.passes import KINDS, Pass
from sesame.operations.restored.admission import admit

REASON = "reconcile"


class ReconcileStopped(SesameError):
    """The comparison was told to stop. Start it again: nothing was written by it."""


class ReconcileRequest(BaseModel):
    """What to compare.

    Attributes:
        targets: these; none: all that the settings name.
        sample: so many accounts, drawn by lot, instead of everybody.
        repair: have what is missing or different written.
        approve: the ID that a held repair gave.
    """

    targets: tuple[str, ...] = ()
    sample: int | None = None
    repair: bool = False
    approve: str = ""


class TargetReport(Report):
    """What was found at one target; see `TargetDrift`.

    Attributes:
        trouble: why it could not be compared; empty: it was.
        replay_id: of the repair; empty: there is none.
        approval: the ID of a repair that is held, since it would write to unusually many; empty: it is not.
    """

    accounts: int
    objects: int
    unmanaged: int
    unsettled: int
    missing: list[str]
    different: list[str]
    extra: list[str]
    orphaned: list[str]
    evidence: dict[str, tuple[str, ...]]
    trouble: str = ""
    replay_id: str = ""
    approval: str = ""

    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return {kind: len(getattr(self, kind)) for kind in KINDS}

    @property
    def differs(self) -> bool:
        """Whether anything is not as it is to be, or could not be looked at."""
        return any(self.counts().values()) or bool(self.trouble)


class Reconciliation(Report):
    """What a comparison of every target came to; `seconds`: how long it took."""

    seconds: float
    targets: dict[str, TargetReport]


@act("reconcile")
def reconcile(
    site: Reconciling,
    actor: Actor,
    request: ReconcileRequest,
    *,
    clock: Callable[[], datetime],
    say: Callable[[str], None] = lambda _what: None,
    progress: Callable[[], None] = lambda: None,
    threshold: Threshold | None = None,
) -> Reconciliation:
    """Compare targets with the accounts; write nothing, or have it written by their consumers.

    A target that cannot be compared says so, and the others are compared all the same.

    Args:
        clock: the time of a repair's events.
        say: told which target is compared now.
        progress: called again and again; it ends the act by raising ReconcileStopped.
        threshold: how much a repair may write without an approval.

    Raises:
        ReconcileStopped: see `progress`.
        UnknownTarget: the settings name no such target; nothing was compared.
        StoreRestored: nothing is repaired until somebody has checked.
        StoreUnavailable, LogUnavailable: reconcile again.
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
        drift, trouble = _compare(site, target, request.sample, progress)
        replay_id = approval = ""
        if request.repair:
            replay_id, approval = _repair(
                site, actor, target, drift, request.approve, clock, threshold or Threshold()
            )
        found[target] = TargetReport(**vars(drift), trouble=trouble, replay_id=replay_id, approval=approval)
        if request.sample is None:
            _keep(site, target, found[target], time.monotonic() - at)
    counts = {target: one.counts() for target, one in found.items()}
    acts.note(site.database, actor, "reconcile", targets=counts, sample=request.sample, repair=request.repair)
    return Reconciliation(seconds=round(time.monotonic() - begun, 1), targets=found)


@act("reconcile.latest")
def latest(site: Stored, _actor: Actor) -> list[Pass]:
    """What the last comparison of each target came to."""
    with site.database.read() as connection:
        return passes.latest(connection)


def _keep(site: Stored, target: str, found: TargetReport, seconds: float) -> None:
    with site.database.write() as connection:
        ended = Pass(
            target=target,
            ended_at=utc(site.database.now(connection)),
            seconds=round(seconds, 1),
            found=found.counts(),
            **found.model_dump(include=Pass.model_fields.keys() - {"target", "seconds", "found"}),
        )
        passes.keep(connection, site.database, ended)


def _compare(
    site: Reconciling, target: str, sample: int | None, progress: Callable[[], None]
) -> tuple[TargetDrift, str]:
    """What differs, or why that cannot be said."""
    try:
        with site.connector(target) as connector:
            return TargetComparison(connector, site.database, progress).run(sample), ""
    except (DependencyDown, ReconcileStopped):
        raise
    except SesameError as error:
        return TargetDrift(), str(error)
    except Exception as error:  # noqa: BLE001 (somebody else's code: the other targets are compared)
        return TargetDrift(), fault(error)


def _repair(
    site: Reconciling,
    actor: Actor,
    target: str,
    drift: TargetDrift,
    approve: str,
    clock: Callable[[], datetime],
    threshold: Threshold,
) -> tuple[str, str]:
    """Ask the target's consumer to compare these and write; the replay's id, or the ID to approve it."""
    students = sorted({*drift.missing, *drift.different})
    if not students:
        return "", ""
    approval = digest_of({"target": target, "students": students}).removeprefix("sha256:")[:12]
    over = threshold.passed(affected=len(students), losing=0, in_all=drift.accounts)
    if over and not hmac.compare_digest(approve.encode(), approval.encode()):
        return "", approval
    asked = replay(
        students,
        consumer=target,
        reason=REASON,
        actor=actor.name,
        lane=Lane.BULK,
        producer=site.producer,
        database=site.database,
        clock=clock,
    )
    return asked.replay_id, ""
