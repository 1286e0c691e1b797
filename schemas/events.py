"""Events of the log, as typed models. The JSON Schemas are generated from these.

An event says *whom* and *which version*; only the registrar's facts say *who they are*. Durations are in
seconds. The envelope (id, source, time) is CloudEvents', in `schemas.envelope`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from schemas.account import Administrative, Hold, Lane, Model, Pedagogical, Stage, StudentNumber
from schemas.language import Language
from schemas.scalars import (
    Attempt,
    Code,
    Count,
    Day,
    Digest,
    Ine,
    Moment,
    PhoneNumber,
    Reference,
    RuleName,
    Seconds,
    Text,
    Token,
    Version,
    Year,
)

TYPE_PREFIX = "fr.sesame."
TEACHINGS_MAX = 500
"""The most teaching units and groups of a student in one year."""


class Event(Model):
    """The data of every event: the student number, which is also the record's key."""

    type: ClassVar[str]
    student_number: StudentNumber = Field(
        description="The establishment's own student number, opaque; also the record's key. Never the INE."
    )

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Return the event of this JSON, strictly as its JSON Schema. Raises pydantic.ValidationError."""
        return cls.model_validate_json(text, strict=True)


# --- the registrar's facts: personal data, short retention ----------------------------------------


class RegistrarFact(Event):
    """A registrar's fact about one student in one academic year."""

    source: Token = Field(description="The registrar's feed that this comes from, e.g. `apogee`.")
    source_sequence: Count = Field(
        description="Grows with each fact of this source. Of facts about the same the highest one wins."
    )
    year: Year = Field(description="Academic year: 2026 means 2026–2027.")


class EnrolmentFact(RegistrarFact):
    """A registrar's fact about one enrolment: student, year, version of a programme step."""

    step: Code = Field(description="Programme step (étape), e.g. `L1INFO`.")
    step_version: Code = Field(description="Version of the step (version d'étape), e.g. `261`.")


class EnrolmentRecorded(EnrolmentFact):
    """The registrar holds this enrolment, in this state. The highest source sequence of a step wins."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"birth_name": {"type": "string"}}, "required": ["birth_name"]},
            "else": {"properties": {"given_name": {"type": "string"}}, "required": ["given_name"]},
        }
    )

    type: ClassVar[str] = "fr.sesame.enrolment.recorded.v1"
    step_label: Text = Field(description="Name of the step, for people.")
    component: Code = Field(description="Component (composante), e.g. `SCI`.")
    primary: bool = Field(description="Whether this is the student's main step of that year.")
    administrative: Administrative = Field(description="State of the administrative enrolment.")
    pedagogical: Pedagogical = Field(description="State of the pedagogical enrolment.")
    birth_name: Text | None = Field(
        None, description="Family name at birth (nom de famille). Absent: the person has a given name only."
    )
    usage_name: Text | None = Field(None, description="Name in use (nom d'usage), if any.")
    given_name: Text | None = Field(
        None, description="First given name. Absent: the person has one name only, the family name."
    )
    preferred_given_name: Text | None = Field(
        None, description="Preferred given name (prénom d'usage), if any."
    )
    birth_date: Day = Field(description="Date of birth.")
    ine: Ine | None = Field(None, description="National student number (INE). Absent: none is known.")
    ine_provisional: bool | None = Field(
        None, description="Whether the INE is provisional, and replaced later. Absent: unknown."
    )
    personal_mail: Text | None = Field(None, description="Personal mail address. Absent: none is known.")
    mobile: PhoneNumber | None = Field(None, description="Mobile number (E.164). Absent: none is known.")
    language: Language | None = Field(None, description="Preferred language, if known.")
    population: Token | None = Field(
        None,
        description="The population, e.g. `staff`: then `year` is 1990, `step` the population too, and "
        "`component` the employer. Absent: students.",
    )
    ends_on: Day | None = Field(None, description="The last day, where the academic year does not say it.")
    sponsor: StudentNumber | None = Field(None, description="Of a guest: the number of who answers for them.")

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.birth_name is None and self.given_name is None:
            raise ValueError("a person has a family name, a given name, or both")
        return self


class EnrolmentCancelled(EnrolmentFact):
    """The registrar no longer holds this enrolment."""

    type: ClassVar[str] = "fr.sesame.enrolment.cancelled.v1"
    reason: Token = Field(description="Why, e.g. `cancelled` or `gone_from_export`.")


class Teaching(Model):
    """A teaching unit that a student follows, in which group; one per unit and group."""

    element: Code = Field(description="Teaching unit (élément pédagogique, UE), e.g. `INF101`.")
    group: Code | None = Field(None, description="Group, e.g. `TD2`. Absent: the unit has none.")
    label: Text | None = Field(None, description="Name of the unit, for people.")

    @property
    def key(self) -> tuple[str, str]:
        """The unit and the group, which tell it from the student's others of the year."""
        return self.element, self.group or ""


