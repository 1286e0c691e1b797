"""The support desk reads one language: words of causes, labels of evidence, and a case, whoever opened it."""

from __future__ import annotations

import ast
import contextvars
import json
import re
import string
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from consumers.kit import registration
from consumers.moodle.causes import MoodleCause
from pipeline.db.database import Database
from pipeline.dead_letters.rows import DeadLetter
from pipeline.engine.circuit import CircuitState
from pipeline.errors import TargetDown
from schemas.account import Administrative, Hold, Pedagogical, Stage
from schemas.language import LANGUAGES, Language, gettext
from sesame.acts.ports import Diagnosable
from sesame.cli.languages import speak
from sesame.operations.people import diagnosis
from sesame.operations.people.diagnosis.engine import Diagnosis
from sesame.operations.people.diagnosis.live import LiveChecks
from sesame.operations.people.diagnosis.reasons import explain, explanations
from sesame.operations.people.diagnosis.rules.base import Finding
from sesame.operations.people.diagnosis.situation import Situation
from sesame.operations.people.diagnosis.words import glossary, word
from sesame.operations.people.support import Support, support_cases
from sesame.operations.people.support.bundle import SupportDesk, bundle_of
from sesame.operations.people.support.support_cases import SupportCase
from sesame.settings import Settings
from sesame.testing.servers.directory_kit import account
from sesame.testing.servers.narrowing import present

ROOM: Final = Path(diagnosis.__file__).parent
NOW: Final = datetime(2026, 7, 2, 12, 0, 0, tzinfo=UTC)
NUMBER: Final = "22600001"


def spoken_in(language: Language, said: Callable[[], str]) -> str:
    """What is said where this language is spoken."""

    def run() -> str:
        speak(language)
        return said()

    return contextvars.copy_context().run(run)


def test_a_recorded_message_is_told_by_its_cause_and_stands_apart() -> None:
    cause = explain("identity_collision")
    english, french = cause.words["en"].what, cause.words["fr"].what
    assert spoken_in("en", lambda: cause.told(f"{english} [uid=x]")) == f"{english} [uid=x]"
    assert spoken_in("fr", lambda: cause.told(f"{english} [uid=x]")) == f"{french} [uid=x]"
    assert spoken_in("fr", lambda: cause.told(english)) == french
    assert spoken_in("fr", lambda: cause.told("said by a server")) == f"{french} [said by a server]"


# --- words --------------------------------------------------------------------------------------------


def written() -> dict[str, dict[str, dict[str, str]]]:
    """The words of every reason and cause, as they stand in the files."""
    reasons = tomllib.loads((ROOM / "reasons.toml").read_text(encoding="utf-8"))
    theirs = {
        token: {lang: vars(words) for lang, words in each.words.items()}
        for one in registration.installed().values()
        for token, each in one.load().reasons.items()
    }
    return reasons | theirs


def test_every_reason_and_cause_has_its_words_in_both_languages() -> None:
    assert written().keys() == explanations().keys()
    for token, each in written().items():
        for part, english in each["en"].items():
            french = each["fr"][part]
            assert english.strip(), token
            assert french.strip(), token
            assert french != english, token
            assert re.findall(r"\S[;!?]|\w:(?=\s)|  |\"", french) == [], (token, french)
            assert french[-1] in ".)", (token, french)


def test_a_cause_is_explained_in_the_language_that_is_spoken() -> None:
    def said() -> str:
        full, other = explain("mailbox_full"), explain("of_another_version")
        return f"{full.what} {other.what} {explain('moodle_busy').next}"

    assert spoken_in("en", said) == (
        "The mailbox is over its quota. Of another version. It is tried again by itself."
    )
    assert spoken_in("fr", said) == (
        "La boîte aux lettres dépasse son quota. Cause sans explication dans cette version : "
        "of_another_version. Un nouvel essai a lieu de lui-même."
    )


@pytest.mark.parametrize(
    ("message", "beyond"),
    [
        (MoodleCause.DUPLICATE_COHORT.explanation, ""),
        (f"{MoodleCause.DUPLICATE_COHORT.explanation} [L1-2026]", "L1-2026"),
        ("two cohorts [a] and [b]", "two cohorts [a] and [b]"),
        ("", ""),
    ],
)
def test_a_recorded_message_is_not_told_twice(message: str, beyond: str) -> None:
    assert explain("moodle_duplicate_cohort").beyond(message) == beyond


