"""The language of commands: what chooses it, and that French has everything that English has."""

from __future__ import annotations

import ast
import contextvars
import json
import re
import string
from pathlib import Path
from typing import Final

import click
import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from schemas.language import gettext, ngettext, spoken
from sesame.cli import languages, main
from sesame.cli.languages import paragraphs, speak
from sesame.cli.man_page import walk
from sesame.settings.load import CONFIG_VARIABLE, USUAL_FILES
from sesame.testing.servers.command import sesame

ROOT: Final = Path(__file__).parents[3]
ROOMS: Final = ("schemas", "pipeline", "producers", "consumers", "sesame")
KEYWORDS: Final = {"gettext": None, "ngettext": (1, 2), "gettext_noop": None}
CATALOGUE: Final = ROOT / "sesame" / "locale" / "fr.po"


def in_code() -> set[object]:
    """What is marked for the catalogue. Babel's own reading of the code is the judge."""
    found = set[object]()
    for room in ROOMS:
        for _, _, message, _, _ in extract_from_dir(ROOT / room, [("**.py", "python")], keywords=KEYWORDS):
            found.add(message)
    return found


def of_errors() -> set[object]:
    """What kinds of errors say of themselves, and their remedies: an error's words are its docstring."""
    classes = [
        node
        for room in ROOMS
        for file in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    errors, before = {"SesameError"}, set[str]()
    while errors != before:
        before = set(errors)
        errors |= {each.name for each in classes for base in each.bases if ast.unparse(base) in before}
    found = set[object]()
    for each in classes:
        if each.name in errors:
            found.add(" ".join((ast.get_docstring(each) or "").split()))
            for line in each.body:
                match line:
                    case ast.Assign(targets=[ast.Name("remedy")], value=ast.Constant(str(words))):
                        found.add(words)
    return found


def of_helps() -> set[object]:
    """What commands and their options say of themselves: a paragraph of a docstring, an option's help."""
    found = set[object]()
    for context in walk(main, "sesame"):
        found.update(paragraphs(context.command.help or ""))
        found.update(each.help for each in context.command.params if isinstance(each, click.Option))
    return found - {"", None}


def catalogue() -> dict[object, object]:
    with CATALOGUE.open("rb") as file:
        return {message.id: message.string for message in read_po(file, abort_invalid=True) if message.id}


def test_french_has_every_text_of_the_code_and_no_other() -> None:
    found, there = [in_code(), of_errors(), of_helps()], set(catalogue())
    assert all(found)
    marked = set[object]().union(*found)
    assert sorted(map(str, marked - there)) == []
    assert sorted(map(str, there - marked)) == []


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_french_fills_in_what_english_does() -> None:
    for english, french in catalogue().items():
        one, several = english if isinstance(english, tuple) else (english, english)
        for text in french if isinstance(french, tuple) else (french,):
            assert text.strip(), english
            if "{" in one:
                assert fields(text) | {"n"} == fields(one) | fields(several) | {"n"}, english


FRENCH: Final = (
    CATALOGUE,
    *ROOT.glob("docs/fr/*.md"),
    *ROOT.glob("sesame/**/*.toml"),
    *ROOT.glob("sesame/web/**/*.html"),
)
MISLEADS: Final = re.compile(r"\b(retenue?s?|reti(?:ent|endra)|retenir|mise?s? en attente)\b", re.IGNORECASE)
"""What the guard holds is *bloqué, à approuver*; these read as accepted, or as if time settled it."""


@pytest.mark.parametrize("file", FRENCH, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_the_guard_holds_has_one_word_in_french(file: Path) -> None:
    assert MISLEADS.findall(file.read_text(encoding="utf-8")) == []


GLOSSARY: Final = (
    (r"\bdead letters?\b", r"\babandon", r"échecs? définitif|lettres? mortes?"),
    (r"\btargets?\b", r"\bcible|\bTARGET\b", r"\b(?:le|un|du|au|ce|chaque|aucun|les|des|ces) services?\b"),
    (r"\breasons?\b", r"\bmotif", r"\braison"),
    (r"\ba hold\b|\bother holds\b", r"\bblocage", r"\bsuspension\b|\bretenue\b"),
)
"""Of what English says: the French word, and words that are another's."""

NAMES: Final = re.compile(r"`[^`]*`|\{[^}]*\}|--?[\w-]+|\b\w+/\S+")


def test_french_has_one_word_for_one_thing() -> None:
    wrong = list[str]()
    counted = dict.fromkeys(GLOSSARY, 0)
    for english, french in catalogue().items():
        said, told = (
            NAMES.sub("", " / ".join(each) if isinstance(each, tuple) else str(each))
            for each in (english, french)
        )
        for entry in GLOSSARY:
            word, ours, others = entry
            if re.search(word, said, re.IGNORECASE):
                counted[entry] += 1
                if not re.search(ours, told, re.IGNORECASE) or re.search(others, told, re.IGNORECASE):
                    wrong.append(f"{ours}: {french}")
    assert wrong == [], "\n".join(wrong)
    assert min(counted.values()) > 2


def test_a_number_of_things_is_said_as_each_language_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [ngettext("{n} line", "{n} lines", n) for n in (0, 1, 2)] == ["0 lines", "1 line", "2 lines"]
    assert gettext("at most {n}: {what}", n=3, what="{braces}") == "at most 3: {braces}"
    assert gettext("as it {stands}") == "as it {stands}"
    assert gettext("") == ""

    def french() -> str:
        speak("fr")
        return f"{spoken()} {gettext('interrupted')} {gettext('in no catalogue')}"

    assert contextvars.copy_context().run(french) == "fr interrompu in no catalogue"
    assert spoken() == "en"


MISSING: Final = {"en": "there is no ", "fr": " n'existe pas ; réglages : "}


@pytest.mark.usefixtures("command_folder")
@pytest.mark.parametrize(
    ("words", "setting", "environment", "expected"),
    [
        ((), None, {}, "en"),
        ((), None, {"LANG": "fr_FR.UTF-8"}, "fr"),
        ((), None, {"LANG": "fr_FR.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ((), None, {"LANG": "de_DE.UTF-8", "LC_MESSAGES": "fr"}, "fr"),
        ((), None, {"LANG": "frr_DE.UTF-8"}, "en"),
        ((), "fr", {"LANG": "en_GB.UTF-8"}, "fr"),
        ((), "en", {"LANG": "fr_FR.UTF-8"}, "en"),
        (("--lang", "en"), "fr", {"LANG": "fr_FR.UTF-8"}, "en"),
        (("--lang=fr",), "en", {}, "fr"),
    ],
)
@pytest.mark.parametrize("behind", [False, True], ids=["before the command", "behind it"])
def test_a_command_speaks_the_language_of_the_option_the_setting_or_the_locale(
    words: tuple[str, ...],
    setting: str | None,
    environment: dict[str, str],
    expected: str,
    behind: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if setting is not None:
        monkeypatch.setenv("SESAME_LANGUAGE", setting)
    monkeypatch.setenv("SESAME_DATA_DIR", "/nonexistent")
    command = ("identities", "list")
    result = sesame(*command, *words) if behind else sesame(*words, *command)
    assert MISSING[expected] in result.stderr, result.stderr
    assert result.exit_code == 1


ENGLISH_HELP: Final = re.compile(r"\b(?:the|of|and|this|who|is|options:|commands:|default:)\b")


@pytest.mark.usefixtures("command_folder")
@pytest.mark.parametrize(
    "words", [context.command_path.split()[1:] for context in walk(main, "sesame")], ids=" ".join
)
def test_a_help_is_in_the_language_that_is_asked_for(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "_help_option", None)  # as in a process that has said nothing yet
    for line in (("--lang", "fr", *words, "--help"), (*words, "--lang", "fr", "--help")):
        result = sesame(*line)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith("Usage : sesame")
        assert "Affiche cette aide." in result.stdout
        said = re.sub(r"`[^`]*`|[.\w-]*[-.=][.\w-]*", "", result.stdout)
        assert not ENGLISH_HELP.search(said.lower()), result.stdout
    assert "Show this message and exit." in sesame(*words, "--help").stdout, "and not the one before it"
    assert spoken() == "en"


@pytest.mark.usefixtures("command_folder")
@pytest.mark.parametrize(
    "line", ["--help", "hold --help", "import --help", "hold place --help", "--nimporte"]
)
def test_the_setting_and_the_locale_choose_the_language_of_what_needs_no_settings(
    line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def told(*options: str) -> str:
        result = sesame(*options, *line.split())
        return result.stdout + result.stderr

    french = {"Usage : sesame", "Affiche cette aide."} if "help" in line else {"n'existe pas"}
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    assert not any(each in told() for each in french)
    settings = tmp_path / "other.toml"
    settings.write_text('language = "fr"\n', encoding="utf-8")
    assert all(each in told("--config", str(settings)) for each in french)
    assert not any(each in told("--config", str(settings), "--lang=en") for each in french)
    Path("sesame.toml").write_text('language = "fr"\n', encoding="utf-8")
    assert all(each in told() for each in french)
    Path("sesame.toml").write_text("language = {", encoding="utf-8")
    assert not any(each in told() for each in french), "what is wrong with the file is told when it is used"
    monkeypatch.setenv("SESAME_LANGUAGE", "fr")
    assert all(each in told() for each in french)
    monkeypatch.setenv("SESAME_LANGUAGE", "en")
    monkeypatch.setenv("LANG", "fr_FR.UTF-8")
    assert not any(each in told() for each in french)
    monkeypatch.delenv("SESAME_LANGUAGE")
    assert all(each in told() for each in french)


def test_the_settings_file_is_looked_for_where_the_settings_are() -> None:
    """Known without loading what reads them: it is written twice."""
    assert (languages.CONFIG_VARIABLE, languages.USUAL_FILES) == (CONFIG_VARIABLE, USUAL_FILES)


@pytest.mark.usefixtures("command_folder")
def test_what_machines_read_has_no_language() -> None:
    english, french = sesame("version", "--json"), sesame("--lang", "fr", "version", "--json")
    assert json.loads(english.stdout) == json.loads(french.stdout)
    assert spoken() == "en"
