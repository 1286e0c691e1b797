"""The LDAP schema files that the project ships are those of their table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sandbox.process import PATIENCE_S

OPS = Path(__file__).resolve().parents[4] / "ops" / "ldap"


def test_the_schema_files_are_up_to_date_with_the_table() -> None:
    done = subprocess.run(
        [sys.executable, str(OPS / "build_schema.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_attribute_of_the_table_is_defined_once() -> None:
    names = [line.split("\t", 1)[0] for line in (OPS / "supann-attributes.tsv").read_text().splitlines()]
    text = (OPS / "supann.schema").read_text() + (OPS / "eduperson.schema").read_text()
    assert {name: text.count(f"NAME '{name}'") for name in names} == dict.fromkeys(names, 1)
