"""Imports that load late, or less: help and usage errors need none of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.abc import Loader


class _Later(ModuleType):
    """Replaces a module until one of its names is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or sys.modules.get(self.__name__) is self:  # the import itself looks
            raise AttributeError(name)
        return getattr(import_module(self.__name__), name)


class _Finder:
    """Finds a stand-in for every module, and loads it. Its form is that of `importlib.abc`, slow to load."""

    def __init__(self) -> None:
        self.made: dict[str, ModuleType] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec:
        """See `importlib.abc.MetaPathFinder`."""
        del path, target
        loader = cast("Loader", self)
        return ModuleSpec(fullname, loader, is_package=True)  # any may have modules below it

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """See `importlib.abc.Loader`."""
        self.made[spec.name] = _Later(spec.name)
        return self.made[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.abc.Loader`: nothing runs."""


@contextmanager
def lazily() -> Iterator[None]:
    """Give modules imported here a stand-in, which loads the module when one of its names is used.

    Import modules only: `from sesame.operations.access import holds`.
    """
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name, module in finder.made.items():
            del sys.modules[name]
            above, _, leaf = name.rpartition(".")
            if vars(sys.modules.get(above, module)).get(leaf) is module:
                delattr(sys.modules[above], leaf)


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
