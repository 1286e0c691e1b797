"""The Moodle target: accounts in, outcomes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from consumers.moodle.causes import CauseKind, MoodleCause, MoodleFault
from consumers.moodle.errors import BatchDeadline
from consumers.moodle.intent import NOTE_SHORTENED, is_shortened, owned_fields, pending_of, wanted_of
from consumers.moodle.port import AdoptedUser, MoodlePort, Result, SiteLock, WantedUser
from consumers.moodle.settings import MoodleSettings
from consumers.moodle.work import preview_of
from pipeline.target import Dead, Description, Done, HandlerOutcome, Preview, Retry, Task, Waiting
from schemas.account import Account

if TYPE_CHECKING:  # it loads the HTTP library, which settings and reasons do without
    from consumers.moodle.site import MoodleSite

AdoptedUsers = Callable[[Sequence[str]], Mapping[str, AdoptedUser]]
"""Says which user was adopted for each of these students, if one was."""


class MoodleHandler:
    """`pipeline.target.Handler` for Moodle."""

    name = "moodle"

    def __init__(
        self,
        port: MoodlePort,
        settings: MoodleSettings,
        *,
        adopted: AdoptedUsers = lambda _numbers: {},
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Call nothing yet.

        Args:
            port: the site.
            settings: limits, and which fields are owned.
            adopted: the users that existed before, and whose they are.
            clock: monotonic seconds.
        """
        self._port = port
        self._settings = settings
        self._adopted = adopted
        self._clock = clock
        self._owned = owned_fields(settings)
        self.batch_size = settings.user_batch
        # The last call may begin just before the deadline.
        self.call_s_max = settings.call_s_max + 2 * settings.connect_timeout_s + settings.write_timeout_s

    @property
    def port(self) -> MoodlePort:
        """The site's five verbs; read-back, preview, diagnosis and reconciliation use `read` and `dump`."""
        return self._port

    def deadline(self) -> BatchDeadline:
        """The moment until which a call of the port that begins now may take."""
        return BatchDeadline.after(self._settings.call_s_max, self._clock)

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """See `Handler.handle`."""
        deadline = self.deadline()
        closing = [task for task in tasks if not task.account.access_open]
        shut = self._close(closing, deadline)
        # One that was not answered may still land, and shut what a newer version opens meanwhile.
        unanswered = {task.account.student_number for task in closing if deadline.lost} - shut
        faults: dict[str, MoodleFault] = {}
        wanted: list[WantedUser] = []
        adopted = self._adopted([task.account.student_number for task in tasks])
        for task in tasks:
            intent = wanted_of(task.account, self._settings, compare=task.compare)
            if isinstance(intent, MoodleFault):
                faults[task.account.student_number] = intent
            else:
                wanted.append(replace(intent, adopted=adopted.get(intent.idnumber)))
        results = self._port.apply(wanted, deadline) if wanted else {}
        outcomes: dict[str, HandlerOutcome] = {}
        for task in tasks:
            number = task.account.student_number
            if number in faults:
                outcomes[number] = Dead(faults[number].cause.value, faults[number].message)
            elif number in unanswered:
                lost = MoodleCause.OUTCOME_UNKNOWN
                outcomes[number] = Retry(lost.value, lost.explanation, unknown=True)
            else:
                outcomes[number] = self._outcome(
                    task, results[number], lost=deadline.lost, shut_now=number in shut
                )
        return outcomes

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """What differs: a user's fields, by Moodle's names, and cohorts to join (`+`) and to leave (`-`)."""
        numbers = [account.student_number for account in accounts]
        deadline, adopted = self.deadline(), self._adopted(numbers)
        intents = {account.student_number: wanted_of(account, self._settings) for account in accounts}
        seen = self._port.read(numbers, deadline, adopted)
        wanted = [each for each in intents.values() if isinstance(each, WantedUser)]
        faults = self._port.foresee(wanted, seen, deadline)
        return {number: preview_of(intents[number], seen[number], faults.get(number)) for number in numbers}

    def probe(self) -> None:
        """See `Handler.probe`: the site's information and the service user, by the calls that students
        need."""
        self._port.probe(self.deadline())

    def describe(self) -> Description:
        """See `Handler.describe`."""
        users = tuple(f"user.{field}" for field in ("idnumber", *self._owned, "suspended"))
        return Description(
            name=self.name,
            system=f"Moodle {self._settings.address}",
            owns=(
                *users,
                "cohort (created by idnumber; its name is the site's afterwards)",
                "cohort members",
            ),
        )

    def close(self) -> None:
        """See `Handler.close`."""
        self._port.shut()

    def _close(self, tasks: Sequence[Task], deadline: BatchDeadline) -> frozenset[str]:
        numbers = [task.account.student_number for task in tasks]
        return self._port.close(numbers, deadline) if numbers else frozenset()

    def _outcome(self, task: Task, result: Result, *, lost: bool, shut_now: bool) -> HandlerOutcome:
        if result.faults:
            fault = result.faults[0]
            if fault.cause.kind is CauseKind.DEAD:
                return Dead(fault.cause.value, fault.message)
            if fault.cause.kind is CauseKind.RETRY:
                unread = fault.cause is MoodleCause.OUT_OF_TIME and lost
                return Retry(
                    fault.cause.value,
                    fault.message,
                    unknown=unread or fault.cause is MoodleCause.OUTCOME_UNKNOWN,
                )
            return Waiting(fault.cause.value, recheck_after_s=self._settings.operator_recheck_s)
        if pending := pending_of(task.account):
            reason, names = pending
            return Waiting(reason, pending=names)
        return Done(
            digest=result.seen.digest(self._owned),
            changed=result.changed or shut_now,
            note=NOTE_SHORTENED if is_shortened(task.account) else "",
        )


def moodle_site(
    settings: MoodleSettings,
    *,
    lock: SiteLock,
    is_managed: Callable[[str], bool],
    clock: Callable[[], float] = time.monotonic,
    token: Callable[[], str] | None = None,
) -> MoodleSite:
    """The port over web services; connects to nothing until it is used.

    Args:
        settings: of the site.
        lock: serialises the creation of cohorts over every process of the pipeline.
        is_managed: whether the settings' cohort templates can produce this idnumber.
        clock: monotonic seconds.
        token: as in `RestClient`.

    Raises:
        Misconfigured: the file of certificate authorities cannot be read.
    """
    from consumers.moodle.rest import RestClient
    from consumers.moodle.site import MoodleSite

    return MoodleSite(
        RestClient(settings, token=token), settings, lock=lock, is_managed=is_managed, clock=clock
    )
