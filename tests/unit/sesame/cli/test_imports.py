"""What a command loads to say its help: click, and nothing else that is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import click
import pytest

from producers.registrar.acceptance import CODE
from producers.registrar.encodings import ENCODINGS
from schemas.account import Hold
from sesame.cli import main
from sesame.cli.commands import COMMANDS
from sesame.cli.imports import _CODE
from sesame.cli.man_page import walk
from sesame.operations.work.dead_letters import PAGE
from sesame.operations.work.replays import PER_S

ROOT = Path(__file__).parents[4]
LIGHT = {"click", "pipeline", "schemas", "sesame"}
"""All that the help of a command may load beside Python's own library: errors, and the language."""

RUN = """
import contextlib, io, json, sys
before = set(sys.modules)
from sesame.cli import main
with contextlib.redirect_stdout(io.StringIO()) as said:
    for words in json.loads(sys.argv[1]):
        try:
            main(words, prog_name="sesame")
        except SystemExit as end:
            assert (end.code or 0) == int(sys.argv[2]), (words, end.code)
assert said.getvalue() or int(sys.argv[2])
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(loaded - sys.stdlib_module_names)))
"""


def loaded_by(*commands: Iterable[str], code: int = 0) -> set[str]:
    """The packages outside Python's own library that a new interpreter loads to run these commands, each of
    which ends with this code."""
    words = json.dumps([list(command) for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", RUN, words, str(code)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["version"], ["version", "--json"]], ids=str)
def test_the_list_of_commands_and_the_version_load_no_library_but_click(words: list[str]) -> None:
    assert loaded_by(words) <= LIGHT


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_loads_no_library_but_click(name: str) -> None:
    paths = [context.command_path.split()[1:] for context in walk(main, "sesame")]
    helps = [[*path, "--help"] for path in paths if path[:1] == [name]]
    assert helps
    assert loaded_by(*helps) <= LIGHT


def test_what_a_command_loads_is_seen() -> None:
    assert {"click", "sqlalchemy", "pydantic"} <= loaded_by(["settings", "show"])


CONSUME, BACKUP = ["consume", "registry"], ["backup", "--to", "."]


@pytest.mark.parametrize("words", [["run"], CONSUME, ["serve"], ["web"], ["console"], ["doctor"], BACKUP])
def test_what_works_loads_no_library_for_consoles(words: list[str], tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.toml")
    loaded = loaded_by(["--config", missing, *words], code=2)  # it says so once all of it is loaded
    assert "structlog" in loaded
    assert not {"rich", "pygments"} & loaded


@pytest.mark.parametrize(
    ("path", "option", "words"),
    [
        ("sesame hold place", "kind", [hold.value.replace("_", "-") for hold in Hold]),
        ("sesame hold lift", "kind", [hold.value.replace("_", "-") for hold in Hold]),
        ("sesame import", "encoding", list(ENCODINGS)),
    ],
)
def test_what_an_option_offers_is_what_its_room_knows(path: str, option: str, words: list[str]) -> None:
    """The help shows it without loading the room: it is written twice."""
    (command,) = (each.command for each in walk(main, "sesame") if each.command_path == path)
    (offered,) = (each.type for each in command.params if each.name == option)
    assert isinstance(offered, click.Choice)
    assert list(offered.choices) == words


def test_a_code_to_be_accepted_looks_as_the_rejects_file_writes_it() -> None:
    """Known by the command without loading the room: it is written twice."""
    assert (_CODE.pattern, _CODE.flags) == (CODE.pattern, CODE.flags)


def test_the_help_of_replay_tells_the_pace_of_the_act() -> None:
    (command,) = (each.command for each in walk(main, "sesame") if each.command_path == "sesame replay")
    (pace,) = (each for each in command.params if each.name == "per_s")
    assert isinstance(pace, click.Option)
    assert (pace.help or "").startswith(f"Pace; {PER_S} if not given")


def test_the_page_of_dead_letters_that_is_told_is_the_one_that_is_shown() -> None:
    path = "sesame dead-letters list"
    (command,) = (each.command for each in walk(main, "sesame") if each.command_path == path)
    (limit,) = (each for each in command.params if each.name == "limit")
    assert isinstance(limit, click.Option)
    assert f"by default {PAGE}," in (limit.help or "")
