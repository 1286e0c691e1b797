"""The page of evidence: a tool writes its own section, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.rows import Row, folded
from scripts import evidence


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "evidence.md"
    path.write_text(
        "# A\n\n<!-- one -->\n<!-- /one -->\n\nB\n\n<!-- two -->\n\n2\n\n<!-- /two -->\n", "utf-8"
    )
    return path


def test_a_section_is_replaced_and_all_else_stays(page: Path) -> None:
    evidence.write("one", r"first \1" + "\n", page)
    evidence.write("one", r"again \1" + "\n", page)
    assert evidence.written("one", page) == r"again \1"
    assert evidence.written("two", page) == "2"
    assert page.read_text("utf-8").startswith("# A\n\n<!-- one -->\n\nagain")
    assert "first" not in page.read_text("utf-8")
    assert "<!-- /one -->\n\nB\n\n<!-- two -->" in page.read_text("utf-8")


def test_a_section_without_marks_is_refused(page: Path) -> None:
    before = page.read_text("utf-8")
    with pytest.raises(ValueError, match="no marks of three"):
        evidence.write("three", "3", page)
    assert page.read_text("utf-8") == before


def test_each_tool_has_its_marks_on_the_page_and_figures_between_them() -> None:
    root = evidence.PAGE.parents[2]
    tools = [*root.glob("bench/*.py"), *root.glob("tests/**/__main__.py"), *root.glob("tests/**/soak.py")]
    tools += root.glob("scripts/**/__main__.py")
    source = "".join(path.read_text("utf-8") for path in tools)
    sections = re.findall(r'evidence\.write\("(\w+)".*(?<!, PAGE)\)$', source, re.MULTILINE)  # not of others
    assert sorted(sections) == ["bench", "faults", "mutation", "soak", "years"]
    assert [name for name in sections if "202" not in evidence.written(name)] == []


def test_rows_of_one_subject_under_one_limit_are_shown_as_their_worst() -> None:
    pages = [Row(f"console-{name}", "s", ours, 0.1, "at most") for name, ours in [("a", 0.01), ("b", 0.2)]]
    others = [
        Row("import-lines", "lines/s", 2000),
        Row("flat-x", "s", 1, 2, ratio=1),
        Row("flat-y", "s", 1, 2, ratio=3),
    ]
    first, *rest = folded([*pages, *others])
    assert (first.name, first.ours, first.wanted) == ("console-* (2)", 0.2, False)
    assert rest == others
