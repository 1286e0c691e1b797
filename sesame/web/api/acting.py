"""The routes that change something, or look with a body. Each body is the act's own request."""

from __future__ import annotations

from http import HTTPStatus

from sesame.operations.access import holds, lifecycle
from sesame.operations.access.activation import Activated, Activation, activate
from sesame.operations.access.holds import HoldChange, HoldReport
from sesame.operations.access.lifecycle import Prolongation, Prolonged, Released
from sesame.operations.access.provisioning import Provision, Provisioned, provision
from sesame.operations.imports import past as past_imports
from sesame.operations.people.search import Found, Search, search
from sesame.operations.questions.reconcile.acts import ReconcileRequest, Reconciliation, reconcile
from sesame.operations.targets import acts as targets
from sesame.operations.targets.acts import TargetAct, TargetProbed
from sesame.operations.targets.stopped_consumers import LetGoOn, lift
from sesame.operations.work import blast_radius, replays
from sesame.operations.work.blast_radius import PreviewRequest, ReplayPreview
from sesame.operations.work.dead_letters import Dismissal, Dismissed, dismiss
from sesame.operations.work.replays import (
    ReplayAsked,
    ReplayFilter,
    ReplayRequest,
    ReplaySelection,
    Resumption,
)
from sesame.web.api.routes import Caller, ImportId, Name, route


@route("POST", "/students/search", search)
def search_students(call: Caller, request: Search) -> Found:
    """Find students by a number, a login, a mail address or names. Personal data."""
    return search(call.site, call.actor, request)


@route("POST", "/activations", activate)
def activate_students(call: Caller, request: Activation) -> Activated:
    """Activate students who do not do it themselves."""
    return activate(call.site, call.actor, request, clock=call.clock, progress=lambda _count: None)


@route("POST", "/provisions", provision)
def provision_student(call: Caller, request: Provision) -> Provisioned:
    """Bring one student to the newest version at the targets now, and say how it ended at each."""
    return provision(call.site, call.actor, request, lambda _target, _step: None)


@route("POST", "/holds/place", holds.place)
def place_hold(call: Caller, request: HoldChange) -> HoldReport:
    """Shut a student's access to everything. Nothing is deleted."""
    return holds.place(call.site, call.actor, request)


@route("POST", "/holds/lift", holds.lift)
def lift_hold(call: Caller, request: HoldChange) -> HoldReport:
    """Say that a reason to shut a student's access is gone. Other holds stay."""
    return holds.lift(call.site, call.actor, request)


@route("POST", "/prolongations", lifecycle.prolong)
def prolong_access(call: Caller, request: Prolongation) -> Prolonged:
    """Let a student without an enrolment keep access until a later day."""
    return lifecycle.prolong(call.site, call.actor, request)


@route("POST", "/plans/{plan_id}/release", lifecycle.release)
def release_plan(call: Caller, plan_id: Name) -> Released:
    """Let exactly this plan of the guard be carried out; where two have to, the first one approves."""
    return lifecycle.release(call.site, call.actor, plan_id)


@route("POST", "/imports/{import_id}/approve", past_imports.approve, status=HTTPStatus.NO_CONTENT)
def approve_import(call: Caller, import_id: ImportId) -> None:
    """Let what the guard holds of an import be published, once the same is sent again: for a program that
    cannot add `approve`. It is good for that content and those changes alone, once, and for as long as the
    guard looks back."""
    past_imports.approve(call.site, call.actor, import_id)


@route("POST", "/dead-letters/dismiss", dismiss)
def dismiss_dead_letters(call: Caller, request: Dismissal) -> Dismissed:
    """Say that nothing is to be done about dead letters: they are listed no more."""
    return dismiss(call.site, call.actor, request)


@route("POST", "/replays/select", replays.select)
def select_students(call: Caller, request: ReplayFilter) -> ReplaySelection:
    """Find the students of a replay: named ones, those of a cause or of a time, or everybody."""
    return replays.select(call.site, call.actor, request)


@route("POST", "/replays/preview", blast_radius.preview)
def preview_replay(call: Caller, request: PreviewRequest) -> ReplayPreview:
    """Compare students with a target, and say what a replay would write. Nothing is written."""
    return blast_radius.preview(call.site, call.actor, request)


@route("POST", "/replays", replays.replay, status=HTTPStatus.ACCEPTED)
def begin_replay(call: Caller, request: ReplayRequest) -> ReplayAsked:
    """Ask a consumer to compare students with its target and write what differs."""
    return replays.replay(call.site, call.actor, request, call.clock)


@route("POST", "/replays/{replay_id}/stop", replays.stop, status=HTTPStatus.NO_CONTENT)
def stop_replay(call: Caller, replay_id: Name) -> None:
    """Ask nobody more for a replay; who was asked is carried out. It goes on by `/replays/resume`."""
    replays.stop(call.site, call.actor, replay_id)


@route("POST", "/replays/resume", replays.resume, status=HTTPStatus.ACCEPTED)
def resume_replay(call: Caller, request: Resumption) -> ReplayAsked:
    """Ask for the rest of a replay."""
    return replays.resume(call.site, call.actor, request, call.clock)


@route("POST", "/quarantine/lift", lift, status=HTTPStatus.NO_CONTENT)
def lift_quarantine(call: Caller, request: LetGoOn) -> None:
    """Let a consumer that is in quarantine go on."""
    lift(call.site, call.actor, request)


@route("POST", "/targets/pause", targets.pause, status=HTTPStatus.NO_CONTENT)
def pause_target(call: Caller, request: TargetAct) -> None:
    """Send no work to a target any more; what comes meanwhile waits in the log."""
    targets.pause(call.site, call.actor, request)


@route("POST", "/targets/resume", targets.resume, status=HTTPStatus.NO_CONTENT)
def resume_target(call: Caller, request: TargetAct) -> None:
    """Let the consumer of a target that was paused go on."""
    targets.resume(call.site, call.actor, request)


@route("POST", "/targets/{target}/probe", targets.probe)
def probe_target(call: Caller, target: Name) -> TargetProbed:
    """Exercise the whole path to a target from here, on no student's object."""
    return targets.probe(call.site, call.actor, target)


@route("POST", "/reconciliations", reconcile)
def compare_targets(call: Caller, request: ReconcileRequest) -> Reconciliation:
    """Compare targets with the accounts, and have what differs written if asked. May take minutes."""
    return reconcile(call.site, call.actor, request, clock=call.clock)
