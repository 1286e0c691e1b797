"""Every event that travels on the log, as typed models. The JSON Schemas are generated from these.

An event says *whom* and *which version*; only the registrar's facts say *who they are*. Times are in UTC,
durations in seconds. The envelope (id, source, time) is CloudEvents', in `schemas.envelope`.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from schemas.account import (
    Administrative,
    Hold,
    Lane,
    Model,
    Pedagogical,
    Stage,
    StudentNumber,
)

TYPE_PREFIX = "fr.sesame."

Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Code = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:+/ -]*$")
]
Token = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]  # a reason, a cause, a target
Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]  # names a secret, is none
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Seconds = Annotated[float, Field(ge=0)]
Version = Annotated[int, Field(ge=1)]
Year = Annotated[int, Field(ge=1990, le=2100)]
Language = Literal["fr", "en"]


class Event(Model):
    """What every event's data carries: the student number, which is also the record's key."""

    type: ClassVar[str]
    student_number: StudentNumber


# --- the registrar's facts: personal data, short retention -------------------------------------------------


class EnrolmentRecorded(Event):
    """The registrar holds this enrolment, in this state. The highest source sequence of a step wins."""

    type: ClassVar[str] = "fr.sesame.enrolment.recorded.v1"
    source: Token
    source_sequence: Annotated[int, Field(ge=0)]
    year: Year
    step: Code
    step_version: Code
    step_label: Text
    component: Code
    primary: bool
    administrative: Administrative
    pedagogical: Pedagogical
    birth_name: Text
    usage_name: Text | None = None
    given_name: Text
    preferred_given_name: Text | None = None
    birth_date: date
    ine: Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]{11}$")] | None = None
    personal_mail: Text | None = None
    language: Language | None = None


class EnrolmentCancelled(Event):
    """The registrar no longer holds this enrolment."""

    type: ClassVar[str] = "fr.sesame.enrolment.cancelled.v1"
    source: Token
    source_sequence: Annotated[int, Field(ge=0)]
    year: Year
    step: Code
    step_version: Code
    reason: Token


# --- acts of students and operators ------------------------------------------------------------------------


class ActivationRequested(Event):
    """The student asked for the account. The window opens at this event's time."""

    type: ClassVar[str] = "fr.sesame.activation.requested.v1"
    credential_ref: Reference | None = None
    language: Language | None = None


class CredentialChanged(Event):
    """The student chose a new password; its hash waits in the vault under this reference."""

    type: ClassVar[str] = "fr.sesame.credential.changed.v1"
    credential_ref: Reference


class Preference(StrEnum):
    """What a student may settle themselves."""

    LANGUAGE = "language"
    MAIL_REDIRECT = "mail_redirect"
    PREFERRED_GIVEN_NAME = "preferred_given_name"


class PreferenceChanged(Event):
    """The student settled a preference. A value that is personal travels by reference to the vault."""

    type: ClassVar[str] = "fr.sesame.preference.changed.v1"
    preference: Preference
    value: Language | None = None  # for `language` only
    value_ref: Reference | None = None  # for the personal ones; None clears the preference


class HoldPlaced(Event):
    """Access must be shut at once."""

    type: ClassVar[str] = "fr.sesame.hold.placed.v1"
    hold: Hold
    reason: Text


class HoldLifted(Event):
    """That reason to shut access is gone."""

    type: ClassVar[str] = "fr.sesame.hold.lifted.v1"
    hold: Hold
    reason: Text


class ReplayRequested(Event):
    """An operator asks one consumer to compare this student with its target and write the difference."""

    type: ClassVar[str] = "fr.sesame.replay.requested.v1"
    consumer: Token
    replay_id: Reference
    reason: Text


# --- the bell ------------------------------------------------------------------------------------------------


class Cause(StrEnum):
    """Why an account has a new version."""

    ENROLMENT = "enrolment"
    ACTIVATION = "activation"
    CREDENTIAL = "credential"
    PREFERENCE = "preference"
    HOLD = "hold"
    LIFECYCLE = "lifecycle"