class TeachingsRecorded(RegistrarFact):
    """All teaching units and groups that this source holds of a student in a year.

    The whole list (empty: none), so that the newest fact alone says what is so. Lists of several sources add
    up.
    """

    type: ClassVar[str] = "fr.sesame.teachings.recorded.v1"
    teachings: tuple[Teaching, ...] = Field(
        max_length=TEACHINGS_MAX, description="The whole list, in any order."
    )


# --- acts of students and operators ---------------------------------------------------------------

REASON_REF = "Where the store keeps why, in the operator's own words: they may be personal."


class ActivationRequested(Event):
    """The student asked for the account. The window opens at this event's time."""

    type: ClassVar[str] = "fr.sesame.activation.requested.v1"
    credential_ref: Reference | None = Field(
        None, description="Which sealed password of the vault is theirs; absent: none was chosen."
    )
    language: Language | None = Field(None, description="The language they chose, if any.")


class CredentialChanged(Event):
    """The student chose a new password; the vault has its hash under this reference."""

    type: ClassVar[str] = "fr.sesame.credential.changed.v1"
    credential_ref: Reference = Field(description="Which sealed password of the vault is theirs.")


class Preference(StrEnum):
    """What a student may settle themselves."""

    LANGUAGE = "language"
    MAIL_REDIRECT = "mail_redirect"
    PREFERRED_GIVEN_NAME = "preferred_given_name"


class PreferenceChanged(Event):
    """The student settled a preference. A value that is personal travels by reference to the vault."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"preference": {"const": "language"}}},
            "then": {"properties": {"value_ref": {"type": "null"}}},
            "else": {"properties": {"value": {"type": "null"}}},
        }
    )

    type: ClassVar[str] = "fr.sesame.preference.changed.v1"
    preference: Preference = Field(description="Which preference.")
    value: Language | None = Field(None, description="Of `language` only. Absent: back to the default.")
    value_ref: Reference | None = Field(
        None, description="Where the vault keeps the value of any other preference. Absent: cleared."
    )

    @model_validator(mode="after")
    def _value_by_the_right_way(self) -> Self:
        if self.preference is Preference.LANGUAGE and self.value_ref is not None:
            raise ValueError("a language is no secret: it is said by `value`")
        if self.preference is not Preference.LANGUAGE and self.value is not None:
            raise ValueError("a personal value travels by `value_ref`, through the vault")
        return self


class HoldPlaced(Event):
    """Access must be shut at once."""

    type: ClassVar[str] = "fr.sesame.hold.placed.v1"
    hold: Hold = Field(description="Which kind of hold. Several kinds may apply at once.")
    reason_ref: Reference | None = Field(None, description=REASON_REF)


class HoldLifted(Event):
    """That reason to shut access is gone."""

    type: ClassVar[str] = "fr.sesame.hold.lifted.v1"
    hold: Hold = Field(description="Which kind of hold.")
    reason_ref: Reference | None = Field(None, description=REASON_REF)


class ProlongationRequested(Event):
    """Access that ends for want of an enrolment, or a guest's, is to last until a later day."""

    type: ClassVar[str] = "fr.sesame.prolongation.requested.v1"
    ends_on: Day = Field(
        description="The last day of access when this was asked for. Where it is another one by now, this "
        "has been settled otherwise, and changes nothing."
    )
    until: Day = Field(description="The last day of access that is asked for: a later one.")
    reason_ref: Reference | None = Field(None, description=REASON_REF)


