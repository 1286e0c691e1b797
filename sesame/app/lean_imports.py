"""Loads libraries without their console extras, which are not used here.

structlog brings rich and pygments along, to colour tracebacks that the logs here leave out, and httpx its
command line: a sixth of the processor time of a command that asks a student's servers. Both do without where
these are not installed; so their absence is simulated.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CONSOLES = ("rich", "better_exceptions", "colorama")


def load() -> None:
    """Load structlog without console libraries; keep httpx from its command line."""
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
