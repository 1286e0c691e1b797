"""The live part of the account's page: server-sent events from one shared poll.

A thread looks several times a second at the rows of all students whose page is open, and wakes those whose
rows have changed. Without JavaScript, or when there are too many pages, readers refresh theirs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response
from sqlalchemy import Select, Table, func, select
from sse_starlette import ServerSentEvent

from pipeline.accounts import accounts
from pipeline.db.database import Database
from pipeline.errors import DependencyDown
from pipeline.parking.rows import parked
from pipeline.status import consumer_status
from pipeline.target_states import target_states
from sesame.login.cas_sessions import cas_sessions
from sesame.web.kit.addresses import counted_as
from sesame.web.kit.streams import EventStream, live_part
from sesame.web.kit.web_request import PageError
from sesame.web.students.account import account_page
from sesame.web.students.portal_request import PortalRequest, visit_of
from sesame.web.students.web_sessions import web_sessions

router = APIRouter()

LOOK_EVERY_S: Final = 0.2
LOOK_SHARE_MAX: Final = 0.2
"""The share of its time for which the thread may read: many open pages are looked at less often."""
REST_WHILE_DOWN_S: Final = 1.0
LIVE_MAX: Final = 1000
"""Pages that are kept live at once, each with a connection; further ones are refreshed by hand."""
LIVE_ADDRESS_MAX: Final = 50
"""Live pages of one address (IPv6: of one /64), so that none takes them all."""
STALLED_S_MAX: Final = 60.0
"""How long a browser may take nothing before the connection is closed; a telephone reconnects."""
SHOWN_AGAIN_S: Final = 15.0
"""How often a page is renewed although nothing but the expected times has changed."""

STUDENTS_PER_QUERY: Final = 400
OF_A_STUDENT_MAX: Final = 4
"""Live pages of one student: a telephone, a laptop, a forgotten tab. A further one ends the oldest."""

THREADS: Final = 2
"""Live parts made at once, and pages let in at once: other pages' threads are theirs alone."""


@dataclass(eq=False)
class Watching:
    """One open page. `over`: a newer page of the same student has replaced it."""

    student_number: str
    address: str
    loop: asyncio.AbstractEventLoop
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    seen: object = None
    over: bool = False

    def wake(self) -> None:
        """Let it look again; from any thread."""
        with suppress(RuntimeError):  # its loop has ended: so has the page
            self.loop.call_soon_threadsafe(self.changed.set)


class Watch:
    """Open pages, and the thread that polls for them. `most`: pages at once, of all."""

    def __init__(self, database: Database, *, most: int) -> None:
        self._database = database
        self._most = most
        self._turn = threading.Lock()
        self._watching: dict[Watching, None] = {}  # in the order in which they came

    def enter(self, student_number: str, address: str, *, of_address: int) -> Watching:
        """A place for a page, until `leave`. `of_address`: places that one address may have.

        Raises `PageError`: there are too many pages, of all or of this address.
        """
        one = Watching(student_number, address, asyncio.get_running_loop())
        with self._turn:
            mine = [each for each in self._watching if each.student_number == student_number]
            oldest = mine[0] if len(mine) >= OF_A_STUDENT_MAX else None
            if oldest is not None:
                oldest.over = True
                del self._watching[oldest]
            beside = sum(each.address == address for each in self._watching)
            if len(self._watching) >= self._most or beside >= of_address:
                raise PageError(503, "busy")
            self._watching[one] = None
        if oldest is not None:
            oldest.wake()
        return one

    @property
    def taken(self) -> int:
        """Number of pages with a place."""
        with self._turn:
            return len(self._watching)

    def leave(self, one: Watching) -> None:
        """Give the place back; repeating it is harmless."""
        with self._turn:
            self._watching.pop(one, None)

    def run(self, stopping: threading.Event, on_trouble: Callable[[str], None]) -> None:
        """Poll until `stopping` is set."""
        rest_s = LOOK_EVERY_S
        while not stopping.wait(rest_s):
            started = time.monotonic()
            try:
                self.look()
                rest_s = max(LOOK_EVERY_S, (time.monotonic() - started) * (1 / LOOK_SHARE_MAX - 1))
            except DependencyDown as error:
                on_trouble(str(error))
                rest_s = REST_WHILE_DOWN_S
        self.wake_all()

    def look(self) -> None:
        """Poll once, and wake the pages whose rows have changed."""
        with self._turn:
            watching = list(self._watching)
        if not watching:
            return
        numbers = sorted({one.student_number for one in watching})
        marks: dict[str, object] = {}
        for start in range(0, len(numbers), STUDENTS_PER_QUERY):
            marks |= marks_of(self._database, numbers[start : start + STUDENTS_PER_QUERY])
        for one in watching:
            mark = marks.get(one.student_number)
            if one.seen != mark:  # at the first look too: the page may be older than it
                one.wake()
            one.seen = mark

    def wake_all(self) -> None:
        """Wake all pages, which are going away."""
        with self._turn:
            watching = list(self._watching)
        for one in watching:
            one.wake()


