"""Reason tokens in words, for waiting, retries and dead letters.

One line for what it means, one for what happens next.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from schemas.language import LANGUAGES, Language, spoken

Kind = Literal["waiting", "retry", "dead"]


@dataclass(frozen=True)
class Meaning:
    """What a token means, and what happens next or who must do what."""

    what: str
    next: str


@dataclass(frozen=True)
class Reason:
    """A token in words.

    Attributes:
        kind: how a turn with this token ended.
        words: by language.
        who: who must act: a token of `words.toml` (student, registrar, component, desk, operator …).
        held_back: nothing is written until it ends: the target may have nothing of the student.
        where: the consumers that use it; filled in when the connectors are put together.
    """

    kind: Kind | Literal[""]
    words: Mapping[Language, Meaning]
    who: str = "nobody"
    held_back: bool = False
    where: str = ""

    @property
    def what(self) -> str:
        """What it means, in the language that is spoken."""
        return self.words[spoken()].what

    @property
    def next(self) -> str:
        """What happens next, or who must do what, in the same language."""
        return self.words[spoken()].next

    def beyond(self, message: str) -> str:
        """The part of a recorded message after the token's meaning, with which it begins.

        Recorded messages are in English.
        """
        said = self.words["en"].what
        return message.removeprefix(said).strip(" []") if message.startswith(said) else message

    def told(self, message: str) -> str:
        """Show a recorded message: the token's meaning, then the rest of it unchanged."""
        if spoken() == "en":
            return message
        more = self.beyond(message)
        return f"{self.what} [{more}]" if more else self.what

    def said_by(self, consumer: str) -> Reason:
        """Add this consumer to those that use the token."""
        return replace(self, where=f"{self.where}, {consumer}" if self.where else consumer)


def reason(
    kind: Kind, *, fr: tuple[str, str], en: tuple[str, str], who: str = "", held_back: bool = False
) -> Reason:
    """A token's words: (what it means, what happens next) in each language.

    By default a retry needs no action, and the rest is an operator's.
    """
    who = who or ("nobody" if kind == "retry" else "operator")
    return Reason(kind, {"fr": Meaning(*fr), "en": Meaning(*en)}, who, held_back)


def read_reasons(path: Path) -> dict[str, Reason]:
    """Read a file of reasons: one table per token.

    Each has `kind`, `who`, and `what` and `next` in each language.
    """
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return {token: _reason(**each) for token, each in document.items()}


def _reason(**fields: Any) -> Reason:
    words = {language: Meaning(**fields.pop(language)) for language in LANGUAGES}
    return Reason(words=words, **fields)
