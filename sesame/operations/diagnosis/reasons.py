"""What each reason and cause means, and what happens next: one line each, for support and operators.

The words are in `reasons.toml`, in each language; those of Moodle stand beside the code that finds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from consumers.kit import registration
from consumers.kit.reasons import Kind, Meaning, Reason, read_reasons
from consumers.moodle.causes import CauseKind, MoodleCause
from schemas.language import LANGUAGES, Language

_WORDS = Path(__file__).with_name("reasons.toml")
_KINDS: Final[Mapping[CauseKind, Kind]] = {
    CauseKind.WAIT: "waiting",
    CauseKind.RETRY: "retry",
    CauseKind.DEAD: "dead",
}
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


@cache
def explanations() -> Mapping[str, Reason]:
    """Every token that Sésame explains itself, and those of the connectors that are installed."""
    return (
        registration.reasons()
        | read_reasons(_WORDS)
        | {cause.value: _of_moodle(cause) for cause in MoodleCause}
    )


def _of_moodle(cause: MoodleCause) -> Reason:
    kind = _KINDS[cause.kind]
    words = {language: Meaning(cause.explanations[language], _NEXT[kind][language]) for language in LANGUAGES}
    return Reason(kind, words, _WHO[kind], held_back=cause.kind is CauseKind.WAIT, where="moodle")


def explain(token: str | None) -> Reason:
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
    return Reason("", words, who="operator")


def for_operator(*counted: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """Of what was counted by consumer and reason or cause, what an operator must mend."""
    return {
        (consumer, token): count
        for counts in counted
        for (consumer, token), count in sorted(counts.items())
        if explain(token).who == "operator"
    }
