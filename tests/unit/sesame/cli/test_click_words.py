"""Wrong usage is told in one language, click's own words included."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from sesame.cli.click_words import WORDS
from sesame.testing.servers.command import sesame

ENGLISH = re.compile(
    r"\b(?:error|try|help\.|missing|invalid|value for|no such|does|is not|requires|choose|did you)\b",
    re.IGNORECASE,
)
CLICK = "\n".join(
    re.sub(r'"\s*\n\s*"', "", path.read_text(encoding="utf-8"))
    for path in Path(click.__file__).parent.glob("*.py")
)


@pytest.mark.parametrize("words", WORDS)
def test_click_says_what_is_translated(words: str) -> None:
    """When a newer click words it otherwise, this tells."""
    assert f'"{words}"'.replace("\n", "\\n").replace("\t", "\\t") in CLICK


@pytest.mark.usefixtures("command_folder")
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("import absent.csv", "Erreur : Valeur incorrecte pour '[FILE]' : 'absent.csv' n'existe pas."),
        ("import . --dry-run", "Erreur : Valeur incorrecte pour '[FILE]' : '.' est un dossier."),
        ("import", "Erreur : Il manque l'argument FILE, ou l'option --groups FILE, ou les deux."),
        ("import --year deux", "'deux' n'est pas un nombre correct."),
        ("import --year 26", "26 n'est pas dans l'intervalle 1990<=x<=2100."),
        ("import --encoding latin", "'latin' n'est pas l'une de ces valeurs : 'utf-8', 'windows-1252',"),
        ("status", "Erreur : Il manque l'argument 'STUDENT'."),
        ("dead-letters show", "Erreur : Il manque l'argument"),
    ],
)
def test_wrong_usage_is_told_in_french(line: str, says: str) -> None:
    """The language is chosen wherever `--lang` stands."""
    before, behind = sesame("--lang", "fr", *line.split()), sesame(*line.split(), "--lang", "fr")
    for result in (before, behind):
        assert result.exit_code == 2
        assert says in result.stderr, result.stderr
        assert "Pour de l'aide : 'sesame" in result.stderr
        usage, _, rest = result.stderr.partition("\n")
        assert usage.startswith("Usage : ")
        assert not ENGLISH.search(rest), rest


@pytest.mark.usefixtures("command_folder")
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("import --enoding utf-8 x", "L'option '--enoding' n'existe pas. Vouliez-vous écrire '--encoding' ?"),
        ("import --year", "L'option '--year' demande une valeur."),
        ("import --full=yes", "L'option '--full' n'admet pas de valeur."),
        ("status 1 2 3", "Arguments en trop (2 3)"),
        ("nimporte", "La commande 'nimporte' n'existe pas."),
        ("activate", "Erreur : indiquez soit des numéros d'étudiant, soit --from, soit --all"),
    ],
)
def test_what_cannot_be_parsed_is_told_in_french(line: str, says: str) -> None:
    result = sesame("--lang", "fr", *line.split())
    assert result.exit_code == 2
    assert says in result.stderr, result.stderr


@pytest.mark.usefixtures("command_folder")
def test_without_a_language_it_is_english_as_click_has_it() -> None:
    result = sesame("import", "absent.csv")
    assert "Try 'sesame import --help' for help." in result.stderr
    assert "Error: Invalid value for '[FILE]': File 'absent.csv' does not exist." in result.stderr
