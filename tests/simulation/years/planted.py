"""Faults in the shipped code that the years must show, in these words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from consumers.registry.account import merge
from consumers.registry.lifecycle import closings
from consumers.registry.lifecycle.stages import Lifecycle
from consumers.registry.minter import Minter
from tests.simulation.faults import Faults

_GRACE, _ERASED, _NAMES = Lifecycle.grace_ends, Lifecycle._erased_on, Minter._names  # noqa: SLF001


PLANTED: Final = Faults()
PLANTED.change("no guard", closings, "may_close", new=lambda *_what: True)


@PLANTED.by("a short grace", Lifecycle, "grace_ends")
def _short_grace(self: Lifecycle, begins: Any, after: Any) -> Any:
    return _GRACE(self, begins, after) - timedelta(20)


@PLANTED.by("erased too soon", Lifecycle, "_erased_on")
def _soon_erased(self: Lifecycle, until: Any, target: str | None = None) -> Any:
    return _ERASED(self, until, target) - timedelta(60)


@PLANTED.by("a login that follows", Minter, "_names")
def _new_login(self: Minter, *known: Any) -> Any:
    names = _NAMES(self, *known)
    return names._replace(login=names.mail.partition("@")[0])


@PLANTED.by("a former address lost", "consumers.registry.minter.merge")
def _no_alias(known: Any, lifecycle: Any, today: Any) -> Any:
    return merge(known, lifecycle, today).model_copy(update={"aliases": ()})


@PLANTED.by("a hold forgotten", "consumers.registry.minter.merge")
def _no_hold(known: Any, lifecycle: Any, today: Any) -> Any:
    return merge(known, lifecycle, today).model_copy(update={"holds": frozenset()})


WORDS: Final = {
    "no guard": "was closed, and is enrolled",
    "a short grace": "should have it open",
    "erased too soon": "should have it shut",
    "a login that follows": "should show",
    "a hold forgotten": "open, and should have it shut",
    "a former address lost": "should show",
}
"""Of the finding of each."""
