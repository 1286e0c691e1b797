"""Rules about the target of any installed connector.

They look at the preview of a turn: the kit has already compared, and names fields, never values.
"""

from __future__ import annotations

from collections.abc import Iterator

from consumers.kit.handler import ACCESS, OBJECT
from pipeline.target import Preview
from sesame.acts.acts import utc
from sesame.operations.people.diagnosis.reasons import explain
from sesame.operations.people.diagnosis.rules.base import Finding, by_the_server, read_back, rule
from sesame.operations.people.diagnosis.situation import IN_THE_WAY, Situation


@rule("object_missing")
def object_missing(s: Situation) -> Iterator[Finding]:
    """The object was read back once, and is gone."""
    for name, seen in _should_work(s):
        if OBJECT in seen.differs:
            yield Finding("object_missing", name, {**read_back(s, name), **_repair(s, name)})


@rule("object_ambiguous")
def object_ambiguous(s: Situation) -> Iterator[Finding]:
    """Another object there has this student's number, login or one of the addresses."""
    for name, seen in _should_work(s):
        if seen.obstacle in IN_THE_WAY:
            why = explain(seen.obstacle)
            evidence = {"cause": seen.obstacle, "meaning": why.what, "next": why.next}
            yield Finding("object_ambiguous", name, evidence)


@rule("object_shut")
def object_shut(s: Situation) -> Iterator[Finding]:
    """Shut by hand: no hold of ours explains it."""
    for name, seen in _should_work(s):
        if ACCESS in seen.differs:
            yield Finding("object_shut", name, _repair(s, name))


@rule("object_locked")
def object_locked(s: Situation) -> Iterator[Finding]:
    """The target has shut it after wrong passwords."""
    for name, seen in _should_work(s):
        if seen.locked_at is not None:
            since = utc(seen.locked_at)
            yield Finding("object_locked", name, {"locked": since, "by": by_the_server()}, since=since)


@rule("object_changed")
def object_changed(s: Situation) -> Iterator[Finding]:
    """Fields of ours differ from the account: another writer changes them."""
    for name, seen in _should_work(s):
        fields = [field for field in seen.differs if field != ACCESS]
        if fields and OBJECT not in fields:
            yield Finding("object_changed", name, {"differs": ", ".join(fields), **_repair(s, name)})


def _should_work(s: Situation) -> Iterator[tuple[str, Preview]]:
    return ((name, seen) for name, seen in s.live.objects.items() if s.should_work(name) is not None)


def _repair(s: Situation, target: str) -> dict[str, str]:
    return {"replay": f"sesame replay --consumer {target} --student {s.number}"}
