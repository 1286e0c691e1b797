"""Faults of erasures and returns to plant in the shipped code, by name."""

from __future__ import annotations

from collections.abc import Mapping
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
from tests.simulation.faults import Faults

PLANTED: Final = Faults()

_recorded = RegistrarFacts.recorded
_erase, _unseal = _BatchCall._erase, PrivacyKey.unseal  # noqa: SLF001


@PLANTED.by("leave a target out", _BatchCall, "_erase")
def _erase_but_in_moodle(self: Any, tasks: Mapping[str, Task], found: Any) -> None:
    doomed = [number for number, task in tasks.items() if task.account.stage is Stage.ERASED]
    if self._connector.name == "moodle":
        self._outcomes |= dict.fromkeys(doomed, Done(digest_of(None), changed=True))
    else:
        _erase(self, tasks, found)


@PLANTED.by("ignore a return", RegistrarFacts, "recorded")
def _recorded_unless_erased(self: Any, connection: Any, event: Any, *more: Any, **how: Any) -> bool:
    known = self._people.locked(connection, event.student_number) is not None
    if not known and self._was_erased(connection, event.student_number):
        return False
    return _recorded(self, connection, event, *more, **how)


PLANTED.change(
    "forget before targets have", "sesame.operations.privacy.erasure.awaited", new=lambda *_args: []
)
PLANTED["keep the feed memory"] = lambda: patch.dict(feed_rows.info, of_nobody("enrolments"))
PLANTED.change("erase what is not read", erasure._Seen, "has_read", new=lambda *_args: True)  # noqa: SLF001
PLANTED.change(
    "erase the first number only", *(PrivacyKey, "unseal"), new=lambda self, sealed: _unseal(self, sealed)[:1]
)

WORDS: Final = {
    "leave a target out": "differs",
    "forget before targets have": "is still in",
    "keep the feed memory": "is still in feed_rows",
    "ignore a return": "is enrolled, and nobody",
    "erase what is not read": "is enrolled, and",
    "erase the first number only": "is still in",
}
"""In which each is found."""

SEEDS: Final = 12


def found(name: str) -> int | None:
    """The first seed that shows a fault, in its own words; None: none does."""
    planted, words = PLANTED[name], WORDS[name]
    return next(
        (seed for seed in range(SEEDS) if any(words in each for each in lived(seed, planted)[1])), None
    )
