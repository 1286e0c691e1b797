"""The words of the diagnosis in each language: its rules, and what people read for tokens (`words.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from schemas.language import Language, spoken

_WORDS = Path(__file__).with_name("words.toml")


def rules_document() -> Mapping[str, Any]:
    """Every rule's data, in the order in which they are shown."""
    rules: Mapping[str, Any] = _document()["rules"]
    return rules


@cache
def glossary() -> Mapping[str, Mapping[str, Mapping[Language, str]]]:
    """The words for services, symptoms, states, labels and so on: by kind, token and language."""
    return {kind: words for kind, words in _document().items() if kind != "rules"}


def word(kind: str, token: str, language: Language | None = None) -> str:
    """What people read for a token, in the language that is spoken if none is named; the token itself, if it
    has no word: it may be another version's."""
    words = glossary()[kind].get(token)
    return token if words is None else words[language or spoken()]


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads(_WORDS.read_text(encoding="utf-8"))
