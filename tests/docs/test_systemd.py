"""The systemd units: they are understood, they start what exists, and they leave an intruder little."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from sandbox.process import PATIENCE_S
from sesame.cli import main

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "ops" / "systemd").glob("*.*"))
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
PROGRAM = "/opt/sesame/bin/sesame"
EXPOSURE_MAX = 20  # tenths: what systemd-analyze calls "OK"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units, with a program that is there: whether it is one is asked too."""
    if shutil.which("systemd-analyze") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("systemd-analyze is not installed")
    folder = tmp_path_factory.mktemp("units")
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace(PROGRAM, str(shutil.which("true")))
        (folder / unit.name).write_text(text, encoding="utf-8")
    return folder


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_systemd_understands_every_unit(folder: Path) -> None:
    done = analyze("verify", "--man=no", *(str(folder / unit.name) for unit in UNITS))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_is_locked_in(folder: Path, unit: Path) -> None:
    limit = f"--threshold={EXPOSURE_MAX}"
    done = analyze("security", "--offline=true", "--no-pager", limit, str(folder / unit.name))
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_starts_a_command_that_there_is(unit: Path) -> None:
    [line] = re.findall(r"^ExecStart=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    program, name, *rest = shlex.split(line.replace("%i", "moodle").replace("${WORKERS}", "2"))
    assert program == PROGRAM
    above = click.Context(main, **main.context_settings)
    command = main.get_command(above, name)
    assert command is not None
    if isinstance(command, click.Group) and not rest[0].startswith("-"):
        above = click.Context(command, parent=above)
        command = command.get_command(above, rest.pop(0))
    assert command is not None
    command.make_parser(click.Context(command, parent=above)).parse_args(rest)


def test_a_service_waits_longer_for_the_end_than_sesame_does() -> None:
    from sesame.app.process_runner import JOIN_MARGIN_S
    from sesame.settings import EngineSettings

    for unit in SERVICES:
        for seconds in re.findall(r"^TimeoutStopSec=(\d+)$", unit.read_text(encoding="utf-8"), re.MULTILINE):
            assert int(seconds) > EngineSettings().shutdown_s_max + JOIN_MARGIN_S
