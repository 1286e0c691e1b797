"""Alerts, the worst first: derived from the overview, for the top of the console."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sesame.operations.people.diagnosis.overview import Overview


class TroubleKind(StrEnum):
    """The kinds of alerts in the order of display: what stops every student first."""

    STOPPED = "stopped"  # no process works for a consumer
    QUARANTINED = "quarantined"
    MISCONFIGURED = "misconfigured"
    DOWN = "down"  # a target does not answer
    HANGING = "hanging"
    PAUSED = "paused"  # by an operator, who may have forgotten it
    FAILED = "failed"  # students were given up for one cause
    BREACHED = "breached"  # students under way for more than 60 minutes
    OPERATOR = "operator"  # students wait for something that an operator must mend
    SILENT = "silent"  # one of several processes gives no sign of life
    LATE = "late"  # students under way for more than 15 minutes


@dataclass(frozen=True)
class Trouble:
    """One alert.

    Attributes:
        consumer: where; empty: everywhere, or at several that `words` names.
        token: the cause or reason, if it has one.
        students: how many it concerns; 0: all.
        words: the consumer's own report.
        incident: the cause of most failures at a consumer that failed or is in quarantine: its page settles
            both.
    """

    kind: TroubleKind
    consumer: str = ""
    token: str = ""
    students: int = 0
    words: str = ""
    incident: str = ""


_STATES = {
    "absent": TroubleKind.STOPPED,
    "silent": TroubleKind.STOPPED,
    "stopped": TroubleKind.STOPPED,
    "quarantined": TroubleKind.QUARANTINED,
    "misconfigured": TroubleKind.MISCONFIGURED,
    "down": TroubleKind.DOWN,
    "open": TroubleKind.DOWN,
    "half_open": TroubleKind.DOWN,
    "hanging": TroubleKind.HANGING,
    "paused": TroubleKind.PAUSED,
}
"""The alert for each state of a consumer; `running` and `throttled` give none."""


def troubles(seen: Overview) -> list[Trouble]:
    """All alerts, the worst first: by kind, then by number of students."""
    found = [*_consumers(seen), *_failures(seen), *_overdue(seen)]
    order = list(TroubleKind)
    return sorted(found, key=lambda one: (order.index(one.kind), -one.students, one.consumer, one.token))


def _consumers(seen: Overview) -> Iterator[Trouble]:
    consumers = seen.consumers
    by_count = sorted(_named(seen.dead_letters_by_cause), key=lambda one: one[1])
    worst = {consumer: cause for (consumer, cause), _ in by_count}
    stopped = [name for name, one in consumers.items() if _STATES.get(one["state"]) is TroubleKind.STOPPED]
    if len(stopped) > 1:
        yield Trouble(TroubleKind.STOPPED, words=" ".join(stopped))
    for name, one in consumers.items():
        kind = _STATES.get(one["state"])
        if kind is TroubleKind.STOPPED and len(stopped) > 1:
            continue
        if kind is not None:
            incident = worst.get(name, "") if kind is TroubleKind.QUARANTINED else ""
            yield Trouble(kind, name, words=one["reason"], incident=incident)
            continue
        silent = [process["place"] for process in one["processes"] if process["silent"]]
        if silent:
            yield Trouble(TroubleKind.SILENT, name, words=", ".join(silent))


def _failures(seen: Overview) -> Iterator[Trouble]:
    given_up = dict(_named(seen.dead_letters_by_cause))
    for (consumer, cause), count in given_up.items():
        yield Trouble(TroubleKind.FAILED, consumer, cause, count, incident=cause)
    for (consumer, reason), count in _named(seen.for_operator):
        if (consumer, reason) not in given_up:
            yield Trouble(TroubleKind.OPERATOR, consumer, reason, count)


def _overdue(seen: Overview) -> Iterator[Trouble]:
    if seen.breached:
        yield Trouble(TroubleKind.BREACHED, students=seen.breached)
    if seen.late > seen.breached:
        yield Trouble(TroubleKind.LATE, students=seen.late - seen.breached)


def _named(counts: Mapping[str, int]) -> Iterator[tuple[tuple[str, str], int]]:
    for name, count in counts.items():
        consumer, _, token = name.partition(" ")
        yield (consumer, token), count
