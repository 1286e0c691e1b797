"""Imports that load late, or less: help and usage errors need none of them."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Lock, local
from types import ModuleType, SimpleNamespace
from typing import Any, Final


class _Later(ModuleType):
    """Replaces a module until one of its names is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or _here.lazily:  # loaded now, it would get stand-ins itself
            raise AttributeError(name)
        return getattr(import_module(self.__name__), name)


class _Here(local):
    """Whether this thread imports lazily."""

    lazily = False


_here: Final = _Here()
_ONE: Final = Lock()  # one thread at a time: each puts back what it found


@contextmanager
def lazily() -> Iterator[None]:
    """Give modules imported here a stand-in, loaded when one of its names is used.

    Import modules only: `from sesame.operations.access import holds`. Other threads import as ever: a first
    request loads its server's libraries while the work of a process loads its own.
    """
    with _ONE:
        importing = builtins.__import__

        def stand_in(name: str, *where: Any, **named: Any) -> Any:
            if not _here.lazily:
                return importing(name, *where, **named)
            _globals, _locals, modules, _level = where
            if not modules:
                return _loaded_or_later(name)
            return SimpleNamespace(**{leaf: _loaded_or_later(f"{name}.{leaf}") for leaf in modules})

        builtins.__import__, _here.lazily = stand_in, True
        try:
            yield
        finally:
            builtins.__import__, _here.lazily = importing, False


def _loaded_or_later(name: str) -> ModuleType:
    module = sys.modules.get(name)
    loading = module is None or getattr(module.__spec__, "_initializing", False)
    return _Later(name) if module is None or loading else module


_CONSOLES = ("rich", "better_exceptions", "colorama")


def load_lean() -> None:
    """Load structlog without console libraries; keep httpx from its command line.

    structlog brings rich and pygments along, to colour tracebacks that the logs here leave out, and httpx its
    command line: a sixth of the processor time of a command that asks a student's servers. Both do without
    where these are not installed; so their absence is simulated.
    """
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # as importlib has it: not there
    with _without(*_CONSOLES):
        import structlog  # noqa: F401  (that is all)


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Hide these modules from imports, unless they are loaded already."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
