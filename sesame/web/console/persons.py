"""'Personnes': search; one student with diagnosis, targets, timeline and acts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Response

from pipeline.errors import SesameError
from schemas.account import Hold, Lane
from schemas.language import decimal, gettext, ngettext
from sesame.acts.acts import check, may
from sesame.operations.access import desk_letters, holds, lifecycle, unlocking
from sesame.operations.access.holds import HoldChangeRequest
from sesame.operations.access.lifecycle import ProlongRequest
from sesame.operations.access.provisioning import ProvisionRequest, provision
from sesame.operations.people.diagnosis import students
from sesame.operations.people.diagnosis.students import ListedState, ListedStudent, StudentsRequest
from sesame.operations.people.search import Search, search
from sesame.operations.people.student import StudentRequest, show
from sesame.operations.work.blast_radius import PreviewRequest, ReplayPreview, preview
from sesame.operations.work.replays import (
    NobodyToReplay,
    ReplayRequest,
    ReplaySelectionRequest,
    replay,
    select,
)
from sesame.web.console.console_request import ConsoleRequest, Visiting
from sesame.web.kit.web_request import PageError, Posted, utc_now

router = APIRouter()

CAUSE: Final = "cause:"
REASON_MAX: Final = 500
Number = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,32}$")]


@router.get("/personnes")
def find(visit: Visiting, q: str = "", apres: str = "", etat: ListedState | None = None) -> Response:
    """Search persons, or list those in a state or with a cause."""
    asked = q.strip()[:200]
    if asked.lower().startswith(CAUSE) or etat is not None:
        cause = asked[len(CAUSE) :].strip().lower() if etat is None else None
        wanted = StudentsRequest(state=etat, cause=cause, after=apres, limit=visit.rows_max)
        page = students.listed(visit.context.site, visit.actor, wanted)
        those = ordered_students(visit, page.students)
        return visit.page("persons_by_cause.html", cause=cause, state=etat, listed=those, next=page.next)
    found = search(visit.context.site, visit.actor, Search(text=asked)) if asked else None
    if found is not None and len(found.students) == 1:
        return visit.to(_of(found.students[0].student_number))
    listed = visit.ordered(
        found.students if found is not None else (),
        numero=lambda one: one.student_number,
        nom=lambda one: f"{one.usage_name or one.birth_name} {one.given_name}",
        naissance=lambda one: one.birth_date,
        login=lambda one: one.login,
        adresse=lambda one: one.mail,
        compte=lambda one: one.stage,
    )
    return visit.page("persons.html", found=found, listed=listed)


def ordered_students(visit: ConsoleRequest, listed: Sequence[ListedStudent]) -> list[ListedStudent]:
    """Students in the order of the requested column."""

    def of(target: str) -> Callable[[ListedStudent], Any]:
        return lambda one: one.targets[target]["state"]

    return visit.ordered(
        listed,
        numero=lambda one: one.student_number,
        login=lambda one: one.login,
        etat=lambda one: one.state,
        **{f"cible-{target}": of(target) for target in visit.context.site.settings.targets},
    )


@router.get("/personnes/{number}")
def show_person(visit: Visiting, number: Number, direct: bool = False) -> Response:  # noqa: FBT001, FBT002
    """One student; `direct`: query the servers, and compare."""
    asked = StudentRequest(student_number=number, live=direct)
    seen = show(visit.context.site, visit.actor, asked)
    compared: dict[str, ReplayPreview | str] = {}
    if direct and seen.status is not None and may(visit.actor, "replay.preview"):
        compared = {
            target: _compared(visit, target, number) for target in visit.context.site.settings.targets
        }
    return visit.page(
        "person.html",
        200 if seen.who is not None else 404,
        person=seen,
        direct=direct,
        compared=compared,
        holds=list(Hold),
    )


def _compared(visit: ConsoleRequest, target: str, number: str) -> ReplayPreview | str:
    """The changes of a write to this target, or a text: why they are unknown."""
    request = PreviewRequest(consumer=target, students=(number,), selected=1)
    try:
        return preview(visit.context.site, visit.actor, request)
    except SesameError as error:
        return str(error)


@router.get("/personnes/{number}/fusion")
def compare_two(visit: Visiting, number: Number, autre: str = "") -> Response:
    """Two numbers that may be one person's, side by side."""
    check(visit.actor, "identity.merge")
    asked = (number, autre.strip()[:32])
    one, other = (
        show(visit.context.site, visit.actor, StudentRequest(student_number=each)).who for each in asked
    )
    found = one is not None and other is not None and asked[0] != asked[1]
    shown = {"one": one, "other": other if found else None, "asked": asked[1] if one is not None else number}
    return visit.page("merge.html", 200 if found else 404, number=number, **shown)


