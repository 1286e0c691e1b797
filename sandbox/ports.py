"""Free TCP ports of loopback, distinct for concurrent processes.

Between finding a port free and a server's listening there, another process might find it free as well. So
each process reserves blocks of ports for its life, by locks on files that the system releases with it, and
cycles through them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Collection
from ipaddress import IPv4Address
from pathlib import Path

from sandbox.process import SandboxError

_PORTS = range(20_000, 32_000)
"""Below Linux's ephemeral range (32768 and up).

So no outgoing connection of another process takes the port of a stopped server.
"""

_BLOCK = 200

_ADDRESSES = int(IPv4Address("127.1.0.0")), int(IPv4Address("127.255.0.0"))
"""The first, and the end: the usual addresses are in 127.0.0.0/16."""


class _Ports:
    """This process's ports, the one that was handed out longest ago first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begin()

    def free(self, count: int) -> tuple[int, ...]:
        """See `free_ports`."""
        with self._lock, contextlib.ExitStack() as held:
            if self._pid != os.getpid():  # a fork: those are its parent's
                self._begin()
            found: list[int] = []
            looked_at = 0
            while len(found) < count:
                if looked_at == len(self._ports):
                    self._take_block()
                port = self._ports[0]
                self._ports.rotate(-1)
                looked_at += 1
                probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                with contextlib.suppress(OSError):
                    probe.bind(("127.0.0.1", port))
                    found.append(port)
            return tuple(found)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._ports: deque[int] = deque()

    def _take_block(self) -> None:
        shared = Path("/tmp")  # noqa: S108 (wherever TMPDIR leads, whoever asks must meet the others)
        folder = (shared if shared.is_dir() else Path(tempfile.gettempdir())) / f"sesame-ports-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        starts = _PORTS[::_BLOCK]
        for start in random.SystemRandom().sample(starts, k=len(starts)):
            lock = os.open(folder / str(start), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until the process ends
            except OSError:
                os.close(lock)
                continue
            self._ports.extendleft(reversed(range(start, start + _BLOCK)))
            return
        raise SandboxError(
            f"no free ports between {_PORTS.start} and {_PORTS.stop - 1}: end other runs that have them"
        )


_mine = _Ports()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now. Raises SandboxError if there is none."""
    return free_ports(1)[0]


def free_ports(count: int) -> tuple[int, ...]:
    """Distinct free TCP ports of 127.0.0.1. Raises SandboxError if there are not so many."""
    return _mine.free(count)


def free_address(ports: Collection[int]) -> str:
    """A loopback address with all of these ports free, for fixed ports.

    It is drawn from 16 million, so that two processes at the same time do not meet.

    Raises SandboxError if there is none, as when a server of this machine has one of the ports everywhere.
    """
    for _ in range(20):
        address = str(IPv4Address(random.SystemRandom().randrange(*_ADDRESSES)))
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for port in ports:
                probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                probe.bind((address, port))
            return address
    raise SandboxError(f"no address of loopback has all of the ports {', '.join(map(str, ports))} free")
