"""Texts of reason tokens (waiting, retry, dead letter): meaning and next step."""

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
    """A token's meaning, and what happens next or who must do what."""

    what: str
    next: str


@dataclass(frozen=True)
class Reason:
    """A token and its texts.

    Attributes:
        kind: how a turn with this token ended.
        words: by language.
        who: who must act: a token of `words.toml` (student, registrar, component, desk, operator …).
        held_back: nothing is written until it ends: the target may have nothing of the student.
        asks: it was changed at the target, and an operator may accept it as it is: a question.
        where: the consumers that use it; filled in when the connectors are put together.
    """

    kind: Kind | Literal[""]
    words: Mapping[Language, Meaning]
    who: str = "nobody"
    held_back: bool = False
    asks: bool = False
    where: str = ""

    @property
    def what(self) -> str:
        """The meaning, in the reader's language."""
        return self.words[spoken()].what

    @property
    def next(self) -> str:
        """What happens next, or who must do what, in the reader's language."""
        return self.words[spoken()].next

    def beyond(self, message: str) -> str:
        """The rest of a recorded message, which is in English, after the token's meaning."""
        said = self.words["en"].what
        return message.removeprefix(said).strip(" []") if message.startswith(said) else message

    def told(self, message: str) -> str:
        """Translate a recorded message's beginning, the token's meaning."""
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
    """A token with (meaning, what happens next) in each language.

    By default a retry needs no action, and other kinds an operator's.
    """
    who = who or ("nobody" if kind == "retry" else "operator")
    return Reason(kind, {"fr": Meaning(*fr), "en": Meaning(*en)}, who, held_back)


def read_reasons(path: Path) -> dict[str, Reason]:
    """Read a file of reasons. A table per token has `kind`, `who`, and texts by language."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return {token: _reason(**each) for token, each in document.items()}


def _reason(**fields: Any) -> Reason:
    words = {language: Meaning(**fields.pop(language)) for language in LANGUAGES}
    return Reason(words=words, **fields)
