"""Meaning and next step of each reason and cause, in a line each.

The words are in `reasons.toml`, in each language; those of a connector are its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from consumers.kit import registration
from consumers.kit.reasons import Meaning, Reason, read_reasons
from schemas.language import LANGUAGES, Language

_WORDS = Path(__file__).with_name("reasons.toml")
_OTHERS_NEXT: Final[Mapping[Language, str]] = {
    "fr": "La suite à donner est indiquée par les abandons (sesame dead-letters).",
    "en": "See the dead letters for the remedy.",
}


@cache
def explanations() -> Mapping[str, Reason]:
    """All explained tokens: Sésame's own and those of the installed connectors."""
    return registration.reasons() | _own()


@cache
def _own() -> dict[str, Reason]:
    return read_reasons(_WORDS)


def explanation(token: str | None) -> Reason | None:
    """The explanation of a token; None: this version has none. Sésame's own tokens load no connector."""
    return (_own().get(token) or registration.reason(token)) if token else None


def explain(token: str | None) -> Reason:
    """Explain a token; one of another version of the program gets a plain text."""
    known = explanation(token)
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
    """The counts that need an operator, by consumer and reason or cause."""
    return {
        (consumer, token): count
        for counts in counted
        for (consumer, token), count in sorted(counts.items())
        if explain(token).who == "operator"
    }
