"""What a process has made before its work begins is left alone by the garbage collector.

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
"""New objects between two collections, which Python makes after 700: more than a command that looks ever has.
While modules are loaded nearly nothing is garbage, and looking for it is a fifth of what a short command
costs."""


def load() -> None:
    """Collect seldom, from now on: much is loaded next. `settle` and `usual` end it. When the process ends,
    nothing is collected any more: its memory is given back whole."""
    gc.set_threshold(_SELDOM)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def usual() -> None:
    """Collect as Python does, what is made from now on: the rest is not walked through at once."""
    gc.freeze()
    gc.unfreeze()
    gc.set_threshold(*_USUAL)


def settle() -> None:
    """Collect once, and let what is left live for ever; see `gc.freeze`. Whatever is made later is collected
    as ever. Call it when what the process needs is loaded, before its threads begin."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_USUAL)
