"""Rules about the work: targets that are down, and late, retried or failed work."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from consumers.kit.passwords import SEAL_BROKEN
from pipeline.status import in_words
from schemas.account import Lane
from schemas.language import gettext
from sesame.acts.acts import utc, utc_or_none
from sesame.operations.people.diagnosis.person import CONSUMER_SILENT_AFTER_S, TargetStatus
from sesame.operations.people.diagnosis.reasons import explain
from sesame.operations.people.diagnosis.rules.base import Finding, all_rules, rule, said_by
from sesame.operations.people.diagnosis.situation import Situation
from sesame.operations.people.diagnosis.words import word

_DOWN = frozenset({"open", "down", "half_open", "hanging"})
_MISCONFIGURED, _THROTTLED, _QUARANTINED = "misconfigured", "throttled", "quarantined"
NOT_SCHEDULED = "timetable_not_scheduled"
BACKLOG_MIN = 50
"""From so many records on, a student learns that many others are served before."""


@rule("target_down")
def target_down(s: Situation) -> Iterator[Finding]:
    """The consumer found its target down: nothing is lost, and no attempt is charged."""
    yield from _by_state(s, "target_down", _DOWN)


@rule("target_misconfigured")
def target_misconfigured(s: Situation) -> Iterator[Finding]:
    """The target refuses Sésame itself."""
    yield from _by_state(s, "target_misconfigured", {_MISCONFIGURED})


@rule("target_throttled")
def target_throttled(s: Situation) -> Iterator[Finding]:
    """The target asked for a pause."""
    yield from _by_state(s, "target_throttled", {_THROTTLED})


@rule("target_paused")
def target_paused(s: Situation) -> Iterator[Finding]:
    """An operator keeps the consumer away from its target."""
    yield from _by_state(s, "target_paused", {"paused"})


@rule("target_quarantined")
def target_quarantined(s: Situation) -> Iterator[Finding]:
    """Too much work was given up in a short time: the consumer stopped."""
    yield from _by_state(s, "target_quarantined", {_QUARANTINED})


@rule("consumer_stopped")
def consumer_stopped(s: Situation) -> Iterator[Finding]:
    """No process works for this target."""
    for target in _due(s):
        consumer = s.consumers.get(target.target)
        silent = consumer is None or s.now.timestamp() - consumer.seen_at > CONSUMER_SILENT_AFTER_S
        if consumer is None or consumer.state == "stopped" or silent:
            seen_at = utc(consumer.seen_at) if consumer is not None else None
            said = said_by(consumer) if consumer is not None else gettext("never")
            evidence = {"last heard of": seen_at, "said": said}
            yield Finding("consumer_stopped", target.target, evidence, since=seen_at)


@rule("tried_again")
def tried_again(s: Situation) -> Iterator[Finding]:
    """A transient failure, parked."""
    for target in _due(s):
        parked = s.parked.get(target.target)
        if target.state != "retrying" or parked is None or target.reason in _told_by_rules():
            continue
        evidence = {
            "cause": parked.cause,
            "meaning": explain(parked.cause).what,
            "message": parked.message,
            "attempts": parked.attempts,
            "next attempt": utc_or_none(parked.due_at),
            "event": parked.event_id,
        }
        words = {"attempts": str(parked.attempts)}
        yield Finding("tried_again", target.target, evidence, words, utc(parked.first_at))


@rule("given_up")
def given_up(s: Situation) -> Iterator[Finding]:
    """A dead letter."""
    for letter in s.letters:
        target = s.target(letter.consumer)
        if letter.cause in _told_by_rules() or (target is not None and letter.cause == SEAL_BROKEN):
            continue  # a password that no key opens has another rule: the student sets a new one
        if target is not None and target.state != "failed":
            continue
        evidence = {
            "cause": letter.cause,
            "meaning": explain(letter.cause).what,
            "next": explain(letter.cause).next,
            "message": letter.message,
            "attempts": letter.attempts,
            "dead letter": letter.id,
            "event": letter.event_id,
        }
        yield Finding("given_up", letter.consumer, evidence, since=utc(letter.recorded_at))


@rule("waits_for_operator")
def waits_for_operator(s: Situation) -> Iterator[Finding]:
    """An operator must mend something at the target, which is then looked at again."""
    for target in _due(s):
        if target.state == "waiting" and target.reason not in _told_by_rules():
            evidence = {"reason": target.reason, "meaning": target.cause, "next": target.next}
            yield Finding("waits_for_operator", target.target, evidence, since=target.since)


@rule("timetable_not_scheduled")
def timetable_not_scheduled(s: Situation) -> Iterator[Finding]:
    """The timetable service has no calendar of this student yet, or no longer."""
    for target in s.status.targets if s.status is not None else ():
        seen = s.live.objects.get(target.target)
        waits = target.state == "waiting" and target.reason == NOT_SCHEDULED
        gone = target.state == "provisioned" and seen is not None and seen.obstacle == NOT_SCHEDULED
        if waits or gone:
            why = explain(NOT_SCHEDULED)
            evidence = {"reason": NOT_SCHEDULED, "meaning": why.what, "next": why.next}
            since = target.since if waits else None
            yield Finding("timetable_not_scheduled", target.target, evidence, since=since)


@rule("backlog")
def backlog(s: Situation) -> Iterator[Finding]:
    """Queued behind many others."""
    for target in _due(s):
        if target.state == "queued" and not _stopped(s, target) and _before(s, target) >= BACKLOG_MIN:
            lags = s.lags[target.target]
            evidence = {"records, personal": lags[Lane.PERSONAL], "records, bulk": lags[Lane.BULK]}
            opened = s.account.opened_at if s.account is not None else None
            yield Finding("backlog", target.target, evidence, since=opened)


@rule("on_its_way")
def on_its_way(s: Situation) -> Iterator[Finding]:
    """Queued, or after another target: the usual seconds."""
    opened = s.account.opened_at if s.account is not None else None
    for target in _due(s):
        leader = s.target(target.reason or "") if target.state == "after" else None
        if leader is not None and leader.state in ("waiting", "failed", "down"):
            continue  # that target has the cause
        if target.state == "queued" and _before(s, target) >= BACKLOG_MIN:
            continue
        if target.state in ("queued", "after") and not _stopped(s, target):
            waited = (s.now - opened).total_seconds() if opened is not None else 0.0
            state = word("states", target.state)
            evidence = {"state": state, "after": target.reason, "waited (s)": round(waited, 1)}
            yield Finding("on_its_way", target.target, evidence, since=opened)


@cache
def _told_by_rules() -> frozenset[str]:
    return frozenset(reason for rule in all_rules().values() for reason in rule.reasons)


def _due(s: Situation) -> Iterator[TargetStatus]:
    """Targets that do not have the newest account."""
    for target in s.status.targets if s.status is not None else ():
        if target.state not in ("provisioned", "not_opened", "not_entitled"):
            yield target


def _before(s: Situation, target: TargetStatus) -> int:
    """Upper bound of the records ahead of this student's. Personal work does not wait for bulk work."""
    lags = s.lags.get(target.target, {})
    bulk = lags.get(Lane.BULK, 0) if s.account is not None and s.account.lane is Lane.BULK else 0
    return lags.get(Lane.PERSONAL, 0) + bulk


def _by_state(s: Situation, name: str, states: frozenset[str] | set[str]) -> Iterator[Finding]:
    for target in _due(s):
        consumer = s.consumers.get(target.target)
        if target.state in ("failed", "waiting") or consumer is None or consumer.state not in states:
            continue
        if s.now.timestamp() - consumer.seen_at <= CONSUMER_SILENT_AFTER_S:
            evidence = {"state": word("states", consumer.state), "said": in_words(consumer.reason)}
            yield Finding(name, target.target, evidence, since=utc(consumer.since))


def _stopped(s: Situation, target: TargetStatus) -> bool:
    consumer = s.consumers.get(target.target)
    return consumer is None or consumer.state != "running"
