"""The live part of the account's page: server-sent events, from one look at the database for all who watch.

A thread looks once a second at the rows of all students whose page is open, and wakes those whose rows have
changed. Without JavaScript, or when there are too many pages, readers refresh theirs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select
from sse_starlette import EventSourceResponse, ServerSentEvent

from pipeline.errors import DependencyDown
from pipeline.store.database import Database
from pipeline.store.tables import accounts, consumer_status, parked, target_states
from sesame.web.account import account_page
from sesame.web.visit import PageError, Visit, Visiting

router = APIRouter()

LOOK_EVERY_S: Final = 1.0
SHOWN_AGAIN_S: Final = 15.0
"""How often a page is renewed although nothing has changed: the expected times have."""

STUDENTS_PER_QUERY: Final = 400
RECONNECT_MS: Final = 3_000


@dataclass(eq=False)
class Watching:
    """One open page."""

    student_number: str
    loop: asyncio.AbstractEventLoop
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    seen: object = None


class Watch:
    """Who watches, and the thread that looks for them."""

    def __init__(self, database: Database, *, most: int) -> None:
        self._database = database
        self._most = most
        self._turn = threading.Lock()
        self._watching: set[Watching] = set()

    @contextmanager
    def of(self, student_number: str) -> Any:
        """Watch a student while the `with` lasts.

        Raises:
            PageError: too many pages are open.
        """
        one = Watching(student_number, asyncio.get_running_loop())
        with self._turn:
            if len(self._watching) >= self._most:
                raise PageError(503, "busy")
            self._watching.add(one)
        try:
            yield one
        finally:
            with self._turn:
                self._watching.discard(one)

    def run(self, stopping: threading.Event, on_trouble: Callable[[str], None]) -> None:
        """Look until told to stop."""
        while not stopping.wait(LOOK_EVERY_S):
            try:
                self.look()
            except DependencyDown as error:
                on_trouble(str(error))
        self.wake_all()

    def look(self) -> None:
        """Look once, and wake those for whom something has changed."""
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
                one.loop.call_soon_threadsafe(one.changed.set)
            one.seen = mark

    def wake_all(self) -> None:
        """Wake everybody: the pages are going away."""
        with self._turn:
            watching = list(self._watching)
        for one in watching:
            one.loop.call_soon_threadsafe(one.changed.set)


def marks_of(database: Database, numbers: Sequence[str]) -> dict[str, object]:
    """What each of these students' pages is made of, to be compared only."""
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


@router.get("/compte/flux")
async def stream(request: Request, visit: Visiting) -> Response:
    """The account's live part, each time that it changes."""
    number = visit.shown
    watch: Watch = request.app.state.watch
    stopping: threading.Event = request.app.state.stopping
    with watch.of(number):
        pass  # too many are said now, with a status, and not in the stream

    async def events() -> AsyncIterator[ServerSentEvent]:
        with watch.of(number) as one:
            shown = ""
            while not stopping.is_set() and not await request.is_disconnected():
                one.changed.clear()
                html = await run_in_threadpool(_part, visit)
                if html is None:
                    yield ServerSentEvent(event="fin", data="")
                    return
                if html != shown:
                    yield ServerSentEvent(event="etat", data=html, retry=RECONNECT_MS)
                    shown = html
                try:
                    await asyncio.wait_for(one.changed.wait(), SHOWN_AGAIN_S)
                except TimeoutError:
                    continue

    return EventSourceResponse(events(), ping=20)


def _part(visit: Visit) -> str | None:
    """The live part; None when the session is over."""
    session = visit.again()
    if session is None:
        return None
    try:
        return visit.render("_services.html", **account_page(visit, session))
    except (PageError, DependencyDown):
        return ""
