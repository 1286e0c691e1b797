"""Kills processes, and starts again whatever does not run, as systemd's `Restart=always` does."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sandbox.demo.world import World
from sandbox.process import SandboxError

WORKERS = ("registry", "propagation", "directory", "mailbox", "moodle")
SERVERS = ("broker", "database", "slapd", "dovecot", "moodle-site")
KINDS = (*WORKERS, *SERVERS)

_LOOK_EVERY_S = 0.1
_AGAIN_AFTER_S = 1.0


@dataclass(frozen=True)
class Victim:
    """One process that can be killed, and started again on its data. `kind` is one of KINDS."""

    kind: str
    name: str
    start: Callable[[], object]
    kill: Callable[[], None]
    runs: Callable[[], bool]


def victims_of(world: World) -> list[Victim]:
    """Every process of a world in many processes, its tests' own servers apart."""
    kafka, postgres = world.kafka, world.postgres
    assert kafka is not None
    assert postgres is not None
    found = [
        Victim(name.split()[0], name, part.start, part.kill, lambda part=part: part.running)  # type: ignore[misc]
        for name, part in world.pipeline.parts.items()
        if name.split()[0] in WORKERS
    ]
    found += [_broker(world, number) for number in range(1, len(kafka.servers) + 1)]
    servers = {"database": postgres, "slapd": world.slapd, "dovecot": world.dovecot}
    for kind, server in servers.items():
        found.append(Victim(kind, kind, server.start, server.kill, lambda server=server: server.running))  # type: ignore[misc]
    site = world.moodle
    found.append(Victim("moodle-site", "moodle-site", site.start, site.kill, lambda: site.running))
    return found


def _broker(world: World, number: int) -> Victim:
    kafka = world.kafka
    assert kafka is not None
    return Victim(
        "broker",
        f"broker {number}",
        lambda: kafka.start_node(number),
        lambda: kafka.kill(number),
        lambda: kafka.node_runs(number),
    )


class Supervisor:
    """Keeps the victims running; use it in a `with`.

    Attributes:
        failed_starts: how often a start failed, by kind: what it needs was away itself. It was tried again.
        ended: how often one ended without having been killed, by kind.
    """

    def __init__(self, victims: Sequence[Victim]) -> None:
        self._victims = list(victims)
        self._lock = threading.Lock()
        self._not_before = dict.fromkeys((victim.name for victim in victims), 0.0)
        self._up = {victim.name for victim in victims}
        self._starting: set[str] = set()
        self._pool = ThreadPoolExecutor(len(self._victims), thread_name_prefix="start")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="supervisor")
        self.failed_starts: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()

    def up(self) -> list[Victim]:
        """Those that run and are ready."""
        with self._lock:
            return [victim for victim in self._victims if victim.name in self._up and victim.runs()]

    @property
    def down(self) -> int:
        """How many do not run, or are not ready yet."""
        return len(self._victims) - len(self.up())

    def kill(self, victim: Victim, down_s: float) -> None:
        """Kill it (SIGKILL), and start it again after so many seconds."""
        with self._lock:
            self._up.discard(victim.name)
            self._not_before[victim.name] = time.monotonic() + down_s
            victim.kill()

    def _keep(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY_S):
            with self._lock:
                for victim in self._victims:
                    self._look_at(victim)

    def _look_at(self, victim: Victim) -> None:
        name = victim.name
        if name in self._starting or victim.runs():
            return
        if name in self._up:
            self._up.discard(name)
            self.ended[victim.kind] += 1
            self._not_before[name] = time.monotonic() + _AGAIN_AFTER_S
        elif time.monotonic() >= self._not_before[name]:
            self._starting.add(name)
            self._pool.submit(self._start, victim)

    def _start(self, victim: Victim) -> None:
        try:
            victim.start()
        except (SandboxError, OSError):
            started = False
        else:
            started = True
        with self._lock:
            self._starting.discard(victim.name)
            if started:
                self._up.add(victim.name)
            else:
                self.failed_starts[victim.kind] += 1
                self._not_before[victim.name] = time.monotonic() + _AGAIN_AFTER_S

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._pool.shutdown(wait=True)