@router.post("/personnes/{number}/ouvrir")
def provision_now(visit: Visiting, number: Number, fields: Posted) -> Response:
    """Provision the student now, at all targets or at one; show each step."""
    target = fields.get("cible", "")
    told: list[str] = []

    def say(where: str, what: str) -> None:
        told.append(f"{visit.context.pages.service(where)} : {what}")

    request = ProvisionRequest(student_number=number, targets=(target,) if target else ())
    ended = provision(visit.context.site, visit.actor, request, say)
    told += [f"{visit.context.pages.service(one.target)} : {one.text}" for one in ended.targets]
    told.append(gettext("{seconds} s in all", seconds=decimal(ended.seconds)))
    return visit.done(_of(number), *told)


@router.post("/personnes/{number}/relancer")
def replay_target(visit: Visiting, number: Number, fields: Posted) -> Response:
    """Replay the student at one target."""
    site, actor, consumer = visit.context.site, visit.actor, fields.get("cible", "")
    selected = select(site, actor, ReplaySelectionRequest(consumer=consumer, students=(number,)))
    if not selected.students:
        raise NobodyToReplay
    request = ReplayRequest(
        consumer=consumer,
        students=selected.students,
        lane=Lane.PERSONAL,
        reason=reason_of(fields),
        again=True,  # the page has shown what failed
    )
    asked = replay(site, actor, request, utc_now)
    name = visit.context.pages.service(consumer)
    what = gettext("{consumer}: asked for, replay {id}", consumer=name, id=asked.replay_id)
    return visit.done(_of(number), what)


@router.post("/personnes/{number}/lettre")
def print_letter(visit: Visiting, number: Number, fields: Posted) -> Response:
    """Make a letter with a code, and show it to print."""
    request = desk_letters.LetterRequest(student_number=number, reason=reason_of(fields))
    made = desk_letters.print_letter(visit.context.site, visit.actor, request)
    told = ngettext("announced at {n} address", "announced at {n} addresses", made.told)
    again = gettext("printed before: it is the same letter, and nothing was sent again")
    return visit.done(f"{_of(number)}/lettre", told if made.told else again)


@router.get("/personnes/{number}/lettre")
def show_letter(visit: Visiting, number: Number) -> Response:
    """The letter to print: the same one, however often the page is loaded."""
    letter = desk_letters.show_letter(visit.context.site, visit.actor, number)
    return visit.page("letter.html", letter=letter)


@router.post("/personnes/{number}/deverrouiller")
def unlock(visit: Visiting, number: Number, fields: Posted) -> Response:
    """Unlock what wrong passwords have locked."""
    request = unlocking.UnlockRequest(student_number=number, reason=reason_of(fields))
    done = unlocking.unlock(visit.context.site, visit.actor, request)
    return visit.done(_of(number), *unlocking.lines(done))


@router.post("/personnes/{number}/bloquer")
def place_hold(visit: Visiting, number: Number, fields: Posted) -> Response:
    """Shut access."""
    return _held(visit, number, fields, holds.place)


@router.post("/personnes/{number}/debloquer")
def lift_hold(visit: Visiting, number: Number, fields: Posted) -> Response:
    """Lift a hold: the reason to shut access is gone."""
    return _held(visit, number, fields, holds.lift)


def _held(
    visit: ConsoleRequest, number: str, fields: dict[str, str], change: Callable[..., holds.HoldReport]
) -> Response:
    kind = fields.get("motif", "")
    if kind not in list(Hold):
        raise PageError(422, "form")
    request = HoldChangeRequest(student_number=number, kind=Hold(kind), reason=reason_of(fields))
    report = change(visit.context.site, visit.actor, request)
    asked = gettext("asked for; each target follows within seconds")
    return visit.done(_of(number), asked if report.changed else gettext("it stands so already"))


@router.post("/personnes/{number}/prolonger")
def prolong(visit: Visiting, number: Number, fields: Posted) -> Response:
    """Let access last longer."""
    try:
        until = date.fromisoformat(fields.get("jusqu_au", ""))
    except ValueError as error:
        raise PageError(422, "form") from error
    request = ProlongRequest(student_number=number, reason=reason_of(fields), until=until)
    done = lifecycle.prolong(visit.context.site, visit.actor, request)
    return visit.done(_of(number), gettext("access until {day}", day=done.until.isoformat()))


def reason_of(fields: dict[str, str]) -> str:
    """The operator's reason, in their own words. Raises `PageError`: none was given."""
    reason = fields.get("raison", "").strip()[:REASON_MAX]
    if not reason:
        raise PageError(422, "reason")
    return reason


def typed_number(fields: dict[str, str]) -> int:
    """The number of persons typed to approve a loss; -1: it is no number."""
    typed = re.sub(r"\s", "", fields.get("nombre", ""))
    return int(typed) if re.fullmatch(r"[0-9]{1,9}", typed) else -1


def _of(number: str) -> str:
    return f"/console/personnes/{number}"
