"""Look at one student on the servers now: reads, and a service account's login.

Query every server at once, for no longer than a page or a phone call can wait. Those that did not answer are
listed as unseen, with the reason.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import Any

from consumers.directory import NAME as DIRECTORY
from consumers.kit.deadline import Deadline
from consumers.mailbox import NAME as MAILBOX
from consumers.mailbox.connector import MailboxConnector
from consumers.mailbox.mailbox import RedirectInvalid, script_of
from consumers.moodle import NAME as MOODLE
from pipeline.errors import SesameError, TargetDown, fault
from pipeline.target import Preview
from schemas.account import Account
from schemas.language import gettext
from sesame.acts.ports import Diagnosable
from sesame.operations.people.diagnosis.reasons import explain
from sesame.operations.people.diagnosis.situation import CAS, IN_THE_WAY, Live

LOOK_S_MAX = 8.0

LOOKS_MAX = 100
"""Concurrent looks at one server in this process, more than pages make at once.

Without this limit looks would pile up on a third-party connector that hangs.
"""

Look = Callable[[], Mapping[str, Any]]
"""Queries one server; returns what it found, by field of `Live`."""


class LiveChecks:
    """Looks at the servers that the settings name. `look_s_max`: limit for all of them together."""

    def __init__(self, site: Diagnosable, *, look_s_max: float = LOOK_S_MAX) -> None:
        self._site = site
        self._look_s_max = look_s_max

    def look(self, account: Account) -> Live:
        """Query every server about a student; failures become `unseen`, none is raised."""
        targets = self._site.settings.targets
        looks = {name: look for name, look in self._looks(account).items() if name == CAS or name in targets}
        others = {name: partial(self._object, name, account) for name in targets if name not in looks}
        said, unseen = at_once({**looks, **others}, self._look_s_max)
        found = {field: value for name in looks for field, value in said.get(name, {}).items()}
        return Live(
            objects={name: said[name] for name in others if name in said},
            redirect_script=_script(account),
            auth=self._site.settings.moodle.auth,
            unseen=unseen,
            **found,
        )

    def _looks(self, account: Account) -> dict[str, Look]:
        looks: dict[str, Look] = {
            DIRECTORY: lambda: self._directory(account),
            MAILBOX: lambda: self._mailbox(account),
            MOODLE: lambda: self._moodle(account),
        }
        if self._site.settings.cas.has_secret("probe_password"):
            looks[CAS] = self._login
        return looks

    def _directory(self, account: Account) -> Mapping[str, Any]:
        with self._site.directory() as directory:
            entries, policy = directory.look(account)
            return {"entries": entries, "policy": policy}

    def _mailbox(self, account: Account) -> Mapping[str, Any]:
        with self._site.connector(MAILBOX) as connector:
            assert isinstance(connector, MailboxConnector)  # noqa: S101  (for the type checker)
            return {MAILBOX: connector.look(account)}

    def _moodle(self, account: Account) -> Mapping[str, Any]:
        with self._site.connector(MOODLE) as moodle:
            seen = moodle.read([account], Deadline.after(self._look_s_max))[account.student_number]
            return {MOODLE: tuple(seen) if isinstance(seen, Sequence) else ()}

    def _object(self, target: str, account: Account) -> Preview:
        """Look at an installed connector's target through the preview of a turn.

        The consumer's own comparison says whose an object is and what differs. An error in it appears here,
        in its own thread. Raises `TargetDown` if the target says nothing of this student.
        """
        with self._site.connector(target) as connector:
            found = connector.handler().preview([account.at(target)])[account.student_number]
            seen = replace(found, differs=tuple(map(str, found.differs)), obstacle=str(found.obstacle))
        why = explain(seen.obstacle) if seen.obstacle and seen.obstacle not in IN_THE_WAY else None
        if why is not None and why.kind != "waiting":
            raise TargetDown(why.what, unknown=False)
        return seen

    def _login(self) -> Mapping[str, Any]:
        probe = self._site.cas_probe()
        return {} if probe is None else {"login": probe.run()}


def _script(account: Account) -> str | None:
    try:
        return script_of(account)
    except RedirectInvalid:
        return None


def at_once(looks: Mapping[str, Callable[[], Any]], seconds: float) -> tuple[dict[str, Any], dict[str, str]]:
    """Run all looks at once; return what each found, and why others were not seen. Abandon late ones."""
    answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def ask(name: str, look: Callable[[], Any]) -> None:
        try:
            answers.put((name, look()))
        except SesameError as error:
            answers.put((name, str(error)))
        except BaseException as error:  # noqa: BLE001 (even an exit: the others are shown all the same)
            answers.put((name, fault(error)))

    under_way = Counter(thread.name for thread in threading.enumerate())
    many = gettext("{looks} earlier looks have not come back", looks=LOOKS_MAX)
    unseen = {name: many for name in looks if under_way[f"look-{name}"] >= LOOKS_MAX}
    waiting, end = looks.keys() - unseen, time.monotonic() + seconds
    for name in waiting:
        here = copy_context()  # each thread keeps the caller's language
        work = (ask, name, looks[name])
        threading.Thread(target=here.run, args=work, name=f"look-{name}", daemon=True).start()
    found: dict[str, Any] = {}
    while waiting:
        try:
            name, said = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        waiting.discard(name)
        if isinstance(said, str):
            unseen[name] = said
        else:
            found[name] = said
    late = gettext("no answer within {seconds} s", seconds=f"{seconds:g}")
    return found, unseen | dict.fromkeys(sorted(waiting), late)