class IdentityDecision(StrEnum):
    """What an operator found out about an identity."""

    SEPARATE = "separate"
    MERGE = "merge"
    MINT_AGAIN = "mint_again"


class IdentityDecided(Event):
    """An operator has looked at a doubtful identity. Of several decisions about one doubt the newest holds.

    With `other`: whether two student numbers are one person; merged, this number's enrolments are the other
    one's from now on. Without: whether this number, whose names and birth date have changed beyond
    recognition, still has its holder. `mint_again` is about the names that were minted for this number.
    """

    type: ClassVar[str] = "fr.sesame.identity.decided.v1"
    decision: IdentityDecision = Field(
        description="`merge`: it is one person. `separate`: they are two people. `mint_again`: the account, "
        "which nobody has activated, gets a login and addresses from the names as they are now."
    )
    other: StudentNumber | None = Field(
        None,
        description="The other student number, which goes on when both are one person. Absent: the doubt is "
        "about this number's holder.",
    )
    rule: RuleName | None = Field(
        None,
        description="The rule by which an operator settles many doubts. The decision holds only while the "
        "doubt is open and the rule fits both numbers. Absent: somebody looked at these two.",
    )
    reason_ref: Reference | None = Field(None, description=REASON_REF)


class CanaryReset(Event):
    """The canary is to be as before its activation. Access, password, cohorts and groups go."""

    type: ClassVar[str] = "fr.sesame.canary.reset.v1"
    student_number: Literal["sesame-canary"] = Field(description="The canary's: no other student is reset.")


class ReplayRequested(Event):
    """One consumer is to compare the student with its target, and write what differs.

    An operator requests it, or the student.
    """

    type: ClassVar[str] = "fr.sesame.replay.requested.v1"
    consumer: Token = Field(description="The consumer that is asked; the others ignore this event.")
    replay_id: Reference = Field(description="The replay that this is a part of.")
    reason_ref: Reference | None = Field(None, description=REASON_REF)


# --- the bell -------------------------------------------------------------------------------------


class Cause(StrEnum):
    """Why an account has a new version."""

    ENROLMENT = "enrolment"
    ACTIVATION = "activation"
    CREDENTIAL = "credential"
    PREFERENCE = "preference"
    HOLD = "hold"
    LIFECYCLE = "lifecycle"
    IDENTITY = "identity"


class AccountChanged(Event):
    """A new version of the account is in the store."""

    type: ClassVar[str] = "fr.sesame.account.changed.v1"
    version: Version = Field(description="The new version. It only grows.")
    stage: Stage = Field(description="Where the account stands in its life.")
    holds: tuple[Hold, ...] = Field((), description="Why access is shut, whatever the stage.")
    lane: Lane = Field(description="Whether a person is waiting for this.")
    cause: Cause = Field(description="Why there is a new version.")


# --- outcomes -------------------------------------------------------------------------------------


class Outcome(Event):
    """What one target consumer reached. (version, lease_epoch, sequence) orders outcomes of one target."""

    version: Version = Field(description="The account's version that this is about.")
    target: Token = Field(description="The target, e.g. `directory`.")
    lane: Lane = Field(description="Whether a person is waiting for this.")
    lease_epoch: Count = Field(description="The lease under which it was done; a later one is higher.")
    sequence: Count = Field(description="Orders the outcomes under one lease.")
    attempt: Attempt = Field(description="Which attempt it was, from 1.")
    opened_at: Moment | None = Field(None, description="When the window that this work belongs to opened.")
    started_at: Moment = Field(description="When the consumer began.")
    finished_at: Moment = Field(description="When the consumer was done.")


class TargetProvisioned(Outcome):
    """The target was read back and is at this version."""

    type: ClassVar[str] = "fr.sesame.target.provisioned.v1"
    digest: Digest = Field(description="Digest of what was read back.")
    changed: bool = Field(description="Whether anything had to be written.")


