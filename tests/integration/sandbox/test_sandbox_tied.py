"""Whoever started servers, or a command, is killed: they end too, with all of their processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sandbox.dovecot_conf import find_dovecot
from sandbox.postgres import Postgres
from sandbox.process import find_program, stat_fields, wait_until
from sesame.testing.servers import require_service

ROOT = Path(__file__).resolve().parents[3]

# The servers are started by a thread that ends at once, as the nodes of a Kafka cluster are.
STARTER = """
import sys, threading
from pathlib import Path
from sandbox.dovecot import Dovecot, LookupDirectory
from sandbox.moodle import MoodleStandIn
from sandbox.postgres import Postgres
from sandbox.slapd import Slapd
folder = Path(sys.argv[1])
slapd = Slapd(folder / "slapd", fsync=False)
servers = [slapd, Dovecot(LookupDirectory.of(slapd), folder / "dovecot"), MoodleStandIn(folder / "moodle"),
           Postgres(folder / "postgres", fsync=False)]
for server in servers:
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
print(*(server.pid for server in servers), flush=True)
sys.stdin.read()
"""

# Commands that are about to make a folder anew while the next demo removes it: a demo's, and a server's.
COMMANDERS = {
    "sesame": """
import sys
from pathlib import Path
from sandbox.demo import program
program.sesame_program = lambda: Path(sys.argv[1])
program.Sesame(Path("sesame.toml"), cwd=Path(sys.argv[1]).parent).run("vault", "init")
""",
    "prepare": """
import sys
from pathlib import Path
from sandbox.process import run_command
run_command("initdb", [sys.argv[1]], cwd=Path(sys.argv[1]).parent)
""",
}
COMMAND = "#!/bin/sh\necho $$ >pid\nexec sleep 600\n"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder that servers without privileges can pass through, short enough for their sockets."""
    folder = Path(tempfile.mkdtemp(prefix="tied-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def children_of(pids: set[int]) -> set[int]:
    """The processes whose parent, or parent's parent, is one of these."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat_fields(stat)[1])
    first = {pid for pid, parent in parents.items() if parent in pids}
    return first | {pid for pid, parent in parents.items() if parent in first}


def alive(pid: int) -> bool:
    with suppress(OSError):
        return stat_fields(Path(f"/proc/{pid}/stat"))[0] not in "ZX"
    return False


def test_servers_and_their_children_end_with_a_starter_that_is_killed(short_folder: Path) -> None:
    require_service(lambda: (find_program("slapd", "slapd"), find_dovecot(), Postgres(short_folder / "any")))
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, short_folder],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    with starter:
        assert starter.stdout is not None
        servers = {int(pid) for pid in starter.stdout.readline().split()}
        assert len(servers) == 4
        everybody = servers | children_of(servers)  # some of the children end by themselves at once
        assert len(everybody) > len(servers)
        assert all(alive(pid) for pid in servers)
        maps = "".join(Path(f"/proc/{pid}/maps").read_text("utf-8") for pid in servers)
        assert "/PostgreSQL." not in maps  # shared memory that would outlive them
        starter.kill()
    wait_until(lambda: not any(alive(pid) for pid in everybody), "the servers to end")
    assert [pid for pid in everybody if alive(pid)] == []


@pytest.mark.parametrize("commander", COMMANDERS.values(), ids=COMMANDERS)
def test_a_command_ends_with_a_demo_that_is_killed(tmp_path: Path, commander: str) -> None:
    command, pid = tmp_path / "sesame", tmp_path / "pid"
    command.write_text(COMMAND, encoding="ascii")
    command.chmod(0o755)
    with subprocess.Popen([sys.executable, "-c", commander, command], cwd=ROOT) as demo:
        wait_until(lambda: pid.exists() and bool(pid.read_text()), "the command to run")
        begun = int(pid.read_text())
        assert alive(begun)
        demo.kill()
    try:
        wait_until(lambda: not alive(begun), "the command to end")
    finally:
        with suppress(ProcessLookupError):
            os.kill(begun, signal.SIGKILL)
