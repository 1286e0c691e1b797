"""The diagnosis's texts in each language: rules and tokens (`words.toml`)."""

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
    """Texts of services, symptoms, states, labels: by kind, token and language."""
    return {kind: words for kind, words in _document().items() if kind != "rules"}


def word(kind: str, token: str, language: Language | None = None) -> str:
    """Text of a token, in the current language by default. An unknown token is returned as it is."""
    words = glossary()[kind].get(token)
    return token if words is None else words[language or spoken()]


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads(_WORDS.read_text(encoding="utf-8"))
