"""Acts: send the canary, and show how its newest run went."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from pipeline.errors import SesameError
from pipeline.locks import SiteLocks
from sesame.acts.acts import EVERYBODY, OPERATORS, Actor, ActPath, act, note
from sesame.acts.ports import Stored
from sesame.operations.work.canary import runs
from sesame.operations.work.canary.runs import CanaryRun
from sesame.operations.work.canary.walk import REGISTRY_S_MAX, TARGETS_S_MAX, Canaried, CanaryWalk

EVERY_S: Final = 300.0
"""How often the canary goes by itself."""
_RUN_S_MAX: Final = 4 * REGISTRY_S_MAX + 3 * TARGETS_S_MAX


class NeverSent(SesameError):
    """The canary was never sent. `sesame canary run` sends it, and `canary.imap_url` every five minutes."""


@act("canary.show", EVERYBODY, path=ActPath("show_canary", "GET", "/canary"))
def show(site: Stored, _actor: Actor) -> CanaryRun:
    """How the canary's newest run went, step by step.

    Raises:
        NeverSent: there was none.
    """
    with site.database.read() as connection:
        found = runs.newest(connection)
    if found is None:
        raise NeverSent
    return found


@act("canary.run", OPERATORS)
def run(site: Canaried, actor: Actor) -> CanaryRun:
    """Send the canary the whole way once. A step that fails has its cause.

    Raises:
        LockHeld: it is on its way already.
        StoreUnavailable: nothing can be said.
    """
    note(site.database, actor, "canary.run")
    return walk(site, wait_s=_RUN_S_MAX)


def walk(
    site: Canaried,
    pause: Callable[[float], None] = time.sleep,
    *,
    every_s: float = 0.0,
    wait_s: float = 0.0,
) -> CanaryRun:
    """As `run`, without a person who asks for it.

    Args:
        pause: waits so many seconds; it raises to stop.
        every_s: return the newest run instead, if it ended within so many seconds.
        wait_s: how long to wait for the end of a run that is under way.
    """
    if (recent := _recent(site, every_s)) is not None:
        return recent
    with SiteLocks(site.database).hold("canary", ttl_s=_RUN_S_MAX, wait_s=wait_s):
        if (recent := _recent(site, every_s)) is not None:
            return recent
        steps = CanaryWalk(site, pause).run()
        with site.database.write() as connection:
            return runs.save(connection, steps, site.database.now(connection))


def _recent(site: Stored, every_s: float) -> CanaryRun | None:
    """The newest run, if it ended within so many seconds."""
    with site.database.read() as connection:
        found, now = runs.newest(connection), site.database.now(connection)
    return found if found is not None and now < found.at.timestamp() + every_s else None
