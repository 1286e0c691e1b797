"""The pages that stand in French too: they say what the English ones say, and each leads to the other."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextvars import copy_context
from pathlib import Path
from typing import Final

import pytest

from producers.registrar.faults import REMEDIES
from producers.registrar.sheets import MEANINGS
from schemas.language import gettext
from sesame.cli.languages import speak
from tests.docs.documents import ROOT, commands, words_in_code

FRENCH: Final = ROOT / "docs" / "fr"
TWINS: Final = {
    "identites-douteuses.md": "how-to/settle-doubtful-identities.md",
    "importer-chaque-nuit.md": "how-to/import-nightly.md",
    "repondre-a-un-etudiant.md": "how-to/answer-a-student.md",
    "lignes-refusees.md": "reference/rejections.md",
}
"""The French page, and the English one, below `docs`."""

PAIRS: Final = {f"docs/fr/{mine}": f"docs/{theirs}" for mine, theirs in TWINS.items()} | {
    "README.fr.md": "README.md"
}
pages = pytest.mark.parametrize(("french", "english"), PAIRS.items(), ids=PAIRS.keys())


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def typed(page: str) -> list[list[str]]:
    """Every command of the page, without what is free text in it."""
    found = []
    for program in ("sesame", "python", "python3", "pip", "make", "git", "apt-get"):
        for where, words in commands(program):
            if where.startswith(f"{page}, "):
                after_reason = {n + 1 for n, word in enumerate(words) if word == "--reason"}
                found.append([program, *(word for n, word in enumerate(words) if n not in after_reason)])
    return found


def names(page: str) -> set[str]:
    """Settings, options, tokens and attributes that the page's prose names; words that are free are not."""
    exact = re.compile(r"--[a-z-]+|[a-z]+[._][a-z_.]+|[a-z]+(-[a-z]+)+|[a-z]+[A-Z][A-Za-z]+|\[[a-z]+\]")
    return {text for where, text in words_in_code() if where == page and exact.fullmatch(text)}


@pages
def test_each_page_leads_to_its_twin(french: str, english: str) -> None:
    to_english = os.path.relpath(english, Path(french).parent)
    to_french = os.path.relpath(french, Path(english).parent)
    assert f"\n*[In English]({to_english})*\n" in text_of(ROOT / french)
    assert f"\n*[En français]({to_french})*\n" in text_of(ROOT / english)


def test_every_french_page_has_a_twin_and_stands_in_the_index() -> None:
    index = text_of(ROOT / "docs" / "README.md")
    there = {path.name for path in FRENCH.glob("*.md")}
    assert there == TWINS.keys() | ALONE
    assert [name for name in there if f"(fr/{name})" not in index] == []


ALONE: Final = frozenset(
    {
        "activer-son-compte.md",
        "cartes-esup-sgc.md",
        "fichiers-du-bureau.md",
        "groupes-pour-l-emploi-du-temps.md",
        "liste-pix-orga.md",
        "personnel-et-invites.md",
        "qui-a-quel-service.md",
        "revue-et-preuves.md",
    }
)
"""French pages without a twin: for students, of software that is France's alone, by the console's pages."""


@pages
def test_the_commands_are_the_same(french: str, english: str) -> None:
    mine, theirs = typed(french), typed(english)
    assert mine
    assert mine == theirs


@pages
def test_the_same_settings_options_and_words_are_named(french: str, english: str) -> None:
    assert names(french) ^ names(english) <= {"language", "--lang"}


@pages
def test_headings_and_rows_of_tables_are_as_many(french: str, english: str) -> None:
    def shape(path: Path) -> list[str]:
        prose = re.sub(r"^```.*?^```$", "", text_of(path), flags=re.MULTILINE | re.DOTALL)
        return [found[0].strip() for found in re.findall(r"^(#+ |\|(?!-))", prose, re.MULTILINE)]

    assert shape(ROOT / french) == shape(ROOT / english)


def french(words: Mapping[str, str]) -> list[tuple[str, str]]:
    """These words as the commands say them in French."""

    def said() -> list[tuple[str, str]]:
        speak("fr")
        return [(name, gettext(text)) for name, text in words.items()]

    return copy_context().run(said)


def test_each_remedy_is_what_the_rejects_file_says_in_french() -> None:
    rows = re.findall(
        r"^\| `([a-z_]+)` \|.*\| (.*) \|$", text_of(FRENCH / "lignes-refusees.md"), re.MULTILINE
    )
    assert rows == french({fault.value: remedy for fault, remedy in REMEDIES.items()})


def test_each_change_means_what_the_file_of_affected_people_says_in_french() -> None:
    rows = re.findall(
        r"^\| `([a-z_]+)` \| (.*) \|$", text_of(FRENCH / "importer-chaque-nuit.md"), re.MULTILINE
    )
    assert rows == french({change.value: meaning for change, meaning in MEANINGS.items()})


@pytest.mark.parametrize(
    "page", sorted([*FRENCH.glob("*.md"), *ROOT.glob("*.fr.md")]), ids=lambda page: page.name
)
def test_the_typography_is_french(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"`[^`]*`|\]\([^)]*\)|\*\[In English\]", "", prose)
    assert re.findall(r".*\w[;:?!](?:\s|$).*", prose) == []  # a blank before them
    assert [sign for sign in "\u2014\u2019\u00a0\u202f" if sign in prose] == []


def test_the_demos_table_is_the_same_in_both_readmes() -> None:
    tables = [
        re.findall(r"<!-- demo-table -->.*?<!-- /demo-table -->", text_of(ROOT / name), re.DOTALL)
        for name in ("README.md", "README.fr.md")
    ]
    assert len(tables[0]) == 1
    assert tables[0] == tables[1]
