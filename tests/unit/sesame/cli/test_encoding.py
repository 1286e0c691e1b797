"""Outputs that cannot write every character: text stays readable, JSON loses nothing, nothing fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sesame.testing.servers.registrar_kit import COLUMNS, ZOE

ODD = ZOE | {
    "LIB_NOM_PAT_IND": "Œuvrard",
    "LIB_PR1_IND": "Noël",
    "LIB_NOM_USU_IND": "Nguyễn",
    "LIB_ETP": "L1 «国»",
}
"""Latin-1 has no Œ, no ễ and no 国; ASCII has no ë and no « either."""


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "export.csv"
    path.write_text("\n".join(";".join(cells) for cells in (COLUMNS, ODD.values())) + "\n", encoding="utf-8")
    return path


def explained(
    export: Path, encoding: str, *words: str, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """`sesame import --explain` in a process of its own, whose outputs are in this encoding."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))
    }
    return subprocess.run(
        [sys.executable, "-m", "sesame", "import", str(export), "--explain", *words],
        env=kept | {"PYTHONIOENCODING": encoding} | environment,
        cwd=export.parent,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("encoding", "name", "first", "label"),
    [
        ("utf-8", "Œuvrard  ", "Noël", "L1 «国»"),
        ("latin-1", "Oeuvrard  ", "Noël", "L1 «Guo»"),
        ("iso-8859-15", "Œuvrard  ", "Noël", "L1 «Guo»"),
        ("cp850", "Oeuvrard  ", "Noël", "L1 «Guo»"),
        ("ascii", "Oeuvrard  ", "Noel", "L1 <<Guo>>"),
    ],
)
def test_text_has_the_nearest_characters(
    export: Path, encoding: str, name: str, first: str, label: str
) -> None:
    done = explained(export, encoding, "--lang", "fr")
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode(encoding)
    assert "birth_name" in said
    for shown in (name, first, label):
        assert shown in said, said
    assert ("<- LIB_NOM_PAT_IND" in said) is (encoding != "utf-8")
    assert ("pédagogique validée" in said) is (encoding != "ascii")
    assert ("pedagogique validee" in said) is (encoding == "ascii")
    assert done.stderr == b""


@pytest.mark.parametrize("encoding", ["latin-1", "cp850", "ascii"])
def test_json_is_escaped_and_loses_nothing(export: Path, encoding: str) -> None:
    wanted = explained(export, "utf-8", "--json")
    found = explained(export, encoding, "--json")
    assert found.returncode == 0, found.stderr
    assert found.stdout.isascii()
    assert json.loads(found.stdout) == json.loads(wanted.stdout)
    assert "Œuvrard".encode() in wanted.stdout


def test_a_file_whose_name_is_no_text_is_named_all_the_same(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv"))
    odd.write_text("x\n")
    for encoding in ("utf-8", "latin-1", "ascii"):
        done = explained(odd, encoding)
        assert done.returncode == 1
        assert b"caf\\xe9.csv" in done.stderr
        assert b"internal error" not in done.stderr


def test_an_error_is_written_in_an_encoding_that_lacks_its_characters(tmp_path: Path) -> None:
    done = explained(tmp_path / "Œuvre.csv", "latin-1", "--lang", "fr")
    assert done.returncode == 2
    assert "Oeuvre.csv" in done.stderr.decode("latin-1")