class AccountChanged(Event):
    """A new version of the account is in the store."""

    type: ClassVar[str] = "fr.sesame.account.changed.v1"
    version: Version
    stage: Stage
    holds: tuple[Hold, ...] = ()
    lane: Lane
    cause: Cause


# --- outcomes ------------------------------------------------------------------------------------------------


class Outcome(Event):
    """What one target consumer reached. (version, lease_epoch, sequence) orders outcomes of one target."""

    version: Version
    target: Token
    lane: Lane
    lease_epoch: Annotated[int, Field(ge=0)]
    sequence: Annotated[int, Field(ge=0)]
    attempt: Annotated[int, Field(ge=1)]
    opened_at: AwareDatetime | None = None  # start of the window that this work belongs to
    started_at: AwareDatetime
    finished_at: AwareDatetime


class TargetProvisioned(Outcome):
    """The target was read back and is at this version."""

    type: ClassVar[str] = "fr.sesame.target.provisioned.v1"
    digest: Digest
    changed: bool  # whether anything had to be written


class TargetWaiting(Outcome):
    """A business precondition is missing. Not a failure: the rest was done, and the cause is shown."""

    type: ClassVar[str] = "fr.sesame.target.waiting.v1"
    reason: Token
    pending: tuple[Text, ...] = ()  # names of what is not given yet, e.g. cohorts


class TargetFailed(Outcome):
    """This version went to the dead letters."""

    type: ClassVar[str] = "fr.sesame.target.failed.v1"
    cause: Token
    dead_letter_id: Reference


# --- propagation -----------------------------------------------------------------------------------------------


class Window(StrEnum):
    """Where a propagation ended with respect to the 15 and 60 minute objectives of a person's act."""

    WITHIN_15_MIN = "within_15_min"
    WITHIN_60_MIN = "within_60_min"
    BEYOND = "beyond"
    BULK = "bulk"  # nobody was waiting; bulk work has an objective of its own


class PropagationCompleted(Event):
    """Every target was observed at this version or later. Emitted once per student and version."""

    type: ClassVar[str] = "fr.sesame.propagation.completed.v1"
    version: Version
    lane: Lane
    window: Window
    opened_at: AwareDatetime
    completed_at: AwareDatetime
    elapsed_s: Seconds  # since the window opened, less what was waited for a business precondition
    waited_s: Seconds
    targets_s: dict[Token, Seconds]  # elapsed per target, on the same clock as elapsed_s


class Outstanding(Event):
    """A window's edge was passed while these targets were not there yet."""

    version: Version
    opened_at: AwareDatetime
    elapsed_s: Seconds
    outstanding: tuple[Token, ...]


class PropagationLate(Outstanding):
    """15 minutes have passed."""

    type: ClassVar[str] = "fr.sesame.propagation.late.v1"


class PropagationBreached(Outstanding):
    """60 minutes have passed."""

    type: ClassVar[str] = "fr.sesame.propagation.breached.v1"


# --- dead letters -------------------------------------------------------------------------------------------------


class DeadLetterRecorded(Event):
    """Work that will not be tried again by itself. An operator replays it, or a newer success resolves it."""

    type: ClassVar[str] = "fr.sesame.deadletter.recorded.v1"
    dead_letter_id: Reference
    consumer: Token
    version: Version | None = None
    cause: Token
    attempts: Annotated[int, Field(ge=0)]


class DeadLetterResolved(Event):
    """A dead letter needs nobody's attention any more."""

    type: ClassVar[str] = "fr.sesame.deadletter.resolved.v1"
    dead_letter_id: Reference
    consumer: Token
    resolution: Literal["newer_success", "replayed", "dismissed"]


EVENT_TYPES: dict[str, type[Event]] = {
    model.type: model
    for model in (
        EnrolmentRecorded,
        EnrolmentCancelled,
        ActivationRequested,
        CredentialChanged,
        PreferenceChanged,
        HoldPlaced,
        HoldLifted,
        ReplayRequested,
        AccountChanged,
        TargetProvisioned,
        TargetWaiting,
        TargetFailed,
        PropagationCompleted,
        PropagationLate,
        PropagationBreached,
        DeadLetterRecorded,
        DeadLetterResolved,
    )
}
"""Every event type of the log, by its CloudEvents type."""
