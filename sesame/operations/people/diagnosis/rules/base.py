"""A rule: words and duties as data, and a small function that finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any, Literal

from pipeline.status import ConsumerStatus, in_words
from schemas.language import Language, gettext
from sesame.operations.people.diagnosis.situation import Situation
from sesame.operations.people.diagnosis.words import rules_document, word

Weight = Literal["stops", "delays", "tells"]
"""Stops a service; only delays it, and resolves without help; or is worth knowing."""


@dataclass(frozen=True)
class Finding:
    """A rule that holds for a student.

    Attributes:
        service: which service it is about; `account`: all of them.
        evidence: what it was concluded from, for the support desk. May be personal.
        words: values named in the rule's sentences, for the student: nothing of others, nothing internal.
            A day is written in the reader's language.
        since: when that began, if it is known.
    """

    rule: str
    service: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, str | date] = field(default_factory=dict)
    since: datetime | None = None


@dataclass(frozen=True)
class Sentence:
    """A rule's words in one language: the cause, and what to do. `{names}` stand for a finding's `words`."""

    cause: str
    todo: str


@dataclass(frozen=True)
class Rule:
    """A rule's data; all but `sentences` (by language) are tokens of `words.toml`.

    Attributes:
        symptoms: what students complain of.
        who: who must act.
        delay: how long it takes then.
        leads_to: what the page links to under the cause; None: nothing.
        reasons: of waiting, retries and dead letters that this rule tells in its own words.
    """

    name: str
    weight: Weight
    symptoms: tuple[str, ...]
    who: str
    delay: str
    sentences: Mapping[Language, Sentence]
    leads_to: str | None = None
    reasons: tuple[str, ...] = ()


def said_by(consumer: ConsumerStatus) -> str:
    """A consumer's state in words, with the reason that it gave."""
    state, reason = word("states", consumer.state), in_words(consumer.reason)
    return gettext("{name}: {value}", name=state, value=reason) if reason else state


def read_back(s: Situation, target: str) -> dict[str, Any]:
    """Evidence: what the pipeline recorded of a target that no longer shows it."""
    found = s.target(target)
    return {
        "read back at version": found.version if found is not None else 0,
        "since": found.since if found is not None else None,
    }


def by_the_server() -> str:
    """Evidence: who has locked an account after wrong passwords."""
    return gettext("the server, after wrong passwords")


Judge = Callable[[Situation], Iterator[Finding]]

_JUDGES: dict[str, Judge] = {}


def rule(name: str) -> Callable[[Judge], Judge]:
    """Register a function as the judge of this rule."""

    def register(judge: Judge) -> Judge:
        if name in _JUDGES:
            raise ValueError(f"two functions judge {name}")
        _JUDGES[name] = judge
        return judge

    return register


def judges() -> Mapping[str, Judge]:
    """Every rule's function."""
    return _JUDGES


@cache
def all_rules() -> Mapping[str, Rule]:
    """Every rule's data, in the order in which they are shown."""
    return {
        name: Rule(
            name=name,
            weight=each["weight"],
            symptoms=tuple(each["symptoms"]),
            who=each["who"],
            delay=each["delay"],
            sentences={"fr": Sentence(**each["fr"]), "en": Sentence(**each["en"])},
            leads_to=each.get("leads_to"),
            reasons=tuple(each.get("reasons", ())),
        )
        for name, each in rules_document().items()
    }
