"""scripts/containers leaves the machine as it was. Docker and the firewall are faked: they may be missing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.process import PATIENCE_S

ROOT = Path(__file__).parents[2]
FIREWALL = """\
*mangle
:FORWARD ACCEPT [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD {policy} [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
"""
SAVE = "sed -n ${1:+/^\\*filter/,/^COMMIT/}p"  # -t filter
FAKES = {
    "iptables-save": f'{SAVE} "$MACHINE/iptables"',
    "iptables-restore": 'cat >"$MACHINE/iptables"',
    "ip6tables-save": f'{SAVE} "$MACHINE/ip6tables"',
    "ip6tables-restore": 'cat >"$MACHINE/ip6tables"',
    "ip": 'rm "$MACHINE/docker0"',
    "sysctl": 'case $1 in -n) cat "$MACHINE/ip_forward" ;; *) echo "${3#*=}" >"$MACHINE/ip_forward" ;; esac',
    "docker": '[ "$1" != version ] || kill -0 "$(cat "$DAEMON")"',
    "dockerd": """
mkdir -p "$2" # --data-root
while [ "$1" != --pidfile ]; do shift; done
[ ! -e "$2" ] || ! kill -0 "$(cat "$2")" || exit 1
trap 'rm "$2" "$2.never"; exit' TERM
echo 1 >"$MACHINE/ip_forward"
touch "$MACHINE/docker0"
for rules in "$MACHINE"/ip*tables; do
  sed -i '/^\\*filter/,/^COMMIT/{
    s/^:FORWARD [A-Z]*/:FORWARD DROP/
    s/^COMMIT/:DOCKER - [0:0]\\n-A FORWARD -o docker0 -j DOCKER\\n&/
    s/^COMMIT/-A FORWARD -i br-0123456789ab -j ACCEPT\\n&/
  }' "$rules"
done
mkfifo "$2.never"
echo $$ >"$2"
while :; do read -r -t 0.2 <>"$2.never"; done
""",
}


class Machine:
    """What Docker changes on a machine, as files; and the script, told of nothing else."""

    def __init__(self, folder: Path, *, policy: str = "ACCEPT") -> None:
        self._state, self.folder = folder / "machine", folder / "run"
        programs = folder / "bin"
        for each in (self._state, programs):
            each.mkdir()
        for name, text in FAKES.items():
            (programs / name).write_text(f"#!/bin/bash\n{text}\n", encoding="ascii")
            (programs / name).chmod(0o755)
        for name in ("iptables", "ip6tables"):
            (self._state / name).write_text(FIREWALL.format(policy=policy), encoding="ascii")
        (self._state / "ip_forward").write_text("0\n", encoding="ascii")
        self._daemon = self.folder / "dockerd.pid"
        self._environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "DOCKER": str(programs / "docker"),
            "MACHINE": str(self._state),
            "DAEMON": str(self._daemon),
        }

    def state(self) -> dict[str, str]:
        return {path.name: path.read_text(encoding="ascii") for path in self._state.iterdir()}

    def run(self, what: str) -> int:
        script = [str(ROOT / "scripts" / "containers"), str(self.folder), what]
        done = subprocess.run(
            script,
            env=self._environment,
            check=False,
            timeout=PATIENCE_S,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return done.returncode

    def kill(self) -> None:
        """The daemon ends at once, and takes nothing back."""
        os.kill(int(self._daemon.read_text(encoding="ascii")), signal.SIGKILL)
        self._daemon.with_name("dockerd.pid.never").unlink()


@pytest.fixture(params=["ACCEPT", "DROP"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path, policy=request.param)
    yield machine
    machine.run("down")


def test_down_leaves_the_machine_as_up_found_it(machine: Machine) -> None:
    before = machine.state()
    assert machine.run("up") == 0
    assert machine.state().keys() - before.keys() == {"docker0"}
    assert "DOCKER" in machine.state()["iptables"]
    assert machine.run("down") == 0
    assert machine.state() == before
    assert machine.run("down") == 0  # there is nothing to do
    assert machine.state() == before


def test_down_keeps_no_message_of_this_site_for_the_next(machine: Machine) -> None:
    assert machine.run("up") == 0
    message = machine.folder / "site" / "post" / "messages" / "1.eml"
    message.parent.mkdir(parents=True)
    message.write_text("the code of somebody of the same number", encoding="ascii")
    assert machine.run("down") == 0
    assert not message.exists()


def test_a_second_up_does_not_take_what_docker_changed_for_what_was_there(machine: Machine) -> None:
    before = machine.state()
    assert machine.run("up") == 0
    assert machine.run("up") == 0
    assert machine.run("down") == 0
    assert machine.state() == before


@pytest.mark.parametrize("again", [False, True])
def test_a_daemon_that_was_killed_leaves_nothing_either(machine: Machine, again: bool) -> None:
    before = machine.state()
    assert machine.run("up") == 0
    machine.kill()
    if again:
        assert machine.run("up") == 0
    assert machine.run("down") == 0
    assert machine.state() == before
