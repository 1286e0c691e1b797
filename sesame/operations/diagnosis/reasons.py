"""What each reason and cause means, and what happens next: one line each, for support and operators.

The words are in `reasons.toml`, in each language; those of Moodle stand beside the code that finds them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from consumers.moodle.causes import CauseKind, MoodleCause
from schemas.language import LANGUAGES, Language, spoken

_WORDS = Path(__file__).with_name("reasons.toml")
_KINDS = {CauseKind.WAIT: "waiting", CauseKind.RETRY: "retry", CauseKind.DEAD: "dead"}
_WHO = {"waiting": "operator", "retry": "nobody", "dead": "operator"}
_NEXT: Final[Mapping[str, Mapping[Language, str]]] = {
    "waiting": {
        "fr": "L'équipe informatique corrige dans Moodle ; une nouvelle vérification a lieu d'elle-même.",
        "en": "An operator mends it in Moodle; it is looked at again by itself.",
    },
    "retry": {"fr": "Un nouvel essai a lieu de lui-même.", "en": "It is tried again by itself."},
    "dead": {
        "fr": "L'équipe informatique corrige, puis relance.",
        "en": "An operator mends it, then replays.",
    },
}
_OTHERS_NEXT: Final[Mapping[Language, str]] = {
    "fr": "La suite à donner est indiquée par les échecs définitifs (sesame dead-letters).",
    "en": "See the dead letters for the remedy.",
}


@dataclass(frozen=True)
class Meaning:
    """What a token means, and what happens next or who must do what."""

    what: str
    next: str


@dataclass(frozen=True)
class Explanation:
    """A token in words.

    Attributes:
        kind: how a turn that ended so ended: waiting, retry or dead.
        where: the consumers that say it.
        words: by language.
        who: who must act: a token of `words.toml`.
        held_back: nothing is written until it ends: the target may have nothing of the student.
    """

    kind: str
    where: str
    words: Mapping[Language, Meaning]
    who: str = "nobody"
    held_back: bool = False

    @property
    def what(self) -> str:
        """What it means, in the language that is spoken."""
        return self.words[spoken()].what

    @property
    def next(self) -> str:
        """What happens next, or who must do what, likewise."""
        return self.words[spoken()].next

    def told(self, message: str) -> str:
        """A recorded message as it is shown: what the token means, then what is told beyond that, as it
        stands."""
        if spoken() == "en":
            return message
        more = self.beyond(message)
        return f"{self.what} [{more}]" if more else self.what

    def beyond(self, message: str) -> str:
        """What a recorded message tells beyond what the token means: messages begin with that, in English."""
        said = self.words["en"].what
        return message.removeprefix(said).strip(" []") if message.startswith(said) else message


@cache
def explanations() -> Mapping[str, Explanation]:
    """Every token that is explained."""
    document = tomllib.loads(_WORDS.read_text(encoding="utf-8"))
    return {token: _explanation(**each) for token, each in document.items()} | {
        cause.value: _of_moodle(cause) for cause in MoodleCause
    }


def _explanation(**fields: Any) -> Explanation:
    words = {language: Meaning(**fields.pop(language)) for language in LANGUAGES}
    return Explanation(words=words, **fields)


def _of_moodle(cause: MoodleCause) -> Explanation:
    kind = _KINDS[cause.kind]
    words = {language: Meaning(cause.explanations[language], _NEXT[kind][language]) for language in LANGUAGES}
    return Explanation(kind, "moodle", words, _WHO[kind], held_back=cause.kind is CauseKind.WAIT)


def explain(token: str | None) -> Explanation:
    """The explanation of a token; a plain one for a token of another version of the program."""
    known = explanations().get(token or "")
    if known is not None:
        return known
    name = (token or "unknown").replace("_", " ")
    what: dict[Language, str] = {
        "fr": f"Cause sans explication dans cette version : {token or 'inconnue'}.",
        "en": name[:1].upper() + name[1:] + ".",
    }
    words = {language: Meaning(what[language], _OTHERS_NEXT[language]) for language in LANGUAGES}
    return Explanation("", "", words, who="operator")


def for_operator(*counted: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """Of what was counted by consumer and reason or cause, what an operator must mend."""
    return {
        (consumer, token): count
        for counts in counted
        for (consumer, token), count in sorted(counts.items())
        if explain(token).who == "operator"
    }
