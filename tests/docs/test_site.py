"""The documentation's site: its navigation, and what the check of its pages finds."""

from __future__ import annotations

import runpy
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scripts import check_site
from tests.docs.documents import ROOT

CONFIGURATION = ROOT / "docs" / "conf.py"


@pytest.fixture(scope="module")
def site() -> dict[str, Any]:
    return runpy.run_path(str(CONFIGURATION))


def test_every_page_is_in_the_navigation_once_and_every_page_named_exists(site: dict[str, Any]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    named = [page for pages in site["navigation"]().values() for page in pages] + site["decisions"]()
    pages = {name.removesuffix(".md") for name in listed} - {site["root_doc"]}
    assert Counter(named) == dict.fromkeys(pages, 1)


def test_french_pages_stand_first_and_alone(site: dict[str, Any]) -> None:
    _index, french, *others = site["navigation"]().values()
    assert all(map(site["is_french"], french))
    assert not any(site["is_french"](page) for pages in others for page in pages)


def test_a_word_is_found_without_its_accents(site: dict[str, Any]) -> None:
    assert site["without_accents"]("Été, reçue, scolarité") == "Ete, recue, scolarite"


HEAD = '<meta http-equiv="Content-Security-Policy" content="default-src \'self\'">'


def faults(folder: Path, body: str, css: str = "") -> list[str]:
    (folder / "docs").mkdir()
    (folder / "docs" / "other.html").write_text(f'{HEAD}<h2 id="place">', encoding="utf-8")
    (folder / "page.html").write_text(HEAD + body, encoding="utf-8")
    (folder / "site.css").write_text(css, encoding="utf-8")
    return list(check_site.faults(folder))


@pytest.mark.parametrize(
    "body",
    [
        '<a href="docs/other.html#place">',
        '<a id="here" href="#here">',
        '<a href="https://univ-exemple.fr">',
        '<a href="../versions.html">',
        '<link rel="stylesheet" href="site.css?v=1">',
        '<img src="data:image/png;base64,AA">',
    ],
)
def test_what_leads_somewhere_or_is_loaded_from_the_site_is_fine(tmp_path: Path, body: str) -> None:
    assert faults(tmp_path, body, "a { background: url(data:image/png;base64,AA) }") == []


@pytest.mark.parametrize(
    "body",
    [
        '<a href="docs/gone.html">',
        '<a href="docs/other.html#gone">',
        '<a href="#gone">',
        '<a href="/docs/other.html">',
        '<a href="../elsewhere.html">',
        '<img src="gone.png">',
        '<script src="https://cdn.example/x.js"></script>',
        '<script src="//cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example/css">',
        '<form action="https://search.example/"></form>',
        '<img srcset="https://images.example/x.png 2x" src="data:,">',
        "<style>@import 'https://fonts.example/css';</style>",
        '<p style="background: url(https://images.example/x.png)">',
    ],
)
def test_what_leads_nowhere_or_is_loaded_from_elsewhere_is_found(tmp_path: Path, body: str) -> None:
    assert len(faults(tmp_path, body)) == 1


def test_a_style_sheet_that_loads_from_elsewhere_is_found(tmp_path: Path) -> None:
    assert faults(tmp_path, "", "@font-face { src: url('https://fonts.example/a.woff2') }") == [
        "site.css: loads https://fonts.example/a.woff2, which is elsewhere"
    ]


def test_a_page_without_a_policy_and_a_folder_without_pages_are_found(tmp_path: Path) -> None:
    assert len(list(check_site.faults(tmp_path))) == 1
    (tmp_path / "page.html").write_text("<script>fetch('//elsewhere.example')</script>", encoding="utf-8")
    assert list(check_site.faults(tmp_path)) == ["page.html: has no Content-Security-Policy"]
