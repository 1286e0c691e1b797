"""`sesame replay` and `sesame replays`: let a consumer compare students with its target again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pipeline.errors import SesameError
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import audited, operator_name, reason_option
from sesame.cli.options import dry_run_option, json_option, moment, yes_option
from sesame.cli.output import show_table, write_json

if TYPE_CHECKING:
    from pipeline.replays import Replay
    from producers.replay import Selected
    from sesame.app.wiring import Application
    from sesame.operations.blast_radius import Radius

_SHOWN_MAX = 50
_PER_S = 100
_REPLAYS_SHOWN = 20


class NobodyToReplay(SesameError):
    """Nobody is selected: nothing was published."""


class NoSuchReplay(SesameError):
    """No replay has this id. `sesame replays` shows the latest ones."""


@click.command()
@click.option("--consumer", help="The target's name, e.g. directory. Not with --resume.")
@click.option("--student", "students", multiple=True, help="This student number; may be given several times.")
@click.option("--cause", help="Everybody with an unresolved dead letter of this cause.")
@click.option("--since", help="Only of this time on, e.g. 2026-09-01T08:00 (of the machine's time zone).")
@click.option("--until", help="Only of before this time.")
@click.option("--all", "everybody", is_flag=True, help="Everybody who has activated.")
@click.option("--first", type=click.IntRange(min=1), help="Ask for so many now; --resume goes on.")
@click.option("--resume", metavar="REPLAY", help="Go on with a replay that was begun, from where it stopped.")
@click.option(
    "--per-second",
    "per_s",
    type=click.IntRange(1, 10_000),
    help=f"Pace; {_PER_S} if not given. --resume keeps the one it was begun with.",
)
@reason_option(default="operator")
@dry_run_option
@yes_option
@json_option
@pass_context
def replay(context: Context, /, *, resume: str | None, consumer: str | None, **given: Any) -> None:
    """Compare students with the CONSUMER's target and write what differs.

    A replay is harmless: where nothing differs nothing is written. --dry-run reads the target and says what
    would change for whom. --first 10 asks for ten; look at them, then --resume asks for the rest. Students
    and causes go in the personal lane; --all and a time in the bulk lane, behind everybody who is waiting.

    With --since or --until: --cause means its dead letters of that time; --all whoever was written to the
    target then (it was restored from a backup, say); neither, both.
    """
    if resume is not None and consumer is not None:
        raise click.UsageError("--resume goes on with a replay: it takes no --consumer")
    if resume is None and consumer is None:
        raise click.UsageError("Missing option '--consumer' (or '--resume')")
    app = context.looking
    if not given["dry_run"]:
        from sesame.operations.restored.admission import admit

        admit(app, works=False)
    if resume is not None:
        _resume(app, _known(app, resume), given)
        return
    if consumer not in app.settings.targets:
        raise click.UsageError(f"--consumer must be one of {', '.join(app.settings.targets)}")
    selected = _select(app, consumer, given)
    numbers = selected.students if given["first"] is None else selected.students[: given["first"]]
    if given["cause"] is not None and not selected.students:
        raise click.UsageError(_no_such_cause(app, consumer, given["cause"]))
    if given["dry_run"]:
        _show_radius(_radius(app, consumer, numbers), consumer, len(selected.students), given)
        return
    if not selected.students:
        raise NobodyToReplay
    if given["everybody"] and not given["yes"]:
        click.confirm(f"Compare {len(numbers)} students with {consumer}?", abort=True, err=True)
    from producers.replay import plan
    from schemas.account import Lane

    bulk = given["everybody"] or given["since"] is not None or given["until"] is not None
    planned = plan(
        selected.students,
        consumer=consumer,
        reason=given["reason"],
        actor=operator_name(),
        lane=Lane.BULK if bulk else Lane.PERSONAL,
        database=app.database,
        per_s=given["per_s"] or _PER_S,
    )
    _go_on(app, planned, given)


@click.command()
@json_option
@pass_context
def replays(context: Context, *, as_json: bool) -> None:
    """Show the latest replays, how far each has come, and how those who were asked for ended."""
    from pipeline import replays as store
    from producers.replay import progress_of

    app = context.looking
    with app.database.read() as connection:
        found = [one for one, _ in store.latest(connection, limit=_REPLAYS_SHOWN)]
    known = [(one, progress_of(app.database, one)) for one in found]
    if as_json:
        write_json(
            [
                {
                    "replay_id": one.id,
                    "consumer": one.consumer,
                    "begun_at": datetime.fromtimestamp(one.begun_at, UTC).isoformat(),
                    "actor": one.actor,
                    "students": now.students,
                    "asked": now.asked,
                    "done": now.done,
                    "failed": now.failed,
                    "under_way": now.under_way,
                }
                for one, now in known
            ]
        )
        return
    if not known:
        click.echo("No replay was begun yet.", err=True)
        return
    names = ("replay", "begun", "consumer", "actor", "students", "asked", "done", "failed")
    rows = [
        (
            one.id,
            datetime.fromtimestamp(one.begun_at, UTC).astimezone().strftime("%Y-%m-%d %H:%M"),
            one.consumer,
            one.actor,
            *map(str, (now.students, now.asked, now.done, now.failed)),
        )
        for one, now in known
    ]
    show_table(dict.fromkeys(names, "left"), rows)


# --- whom -----------------------------------------------------------------------------------------


def _no_such_cause(app: Application, consumer: str, cause: str) -> str:
    """Why a cause selects nobody, and what there is."""
    from pipeline import dead_letters
    from sesame.operations.diagnosis.reasons import explanations

    with app.database.read() as connection:
        counts = dead_letters.counts(connection)
    there = {c: count for (of, c), count in sorted(counts.items()) if of == consumer and c != cause}
    known = cause in explanations() or any(c == cause for _, c in counts)
    said = (
        f"{consumer} has no dead letter of a student with the cause {cause!r}"
        if known
        else f"there is no cause {cause!r}"
    )
    listed = ", ".join(f"{c} ({count})" for c, count in there.items())
    return f"{said}; " + (f"those of {consumer}: {listed}" if there else f"{consumer} has no dead letters")


def _select(app: Application, consumer: str, given: dict[str, Any]) -> Selected:
    from producers.replay import Selection, select_students

    since, until = moment("--since", given["since"]), moment("--until", given["until"])
    try:
        selection = Selection(given["students"], given["cause"], given["everybody"], since, until)
    except ValueError as error:
        raise click.UsageError(
            "give --student, --cause or --all, and one of them only, or --since or --until; "
            "a --student has no time"
        ) from error
    selected = select_students(app.database, consumer, selection)
    for number in selected.unknown:
        click.echo(f"{number}: no such account", err=True)
    for number in selected.not_activated:
        click.echo(f"{number}: not activated, no target is touched for this student", err=True)
    return selected


# --- what it would change -------------------------------------------------------------------------


def _radius(app: Application, consumer: str, students: tuple[str, ...]) -> Radius:
    from sesame.operations.blast_radius import blast_radius

    handler = app.handler(consumer)
    try:
        return blast_radius(
            students, handler=handler, database=app.database, follows=app.follows.get(consumer)
        )
    finally:
        handler.close()


def _show_radius(radius: Radius, consumer: str, selected: int, given: dict[str, Any]) -> None:
    count = len(radius.effects)
    if given["as_json"]:
        write_json(
            {
                "consumer": consumer,
                "published": False,
                "students": selected,
                "looked_at": count,
                "changed": radius.changed,
                "same": radius.same,
                "obsolete": radius.obsolete,
                "differs": radius.names(),
                "obstacles": radius.obstacles(),
                "effects": [effect.document() for effect in radius.effects],
            }
        )
        return
    part = "" if count == selected else f" (the first {count} of {selected})"
    click.echo(
        f"{count} students would be compared with {consumer}{part}: {radius.changed} would be written, "
        f"{radius.same} are as they should be, {sum(radius.obstacles().values())} meet an obstacle; "
        f"{radius.obsolete} dead letters are about a version that a newer one has replaced"
    )
    for title, counts in (("would be written", radius.names()), ("obstacle", radius.obstacles())):
        for name, number in counts.items():
            click.echo(f"  {title}: {name}: {number}")
    for effect in radius.effects[:_SHOWN_MAX]:
        said = ", ".join(effect.differs) or "nothing"
        notes = [*([f"but: {effect.obstacle}"] if effect.obstacle else []), *(["obsolete"] * effect.obsolete)]
        click.echo("; ".join((f"{effect.student_number}: {said}", *notes)))
    if count > _SHOWN_MAX:
        click.echo(f"… and {count - _SHOWN_MAX} more: --json has them all")


# --- asking ---------------------------------------------------------------------------------------


def _known(app: Application, replay_id: str) -> Replay:
    from pipeline import replays as store

    with app.database.read() as connection:
        found = store.by_id(connection, replay_id)
    if found is None:
        raise NoSuchReplay(f"no replay {replay_id!r}")
    return found


def _resume(app: Application, planned: Replay, given: dict[str, Any]) -> None:
    """Ask for the rest; if some of those before ended badly, only after a question."""
    from pipeline import replays as store
    from producers.replay import progress_of

    before = progress_of(app.database, planned)
    click.echo(
        f"{before.asked} of {before.students} were asked for: {before.done} done, "
        f"{before.failed} failed again, {before.under_way} under way",
        err=True,
    )
    if given["dry_run"]:
        with app.database.read() as connection:
            limit = given["first"] or planned.students
            numbers = tuple(store.open_students(connection, planned.id, limit=limit))
        _show_radius(
            _radius(app, planned.consumer, numbers), planned.consumer, before.students - before.asked, given
        )
        return
    if before.failed and not given["yes"]:
        click.confirm(f"{before.failed} failed again. Ask for the others all the same?", abort=True, err=True)
    audited(app.database, "replay.resume", replay_id=planned.id, consumer=planned.consumer)
    _go_on(app, replace(planned, per_s=given["per_s"] or planned.per_s), given)


def _go_on(app: Application, planned: Replay, given: dict[str, Any]) -> None:
    from producers.replay import go_on, progress_of
    from sesame.app.wiring import utc_now

    asked = go_on(
        planned,
        producer=app.producer,
        database=app.database,
        clock=utc_now,
        first=given["first"],
    )
    now = progress_of(app.database, planned)
    if given["as_json"]:
        write_json(
            {
                "consumer": planned.consumer,
                "students": now.students,
                "published": True,
                "asked_now": asked,
                "asked": now.asked,
                "replay_id": planned.id,
            }
        )
        return
    if now.asked == now.students == asked:
        click.echo(f"{asked} students are compared with {planned.consumer} (replay {planned.id})")
        return
    click.echo(f"{asked} students are compared with {planned.consumer}: {now.asked} of {now.students} so far")
    if now.asked < now.students:
        click.echo(f"look at them (sesame replays), then: sesame replay --resume {planned.id}")
