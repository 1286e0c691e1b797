"""Exempts objects made before a process's work begins from garbage collection.

Modules, settings and schemas live as long as the process, yet each full collection would walk through all of
them: with some 200,000 objects that is a third of the processor time that work costs, and a sixth of a short
command's, when it ends (docs/adr/0028).
"""

from __future__ import annotations

import atexit
import gc
from typing import Final

_USUAL: Final = gc.get_threshold()
_SELDOM: Final = 200_000
"""New objects between two collections (Python's default: 700): more than a command that looks ever has. While
modules are loaded nearly nothing is garbage, and looking for it is a fifth of a short command."""


def load() -> None:
    """Collect seldom while much is loaded, until `settle` or `usual`. At exit, memory is given back whole."""
    gc.set_threshold(_SELDOM)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def usual() -> None:
    """Restore Python's usual collection for new objects, without a full walk now."""
    gc.freeze()
    gc.unfreeze()
    gc.set_threshold(*_USUAL)


def settle() -> None:
    """Collect once, and exempt what is left from collection; see `gc.freeze`.

    Later objects are collected as usual. Call it when all is loaded, before the process's threads begin.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_USUAL)