def labels() -> set[str]:
    """Every name under which a rule gives evidence or words: the keys of what it makes."""
    found = set[str]()
    for file in (*(ROOM / "rules").glob("*.py"), ROOM / "engine.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            keys = node.keys if isinstance(node, ast.Dict) else ()
            found |= {
                key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
    return found


def sentence_fields() -> set[str]:
    rules = tomllib.loads((ROOM / "words.toml").read_text(encoding="utf-8"))["rules"].values()
    texts = [text for each in rules for language in LANGUAGES for text in each[language].values()]
    return {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_label_of_evidence_has_words_and_no_other_has() -> None:
    evidence = glossary()["evidence"]
    assert "wrong passwords" in labels()
    assert labels() - evidence.keys() - sentence_fields() - set(LANGUAGES) == set()
    assert evidence.keys() - labels() == set()


def tokens() -> Iterator[tuple[str, str]]:
    yield from (("states", state) for state in CircuitState if state is not CircuitState.CLOSED)
    shown = (ROOM / "pages.py").read_text(encoding="utf-8")
    yield from (("states", token) for token in re.findall(r"^\| `(\w+)` \|", shown, re.MULTILINE))
    for kind, members in (
        ("stages", Stage),
        ("holds", Hold),
        ("administrative", Administrative),
        ("pedagogical", Pedagogical),
        ("weights", ("stops", "delays", "tells")),
        ("languages", LANGUAGES),
    ):
        yield from ((kind, str(member)) for member in members)


def test_every_token_that_people_see_has_words_in_both_languages() -> None:
    every = list(tokens())
    assert ("states", "not_opened") in every
    for kind, token in every:
        assert set(glossary()[kind][token]) == set(LANGUAGES), (kind, token)
    assert word("states", "of_another_version", "fr") == "of_another_version"


# --- looks at servers ---------------------------------------------------------------------------------


class Away:
    """A site whose directory is away, and says so in the language of whoever asks."""

    settings = Settings(targets=("directory",))

    def directory(self) -> None:
        raise TargetDown(gettext("nothing"))


def test_a_server_s_fault_is_told_in_the_language_of_the_command() -> None:
    looks = LiveChecks(cast("Diagnosable", Away()))

    def said() -> str:
        return looks.look(account(NUMBER)).unseen["directory"]

    assert (spoken_in("fr", said), spoken_in("en", said)) == ("rien", "nothing")


# --- a case -------------------------------------------------------------------------------------------


def found() -> Diagnosis:
    letter = DeadLetter(
        "abcdef0123456789", "moodle", NUMBER, 2, "moodle_duplicate_cohort", "held", 1, 1.0, event_id="e7"
    )
    situation = Situation(NUMBER, NOW, letters=(letter,), account=account(NUMBER, activated_at=NOW))
    return Diagnosis(situation, (Finding("given_up", "moodle", {"cause": letter.cause}),), live=False)


DESK: Final = SupportDesk("DSI", "dsi@desk.example", timezone="Europe/Paris")
FRENCH: Final = (
    "Dossier ABCDE-12345, pour DSI",
    "Numéro d’étudiant\u00a0: 22600001",
    "Constaté\u00a0: 02/07/2026 14:00:00 (heure de Europe/Paris), langue de la page\u00a0: anglais",
    "(Moodle, l’équipe informatique)",
    "compte activé",
    "Moodle\u00a0: abandonné (moodle_duplicate_cohort)",
    "Erreurs exactes",
    "abandon abcdef012345",
)
ENGLISH: Final = (
    "Case ABCDE-12345, for DSI",
    "Student number: 22600001",
    "Found: 2026-07-02 14:00:00 (Europe/Paris time), language of the page: English",
    "(Moodle, the IT team)",
    "account activated",
    "Moodle: given up (moodle_duplicate_cohort)",
    "Exact errors",
    "dead letter abcdef012345",
)


@pytest.mark.parametrize(("language", "there", "absent"), [("fr", FRENCH, ENGLISH), ("en", ENGLISH, FRENCH)])
def test_a_case_speaks_one_language(
    language: Language, there: tuple[str, ...], absent: tuple[str, ...]
) -> None:
    bundle = bundle_of(found(), code="ABCDE12345", language=language, page_language="en")
    text = bundle.text(DESK)
    assert [part for part in there if part not in text] == []
    assert [part for part in absent if part in text] == []


@pytest.fixture
def site(database: Database) -> Diagnosable:
    settings = Settings(targets=("directory",))
    return cast("Diagnosable", SimpleNamespace(database=database, settings=settings, follows={}))


def test_a_case_is_read_in_the_language_of_whoever_reads_it(site: Diagnosable) -> None:
    support = Support(site)
    opened = support.open("99999999", "en", said="it says 403")
    assert "Student number: 99999999" in opened.text
    assert support.mine(opened.code, "99999999", "en") == opened
    desk, _ = support.look(opened.code, "fr", actor="desk")
    assert "Numéro d’étudiant\u00a0: 99999999" in desk.text
    assert "langue de la page\u00a0: anglais" in desk.text
    assert "it says 403" in desk.text
    assert desk.bundle.causes[0].who == "la scolarité"
    assert present(support.recent("99999999", "fr")).text == desk.text


def test_a_case_that_was_kept_in_one_language_is_read_still(site: Diagnosable) -> None:
    made: dict[str, Any] = json.loads(
        bundle_of(found(), code="ABCDE12345", language="fr", page_language="fr").model_dump_json()
    )
    del made["page_language"]
    case = SupportCase("ABCDE12345", NUMBER, 1.0, 9e9, json.dumps(made))
    with site.database.write() as connection:
        support_cases.add(connection, case)
    read = Support(site).mine("ABCDE-12345", NUMBER, "en")
    assert "Numéro d’étudiant" in read.text
    assert replace(read, sent=True).code == "ABCDE-12345"
