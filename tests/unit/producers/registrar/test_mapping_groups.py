"""The part of a mapping file that describes the second file, of teaching units and groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from producers.registrar.mapping import MappingUnusable, read_groups_mapping
from producers.registrar.profile import FeedProfile, FileForm

MAPPING = """
name = "ade"
[groups]
form = "json_lines"
[groups.fields]
student_number = "etudiant"
year = { constant = 2026 }
element = "objet"
state = { constant = "in_force" }
"""


def mapped(folder: Path, text: str = MAPPING) -> FeedProfile:
    path = folder / "mapping.toml"
    path.write_text(text, encoding="utf-8")
    return read_groups_mapping(path, suffix="_groups")


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(MappingUnusable) as refused:
        mapped(folder, text)
    return [line.strip() for line in str(refused.value).splitlines()[1:]]


def test_it_says_how_the_second_file_is_written(tmp_path: Path) -> None:
    assert mapped(tmp_path).form is FileForm.JSON_LINES
    assert mapped(tmp_path, MAPPING.replace('form = "json_lines"\n', "")).form is FileForm.DELIMITED


def test_its_feed_has_a_name_of_its_own_that_fits_the_store(tmp_path: Path) -> None:
    assert mapped(tmp_path).name == "ade_groups"
    long = "a" * 60
    assert mapped(tmp_path, MAPPING.replace("ade", long)).name == f"{long}_gro"


def test_an_unknown_key_is_told_with_its_table(tmp_path: Path) -> None:
    assert faults(tmp_path, MAPPING.replace("form =", "fom =")) == ["groups.fom: unknown; did you mean form?"]
    assert faults(tmp_path, MAPPING.replace("[groups]", "nane = 1\n[groups]")) == [
        "nane: unknown; did you mean name?"
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = "ade"', "groups: a table [groups] is required for a file of teaching units and groups"),
        (
            'name = "ade"\n[groups]\n',
            "groups.fields: a table [groups.fields] is required: one line per field",
        ),
    ],
)
def test_a_table_that_is_missing_is_named(tmp_path: Path, text: str, says: str) -> None:
    assert faults(tmp_path, text) == [says]


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = MAPPING.replace('name = "ade"', 'name = "a b"').replace('element = "objet"\n', "")
    assert [fault.split(":")[0] for fault in faults(tmp_path, text)] == ["name", "groups.fields.element"]
