"""What a process has made before its work begins is left alone by the garbage collector.

Modules, settings and schemas live as long as the process, yet each full collection would walk through all of
them: with some 200,000 objects that is a third of the processor time that work costs (docs/adr/0030).
"""

from __future__ import annotations

import gc
from typing import Final

_USUAL: Final = gc.get_threshold()
_SELDOM: Final = 50_000
"""New objects between two collections, which Python makes after 700: while modules are loaded nearly nothing
is garbage, and looking for it is a fifth of what a short command costs."""


def load() -> None:
    """Collect seldom, from now on: much is loaded next. `settle` and `usual` end it."""
    gc.set_threshold(_SELDOM)


def usual() -> None:
    """Collect as Python does."""
    gc.set_threshold(*_USUAL)


def settle() -> None:
    """Collect once, and let what is left live for ever; see `gc.freeze`. Whatever is made later is collected
    as ever. Call it when what the process needs is loaded, before its threads begin."""
    gc.collect()
    gc.freeze()
    usual()