def marks_of(database: Database, numbers: Sequence[str]) -> dict[str, object]:
    """The state of each student's page, only for comparison."""
    found: dict[str, list[object]] = {number: [] for number in numbers}
    t = target_states.c
    queries = (
        select(accounts.c.student_number, accounts.c.version).where(accounts.c.student_number.in_(numbers)),
        select(t.student_number, t.target, t.applied_version, t.state, t.state_version, t.reason, t.since)
        .where(t.student_number.in_(numbers))
        .order_by(t.target),
        select(parked.c.student_number, parked.c.consumer, parked.c.kind, parked.c.attempts)
        .where(parked.c.student_number.in_(numbers))
        .order_by(parked.c.consumer),
        *(_ended(each, numbers) for each in (web_sessions, cas_sessions)),
    )
    with database.read() as connection:
        everybody = connection.execute(
            select(consumer_status.c.consumer, consumer_status.c.process, consumer_status.c.state).order_by(
                consumer_status.c.consumer, consumer_status.c.process
            )
        ).all()
        for query in queries:
            for row in connection.execute(query):
                found[row.student_number].append(tuple(row))
    shared = tuple(map(tuple, everybody))
    return {number: (shared, tuple(rows)) for number, rows in found.items()}


def _ended(sessions: Table, numbers: Sequence[str]) -> Select[Any]:
    """When a session of these students last ended: its page ends at the next poll."""
    s = sessions.c
    ended = s.student_number.in_(numbers), s.ended_at.is_not(None)
    return select(s.student_number, func.max(s.ended_at)).where(*ended).group_by(s.student_number)


@router.get("/compte/flux")
async def stream(request: Request) -> Response:
    """The account's live part, whenever it changes."""
    visit = await to_thread.run_sync(visit_of, request, limiter=request.app.state.entering)
    watch: Watch = request.app.state.watch
    of_address = LIVE_ADDRESS_MAX * visit.context.share(visit.address)
    one = watch.enter(visit.shown, counted_as(visit.address), of_address=of_address)
    return EventStream(_events(request, visit, one), lambda: watch.leave(one))


def _events(request: Request, visit: PortalRequest, one: Watching) -> AsyncIterator[ServerSentEvent]:
    rendering: CapacityLimiter = request.app.state.rendering

    async def part(shown: str) -> str | None:
        one.changed.clear()
        return None if one.over else await to_thread.run_sync(_part, visit, shown, limiter=rendering)

    async def rest() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(one.changed.wait(), SHOWN_AGAIN_S)

    stopping: threading.Event = request.app.state.stopping
    return live_part(request, stopping.is_set, part, rest)


def _part(visit: PortalRequest, shown: str) -> str | None:
    """The live part; `shown` while it cannot be made; None when the session is over."""
    try:
        number = visit.again()
        if number is None:
            return None
        return visit.render("_services.html", **account_page(visit, number))
    except (PageError, DependencyDown):
        return shown
