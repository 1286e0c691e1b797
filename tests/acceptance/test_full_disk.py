"""The disk is full under `sesame run`: each says so with what to do, nothing is lost, and room is enough."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.error import HTTPError

import pytest

from sandbox.demo.pipeline import SesameProcess
from sandbox.demo.program import Answer
from sandbox.postgres import Postgres
from sandbox.process import wait_until
from sesame.testing.servers import require_service
from sesame.testing.servers.processes import ManySite

STUDENTS = 12
DEPENDENCY_DOWN = 4
_CHUNK = b"x" * 65_536


@pytest.fixture(params=["embedded", "postgresql"])
def disk(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A small disk of its own, on which servers without privileges may have folders."""
    size = {"embedded": "8m", "postgresql": "96m"}[request.param]
    folder = Path(tempfile.mkdtemp(prefix="disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        folder.rmdir()
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
    folder.rmdir()


@pytest.fixture
def site(disk: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ManySite]:
    """A site whose store is on the small disk: with its log in SQLite, or in PostgreSQL."""
    if request.node.callspec.params["disk"] == "embedded":
        (tmp_path / "data").symlink_to(disk)
        with closing(ManySite(tmp_path, f"sqlite:///{disk / 'sesame.db'}")) as site:
            yield site
        return
    with (
        require_service(lambda: Postgres(disk / "pg", settings={"min_wal_size": "32MB"})) as server,
        closing(ManySite(tmp_path, server.url())) as site,
    ):
        yield site


def fill(disk: Path) -> Path:
    """Leave no room: a file as large as can be."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(_CHUNK)
    assert shutil.disk_usage(disk).free == 0
    return ballast


def not_ready(run: SesameProcess) -> dict[str, str]:
    """What `/readyz` says is missing, by check; nothing: ready."""
    try:
        said = json.loads(run.get("/readyz"))
    except HTTPError as error:
        with error:
            said = json.loads(error.read()) | {"code": error.code}
    faults = {name: fault for name, fault in said["checks"].items() if fault != "ok"}
    assert (said["status"], said.get("code")) == (("failed", 503) if faults else ("ok", None))
    return faults


def test_a_full_disk_refuses_clearly_loses_nothing_and_work_goes_on_when_there_is_room(
    site: ManySite, disk: Path
) -> None:
    run = site.start("run")
    file = site.registrar_file(STUDENTS)
    assert not_ready(run) == {}
    ballast = fill(disk)
    if site.database.is_sqlite:  # a server writes on for a while: in the pages and the log that it has
        faults = not_ready(run)
        assert {"store", "disk"} <= faults.keys() <= {"store", "disk", "loops"}  # loops: one wrote just now
        assert all("is full" in faults[name] for name in ("store", "disk")), faults
    assert_says_what_to_do(site.sesame.run("import", file, allowed=(DEPENDENCY_DOWN,)))
    os.truncate(ballast, 0)
    wait_until(lambda: not_ready(run) == {}, "what had no room to start again")
    site.enrol(STUDENTS)
    wait_until(lambda: site.accounts() == STUDENTS, "accounts")

    ballast = fill(disk)
    assert_says_what_to_do(site.sesame.run("activate", "--all", "--yes", allowed=(DEPENDENCY_DOWN,)))
    os.truncate(ballast, 0)
    site.activate()
    wait_until(lambda: site.settled() == STUDENTS, "everybody to be complete or waiting")
    assert site.dead_letters() == 0
    assert run.running


def assert_says_what_to_do(refused: Answer) -> None:
    assert "is full" in refused.err or "No space left on device" in refused.err, refused.err
    assert "Make room" in refused.err or "free some space" in refused.err, refused.err
    assert "Traceback" not in refused.err
