"""Faults of erasures and returns to plant in the shipped code, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final
from unittest.mock import patch

from consumers.kit.handler import _BatchCall
from consumers.registry.erasure.privacy_key import PrivacyKey
from consumers.registry.registrar import RegistrarFacts
from pipeline.db.persons import of_nobody
from pipeline.target import Done, Task, digest_of
from producers.registrar.feed_memory import feed_rows
from schemas.account import Stage
from sesame.operations.privacy import erasure
from tests.simulation.erasing import lived

_recorded = RegistrarFacts.recorded
_erase, _unseal = _BatchCall._erase, PrivacyKey.unseal  # noqa: SLF001


def _leave_a_target_out() -> AbstractContextManager[object]:
    """Moodle reports erasures, and has erased no one."""

    def erase(self: Any, tasks: Mapping[str, Task], found: Any) -> None:
        doomed = [number for number, task in tasks.items() if task.account.stage is Stage.ERASED]
        if self._connector.name == "moodle":
            self._outcomes |= dict.fromkeys(doomed, Done(digest_of(None), changed=True))
        else:
            _erase(self, tasks, found)

    return patch.object(_BatchCall, "_erase", erase)


def _forget_before_targets_have() -> AbstractContextManager[object]:
    """The store forgets before the targets have erased."""
    return patch("sesame.operations.privacy.erasure.awaited", lambda *_args: [])


def _keep_the_feed_memory() -> AbstractContextManager[object]:
    """A feed keeps its memory of a person."""
    return patch.dict(feed_rows.info, of_nobody("enrolments"))


def _ignore_a_return() -> AbstractContextManager[object]:
    """An erased person is never enrolled again."""

    def recorded(self: Any, connection: Any, event: Any, *more: Any) -> bool:
        known = self._people.locked(connection, event.student_number) is not None
        if not known and self._was_erased(connection, event.student_number):
            return False
        return _recorded(self, connection, event, *more)

    return patch.object(RegistrarFacts, "recorded", recorded)


def _erase_what_is_not_read() -> AbstractContextManager[object]:
    """The log loses what the registry has not read."""
    return patch.object(erasure._Seen, "has_read", lambda *_args: True)  # noqa: SLF001


def _erase_the_first_number_only() -> AbstractContextManager[object]:
    """Only the kept one of a person's numbers is forgotten."""
    return patch.object(PrivacyKey, "unseal", lambda self, sealed: _unseal(self, sealed)[:1])


PLANTED: Final[dict[str, tuple[Callable[[], AbstractContextManager[object]], str]]] = {
    "leave a target out": (_leave_a_target_out, "differs"),
    "forget before targets have": (_forget_before_targets_have, "is still in"),
    "keep the feed memory": (_keep_the_feed_memory, "is still in feed_rows"),
    "ignore a return": (_ignore_a_return, "is enrolled, and nobody"),
    "erase what is not read": (_erase_what_is_not_read, "is enrolled, and"),
    "erase the first number only": (_erase_the_first_number_only, "is still in"),
}
"""By name: the plant, and the words of its finding."""

SEEDS: Final = 12


def found(name: str) -> int | None:
    """The first seed that shows a fault, in its own words; None: none does."""
    planted, words = PLANTED[name]
    return next(
        (seed for seed in range(SEEDS) if any(words in each for each in lived(seed, planted)[1])), None
    )
