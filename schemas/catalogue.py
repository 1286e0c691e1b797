"""The topics: the event types that travel on each, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from schemas import events as e
from schemas.account import Lane

DAY_S = 86_400


@dataclass(frozen=True)
class Topic:
    """One topic of the log. Records are keyed by student number and partitioned by that key."""

    name: str
    types: tuple[type[e.Event], ...]
    retention_s: int
    personal_data: bool
    carries: str


_REGISTRAR = (e.EnrolmentRecorded, e.EnrolmentCancelled, e.TeachingsRecorded)
_FACTS = (
    e.ActivationRequested,
    e.CredentialChanged,
    e.PreferenceChanged,
    e.HoldPlaced,
    e.HoldLifted,
    e.ProlongationRequested,
    e.IdentityDecided,
    e.CanaryReset,
    e.ReplayRequested,
)
_OUTCOMES = (e.TargetProvisioned, e.TargetWaiting, e.TargetFailed)
_PROPAGATION = (e.PropagationCompleted, e.PropagationLate, e.PropagationBreached)

ENROLMENTS = "sesame.enrolments"
ACTIVATIONS = "sesame.activations"
ACCOUNTS = "sesame.accounts"
OUTCOMES = "sesame.outcomes"
PROPAGATION = "sesame.propagation"
DEAD_LETTERS = "sesame.dead-letters"
BULK = ".bulk"

TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(ENROLMENTS, _REGISTRAR, 14 * DAY_S, True, "registrar's facts"),
        Topic(ACTIVATIONS, _FACTS, 30 * DAY_S, False, "acts of persons"),
        Topic(ACTIVATIONS + BULK, _FACTS, 30 * DAY_S, False, "acts on many at once"),
        Topic(ACCOUNTS, (e.AccountChanged,), 30 * DAY_S, False, "whom, and which version"),
        Topic(ACCOUNTS + BULK, (e.AccountChanged,), 30 * DAY_S, False, "whom, and which version, in bulk"),
        Topic(OUTCOMES, _OUTCOMES, 30 * DAY_S, False, "what each target reached"),
        Topic(OUTCOMES + BULK, _OUTCOMES, 30 * DAY_S, False, "what each target reached, in bulk"),
        Topic(PROPAGATION, _PROPAGATION, 400 * DAY_S, False, "completion, lateness, breach"),
        Topic(DEAD_LETTERS, (e.DeadLetterRecorded, e.DeadLetterResolved), 400 * DAY_S, False, "dead letters"),
    )
}


def by_lane(topic: str, lane: Lane) -> str:
    """The topic of `topic`'s family that this lane's records travel on."""
    return topic + BULK if lane is Lane.BULK else topic


def both_lanes(topic: str) -> tuple[str, str]:
    """The personal topic and its bulk twin, in that order."""
    return topic, topic + BULK


@cache
def lane_of(topic: str) -> Lane:
    """Return the lane of a topic's records: the registrar's facts come in batches."""
    return Lane.BULK if topic.endswith(BULK) or topic == ENROLMENTS else Lane.PERSONAL