class TargetWaiting(Outcome):
    """A business precondition is missing. Not a failure: the rest was done, and the cause is shown."""

    type: ClassVar[str] = "fr.sesame.target.waiting.v1"
    reason: Token = Field(description="What is missing, e.g. `pedagogical_enrolment`.")
    pending: tuple[Text, ...] = Field((), description="Names of what is not given yet, e.g. cohorts.")


class TargetFailed(Outcome):
    """This version went to the dead letters."""

    type: ClassVar[str] = "fr.sesame.target.failed.v1"
    cause: Token = Field(description="Why, e.g. `identity_collision`.")
    dead_letter_id: Reference = Field(description="Which dead letter.")


# --- propagation ----------------------------------------------------------------------------------


class Window(StrEnum):
    """A propagation's end, by the 15 and 60 minute objectives of a person's act."""

    WITHIN_15_MIN = "within_15_min"
    WITHIN_60_MIN = "within_60_min"
    BEYOND = "beyond"
    BULK = "bulk"  # no person was waiting; bulk work has its own objective


class PropagationCompleted(Event):
    """Every target was observed at this version or later. Emitted once per student and version."""

    type: ClassVar[str] = "fr.sesame.propagation.completed.v1"
    version: Version = Field(description="The account's version.")
    lane: Lane = Field(description="Whether a person was waiting.")
    window: Window = Field(description="Which objective was met.")
    opened_at: Moment = Field(description="When the window opened.")
    completed_at: Moment = Field(description="When the last target was observed.")
    elapsed_s: Seconds = Field(
        description="Since the window opened, less what was waited for a business precondition."
    )
    waited_s: Seconds = Field(description="What was waited for a business precondition.")
    targets_s: dict[Token, Seconds] = Field(
        description="Elapsed per target, on the same clock as `elapsed_s`."
    )


class Outstanding(Event):
    """A window's edge was passed while these targets were not there yet."""

    version: Version = Field(description="The account's version.")
    opened_at: Moment = Field(description="When the window opened.")
    elapsed_s: Seconds = Field(
        description="Since the window opened, less what was waited for a business precondition."
    )
    outstanding: tuple[Token, ...] = Field(description="The targets that are not there yet.")


class PropagationLate(Outstanding):
    """15 minutes have passed."""

    type: ClassVar[str] = "fr.sesame.propagation.late.v1"


class PropagationBreached(Outstanding):
    """60 minutes have passed."""

    type: ClassVar[str] = "fr.sesame.propagation.breached.v1"


# --- dead letters ---------------------------------------------------------------------------------


class DeadLetterRecorded(Event):
    """Failed work: an operator replays it, or a newer success resolves it.

    Repeated under the same `dead_letter_id`, with all attempts, when a replay fails by the same cause.
    """

    type: ClassVar[str] = "fr.sesame.deadletter.recorded.v1"
    dead_letter_id: Reference = Field(description="Which dead letter.")
    consumer: Token = Field(description="The consumer that gave it up.")
    version: Version | None = Field(None, description="The account's version, if the work was about one.")
    cause: Token = Field(description="Why, e.g. `identity_collision`.")
    attempts: Count = Field(description="How many attempts were made, those of replays included.")


class DeadLetterResolved(Event):
    """A dead letter needs no attention any more."""

    type: ClassVar[str] = "fr.sesame.deadletter.resolved.v1"
    dead_letter_id: Reference = Field(description="Which dead letter.")
    consumer: Token = Field(description="The consumer that had given it up.")
    resolution: Literal["newer_success", "replayed", "dismissed"] = Field(
        description="How: a newer version succeeded, an operator replayed it, or dismissed it."
    )


EVENT_TYPES: dict[str, type[Event]] = {
    model.type: model
    for model in (
        EnrolmentRecorded,
        EnrolmentCancelled,
        TeachingsRecorded,
        ActivationRequested,
        CredentialChanged,
        PreferenceChanged,
        HoldPlaced,
        HoldLifted,
        ProlongationRequested,
        IdentityDecided,
        CanaryReset,
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
