"""Faults in the shipped code that the years must show, in these words."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from typing import Any, Final
from unittest.mock import patch

from consumers.registry.account import merge
from consumers.registry.lifecycle import closings
from consumers.registry.lifecycle.stages import Lifecycle
from consumers.registry.minter import Minter

_GRACE, _ERASED, _NAMES = Lifecycle._grace_ends, Lifecycle._erased_on, Minter._names  # noqa: SLF001


def _short_grace(self: Lifecycle, begins: Any) -> Any:
    return _GRACE(self, begins) - timedelta(20)


def _soon_erased(self: Lifecycle, until: Any, target: str | None = None) -> Any:
    return _ERASED(self, until, target) - timedelta(60)


def _new_login(self: Minter, person: Any, previous: Any, ledger: Any) -> Any:
    names = _NAMES(self, person, previous, ledger)
    return names._replace(login=names.mail.partition("@")[0])


def _no_alias(known: Any, lifecycle: Any, today: Any) -> Any:
    return merge(known, lifecycle, today).model_copy(update={"aliases": ()})


def _no_hold(known: Any, lifecycle: Any, today: Any) -> Any:
    return merge(known, lifecycle, today).model_copy(update={"holds": frozenset()})


PLANTED: Final[dict[str, tuple[Callable[[], AbstractContextManager[object]], str]]] = {
    "no guard": (
        partial(patch.object, closings, "may_close", lambda *_what: True),
        "was closed, and is enrolled",
    ),
    "a short grace": (partial(patch.object, Lifecycle, "_grace_ends", _short_grace), "should have it open"),
    "erased too soon": (partial(patch.object, Lifecycle, "_erased_on", _soon_erased), "should have it shut"),
    "a login that follows": (partial(patch.object, Minter, "_names", _new_login), "should show"),
    "a hold forgotten": (
        partial(patch, "consumers.registry.minter.merge", _no_hold),
        "open, and should have it shut",
    ),
    "a former address lost": (partial(patch, "consumers.registry.minter.merge", _no_alias), "should show"),
}
"""By name: the plant, and the words of its finding."""
