"""What a process has made before its work begins is left alone by the garbage collector.

Modules, settings and schemas live as long as the process, yet each full collection would walk through all of
them: with some 200,000 objects that is a third of the processor time that work costs (docs/adr/0030).
"""

from __future__ import annotations

import gc


def settle() -> None:
    """Collect once, and let what is left live for ever; see `gc.freeze`. Whatever is made later is collected
    as ever. Call it when what the process needs is loaded, before its threads begin."""
    gc.collect()
    gc.freeze()
