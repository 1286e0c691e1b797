"""Ports for the sandbox's servers: never one for two, whichever processes ask at the same time."""

from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address

import pytest

from sandbox import ports
from sandbox.ports import free_address, free_port, free_ports
from sandbox.process import PATIENCE_S, SandboxError

ASK = "from sandbox.ports import free_ports; print(*free_ports(40), flush=True); input()"


def test_processes_that_live_at_the_same_time_are_given_different_ports() -> None:
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    try:
        given = [port for each in asking if each.stdout for port in each.stdout.readline().split()]
        given += map(str, free_ports(40))
    finally:
        for each in asking:
            each.communicate("over\n", timeout=PATIENCE_S)
    assert len(given) == len(set(given)) == 160


def test_threads_are_given_different_ports_before_any_of_them_listens() -> None:
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: free_port(), range(80)))
    assert len(set(given)) == 80


def test_a_port_that_somebody_listens_on_is_not_given_when_its_turn_comes_again() -> None:
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        assert port not in free_ports(450)  # more than were looked at: it goes round


def test_an_address_on_which_somebody_has_one_of_the_ports_is_not_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, free, taken = int(IPv4Address("127.1.0.0")), *free_ports(2)
    monkeypatch.setattr(ports, "_ADDRESSES", (first, first + 2))
    with socket.socket() as held:
        held.bind(("127.1.0.0", taken))
        assert free_address((free, taken)) == "127.1.0.1"
        monkeypatch.setattr(ports, "_ADDRESSES", (first, first + 1))
        with pytest.raises(SandboxError, match=f"{free}, {taken} free"):
            free_address((free, taken))
