"""The house's own rules: rooms, tool settings, the make targets, and what an administrator is told."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_room_is_under_the_import_contract() -> None:
    not_rooms = {"tests", "examples", "bench", "scripts"}
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - not_rooms
    assert rooms == set(project()["tool"]["importlinter"]["root_packages"])


def test_every_consumer_and_every_part_of_the_pipeline_is_under_the_import_contract() -> None:
    contracts = {each["id"]: each for each in project()["tool"]["importlinter"]["contracts"]}
    assert contracts["pipeline"]["exhaustive"] is True
    assert contracts["consumers"]["exhaustive"] is True
    *rooms, kit = contracts["consumers"]["layers"]
    assert (kit, len(rooms)) == ("kit", 1), "the kit is below all, and the others know nothing of one another"


@pytest.mark.parametrize("room", ["sesame/testing", "bench", "scripts", "examples", "sandbox"])
def test_only_tests_import_tests(room: str) -> None:
    files = {path: ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / room).rglob("*.py")}
    assert files
    for path, tree in files.items():
        found = [each.module or "" for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)]
        found += [name.name for each in ast.walk(tree) if isinstance(each, ast.Import) for name in each.names]
        assert "tests" not in {name.split(".")[0] for name in found}, path


def test_what_is_shipped_is_typed_and_packaged() -> None:
    packages = project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert "sandbox" not in packages
    assert [name for name in packages if not (ROOT / name / "py.typed").exists()] == []


def test_every_ignored_rule_gives_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("ignore = [") : text.index("allowed-confusables")]
    reason = ""
    for line in block.splitlines()[1:]:
        stripped = line.strip()
        if stripped.startswith("#"):
            reason = stripped
        elif stripped.startswith('"'):
            assert reason or "#" in stripped, f"no reason: {stripped}"


def test_the_locks_name_no_host() -> None:
    for name in ("requirements.lock", "scripts/uv.lock", "scripts/site.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert not re.search(r"://|--(extra-)?index|--find-links", text)


def test_every_dependency_is_locked() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    wanted = [*project()["project"]["dependencies"], *project()["dependency-groups"]["dev"]]
    names = {re.split(r"[^A-Za-z0-9._-]", each)[0].lower().replace("_", "-") for each in wanted}
    assert names - locked == set()


def test_help_lists_every_target_that_people_type() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "check", "test", "demo", "stop", "clean", "lock"):
        assert f"make {target} " in shown


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with only what the script itself needs: no root, no sudo, no package, no server."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("bash", "cat", "mkdir", "flock", "dirname", "printf"):
        if found := shutil.which(program):
            (folder / program).symlink_to(found)
    _program(folder / "id", "echo 1000")
    _program(folder / "dpkg-query", "exit 1")
    return folder


def _program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def setup_debian(path: Path, *groups: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / "setup-debian", *groups],
        env={"PATH": str(path), "HOME": os.devnull},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_root_an_administrator_is_told_what_to_type(bare_path: Path) -> None:
    _program(bare_path / "apt-get", "echo called >&2; exit 99")
    ended = setup_debian(bare_path, "servers")
    assert ended.returncode != 0
    assert "Missing Debian packages: slapd slapd-contrib ldap-utils dovecot-core" in ended.stderr
    assert "apt-get install -y --no-install-recommends slapd slapd-contrib" in ended.stderr
    assert "called" not in ended.stderr


def test_elsewhere_than_on_debian_the_missing_is_named_too(bare_path: Path) -> None:
    (bare_path / "dpkg-query").unlink()
    ended = setup_debian(bare_path, "node")
    assert ended.returncode != 0
    assert "Missing Debian packages: nodejs npm" in ended.stderr


def test_a_node_that_is_there_is_used_as_it_is(bare_path: Path) -> None:
    _program(bare_path / "node", "exit 0")
    _program(bare_path / "npm", "exit 0")
    assert setup_debian(bare_path, "node").returncode == 0


def test_nothing_is_asked_of_an_administrator_when_all_is_there(bare_path: Path) -> None:
    _program(bare_path / "dpkg-query", "echo installed")
    ended = setup_debian(bare_path, "servers", "node")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def shipped() -> Iterator[tuple[Path, ast.Module]]:
    """The modules that are shipped, by their place in the house."""
    for room in ("schemas", "pipeline", "consumers", "producers", "sesame"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if "testing" not in path.parts:  # the kits are read with the tests that use them
                yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def test_a_public_class_name_stands_for_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for path, module in shipped():
        for node in module.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


SAYS_ONE = {
    "consumers/apereo/connector.py",  # whom it follows, as the mailbox
    "consumers/kit/connector.py",  # the mailbox as a role
    "consumers/mailbox/connector.py",  # whom it follows: rooms do not import one another
    "consumers/partage/connector.py",  # the mailbox as a role
    "consumers/registry/ledger.py",  # where a name was seen
    "consumers/webhooks/security_events.py",  # the form of a subject's identifier (RFC 9967)
    "schemas/asyncapi.py",  # examples
    "sesame/operations/people/diagnosis/rules/__init__.py",  # modules of this room
    "sesame/web/api/examples.py",  # examples
    "sesame/web/api/scim/__init__.py",  # the extra of that name
}


def test_the_name_of_a_target_is_written_in_its_own_room_only() -> None:
    """Whoever knows more of a target than a connector tells imports its name, and so depends on its room."""
    names = set(project()["project"]["entry-points"]["sesame.connectors"])
    found = set()
    for path, module in shipped():
        own = path.parts[1] if path.parts[0] == "consumers" else ""
        for node in ast.walk(module):
            if isinstance(node, ast.Constant) and node.value in names - {own}:
                found.add(next((place for place in SAYS_ONE if str(path).startswith(place)), str(path)))
    assert found == SAYS_ONE, "whoever says none any more goes from the list"
