"""Audit entries as sentences, whose parts a page can link."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.language import gettext, local_time, ngettext, spoken
from sesame.acts.acts import utc
from sesame.operations.people.diagnosis.reasons import explain
from sesame.operations.people.diagnosis.words import glossary, word

_PARTS: Final = re.compile(r"\[(?:(\w+):)?([^\]]*)\]|\{(\w+)\}|([^\[{]+)")
_FIELD: Final = re.compile(r"\{(\w+)\}")
_KINDS: Final = {
    **dict.fromkeys(("student_number", "other", "joined", "left"), "student"),
    **dict.fromkeys(("consumer", "target", "targets"), "consumer"),
    "replay_id": "replay",
    "import_id": "import",
    "erasure": "erasure",
    "plan": "plan",
    "file": "code",
    **dict.fromkeys(
        ("by_cause", "folder", "token", "name", "group", "code", "process", "scopes", "receiver"), "code"
    ),
}
_TABLES: Final = {"hold": "holds", "state": "states", "kind": "object_questions"}
_LISTED_MAX: Final = 3
"""More students are counted in a sentence."""

_APART: Final = frozenset({"reason_ref", "decision"})
_COUNTS: Final = ("students", "student_numbers", "student_number", "count")
"""The fields that tell which students, or how many."""


@dataclass(frozen=True)
class SentencePart:
    """Some words of a sentence.

    Attributes:
        kind: of what they name: student, students, consumer, cause, replay, import, erasure, plan, code; or
            nothing.
        key: its own name; of a cause `consumer/cause`, or the cause alone; of students their numbers.
    """

    text: str
    kind: str = ""
    key: str = ""


def sentence(action: str, detail: Mapping[str, Any]) -> list[SentencePart]:
    """What was done, without the actor; then the remaining details."""
    pattern = glossary()["acts"].get(action)
    if pattern is None:
        return [SentencePart(action, "code"), *_rest(detail, set())]
    told, used = _filled(pattern[spoken()], detail)
    return [*told, *_rest(detail, used)]


def as_text(action: str, detail: Mapping[str, Any]) -> str:
    """A sentence without links."""
    return "".join(
        f"{part.text} ({part.key})" if part.kind == "students" else part.text
        for part in sentence(action, detail)
    )


def brief(cause: str | None) -> str:
    """A cause in few words: in English its token, else its meaning's first sentence."""
    return (
        cause or "" if spoken() == "en" else re.split(r"[.;(]| :", explain(cause).what, maxsplit=1)[0].strip()
    )


def _filled(pattern: str, detail: Mapping[str, Any]) -> tuple[list[SentencePart], set[str]]:
    parts, used = list[SentencePart](), set[str]()
    for only_if, optional, field, plain in _PARTS.findall(pattern):
        if plain:
            parts.append(SentencePart(plain))
        elif field:
            used |= set(_COUNTS) & set(detail) if field == "students" else {field}
            parts += _students(detail) if field == "students" else _named(field, detail.get(field), detail)
        elif detail.get(only_if) if only_if else all(_has(detail, name) for name in _FIELD.findall(optional)):
            more, mentioned = _filled(optional, detail)
            parts, used = [*parts, *more], used | mentioned | {only_if}
    return parts, used


def _has(detail: Mapping[str, Any], field: str) -> bool:
    return any(detail.get(name) for name in (_COUNTS if field == "students" else (field,)))


def _students(detail: Mapping[str, Any]) -> Iterator[SentencePart]:
    """Each student of a few, or how many."""
    given = next((detail[name] for name in _COUNTS if detail.get(name)), 0)
    several = detail.get("student_numbers") or given
    if several == "all":
        yield SentencePart(gettext("all students"))
    elif isinstance(several, list) and len(several) > _LISTED_MAX:
        yield SentencePart(_counted(len(several)), "students", ", ".join(several))
    elif isinstance(several, list | str):
        yield from _several("student", _listed(several))
    else:
        yield SentencePart(_counted(int(given)))


def _counted(n: int) -> str:
    return ngettext("{n} student", "{n} students", n)


def _several(kind: str, names: list[Any]) -> Iterator[SentencePart]:
    for place, name in enumerate(names):
        if place:
            yield SentencePart(", ")
        yield SentencePart(str(name), kind, str(name))


def _named(field: str, value: Any, detail: Mapping[str, Any]) -> Iterator[SentencePart]:
    """A field's value, linked or in words; nothing if it is absent."""
    kind = _KINDS.get(field, "")
    if value is None:
        return
    if field == "cause":
        consumer = detail.get("consumer")
        yield SentencePart(brief(str(value)), "cause", f"{consumer}/{value}" if consumer else str(value))
    elif kind == "consumer":
        counts = value if isinstance(value, dict) else dict.fromkeys(_listed(value))
        for place, (name, counted) in enumerate(counts.items()):
            yield SentencePart(", " if place else "")
            yield SentencePart(_label(name), kind, name)
            yield SentencePart(f" ({_value(field, counted)})" if counted and _value(field, counted) else "")
    elif kind:
        yield from _several(kind, _listed(value))
    else:
        yield SentencePart(_value(field, value))


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _value(field: str, value: Any) -> str:
    """A value in words."""
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, dict):
        told = ((_label(name), _value(name, each)) for name, each in value.items() if each)
        return ", ".join(gettext("{name}: {value}", name=name, value=each) for name, each in told if each)
    if isinstance(value, list | tuple):
        return ", ".join(_value(field, each) for each in value)
    if field in ("since", "until") and isinstance(value, float):
        return local_time(utc(value))
    return word(_TABLES[field], str(value)) if field in _TABLES else str(value)


def _label(name: str) -> str:
    """The name of a detail, a difference, a target or a question."""
    if name in glossary()["services"] and name not in glossary()["audit"]:
        return name if spoken() == "en" else re.sub(r"^(L'|La |Le )", "", word("services", name))
    tables = ("audit", "differences", "evidence", "object_questions")
    return next((word(table, name) for table in tables if name in glossary()[table]), name)


def _rest(detail: Mapping[str, Any], used: set[str]) -> Iterator[SentencePart]:
    for name, value in detail.items():
        if name not in used | _APART and value not in (None, False, "", 0) and _value(name, value):
            yield SentencePart(f" · {gettext('{name}: {value}', name=_label(name), value='')}".rstrip() + " ")
            yield from _named(name, value, detail)
