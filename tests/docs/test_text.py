"""The check of the repository's text finds what it looks for, and finds nothing here."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import check_text

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a page that has two headings."""
    root = tmp_path / "somewhere" / "project"
    (root / "docs").mkdir(parents=True)
    (root / "docs" / "page.md").write_text(
        '# One\n\n## Two `words`, twice\n\n## One\n\n- <a id="a_token"></a>`a_token`\n', encoding="utf-8"
    )
    return root


def faults(root: Path, text: str, name: str = "docs/other.md") -> list[str]:
    path = root / name
    path.write_text(text, encoding="utf-8")
    return [fault.partition(": ")[2] for fault in check_text.faults_of(path, root)]


def test_the_repository_keeps_the_rules() -> None:
    assert [fault for path in check_text.tracked(ROOT) for fault in check_text.faults_of(path, ROOT)] == []


@pytest.mark.parametrize(
    "link",
    [
        "[a](page.md)",
        "[a](page.md#one)",
        "[a](page.md#one-1)",
        "[a](page.md#two-words-twice)",
        "[a](page.md#a_token)",
        "[a](../docs/page.md)",
        "[a](https://www.rfc-editor.org/rfc/rfc4511)",
        "`[a](nowhere.md)`",
        "```\n[a](nowhere.md)\n```",
        "[a](.)",
    ],
)
def test_a_link_that_leads_somewhere_is_fine(site: Path, link: str) -> None:
    assert faults(site, link) == []


@pytest.mark.parametrize(
    "link",
    ["[a](nowhere.md)", "[a](page.md#three)", "[a](#nothing)", "[a]: nowhere.md", '[a](nowhere.md "title")'],
)
def test_a_link_that_leads_nowhere_is_found(site: Path, link: str) -> None:
    assert len(faults(site, link)) == 1


def test_what_names_a_place_of_one_machine_is_found(site: Path) -> None:
    around = site.parent
    registry = ".".join(reversed(["org", "pypi"]))  # written apart: this file is checked too
    home = "/".join(("", "home", *("zoe", "sesame")))
    upwards = "../" * 2 + "shared"
    conflict = "<" * 7 + " HEAD"
    for text in (f"see {around}/project", home, f"https://{registry}/simple", upwards, conflict):
        assert len(faults(site, text)) == 1, text


def test_usual_paths_are_fine(site: Path) -> None:
    text = "/etc/sesame/sesame.toml, /var/lib/sesame, /usr/sbin/slapd, /metrics, ../docs, univ-exemple.fr"
    assert faults(site, text) == []


def test_a_binary_file_is_left_alone(site: Path) -> None:
    (site / "docs" / "image.bin").write_bytes(b"\xff\xfe\x00")
    assert list(check_text.faults_of(site / "docs" / "image.bin", site)) == []
