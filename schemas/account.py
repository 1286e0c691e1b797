"""The account: one student's complete desired state, as every target consumer loads it.

An account is what the registry wants the targets to look like, not what was asked for: consumers never
combine it with an event's payload. It lives in the store, and events only say whose account changed and to
which version, so no personal data travels on the account, outcome or propagation topics.

Sources of the words: SupAnn 2018 rev. 2 (account states, enrolments), eduPerson (affiliations).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Model(BaseModel):
    """Base of every exchanged value: immutable, and open to a newer version's fields.

    A newer writer may add optional fields, which an older reader leaves out: every change of a schema is
    compatible in both directions.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")


class Stage(StrEnum):
    """The stage of an account's life. SupAnn's sub-states are derived from it."""

    PRECREATED = "precreated"  # known to the registrar; no target is touched before it is active
    ACTIVE = "active"
    GRACE = "grace"  # no enrolment in force any more; access stays until `valid_until`
    EXPIRED = "expired"  # access is closed, data is kept
    ERASED = "erased"


class Hold(StrEnum):
    """A reason to shut access whatever the stage is. Several may apply at once."""

    SUSPENDED = "suspended"
    ADMINISTRATIVE = "administrative"
    TECHNICAL = "technical"  # e.g. a suspected homonym
    STOLEN_PASSWORDS = "stolen_passwords"  # lifted by the student, who chooses a new one


class Lane(StrEnum):
    """Who is waiting: a person, or a batch. Priority belongs to the origin of the work."""

    PERSONAL = "personal"
    BULK = "bulk"


class Administrative(StrEnum):
    """State of the administrative enrolment (inscription administrative). It opens the account."""

    PENDING = "pending"
    AWAITING_PAYMENT = "awaiting_payment"
    IN_FORCE = "in_force"
    CANCELLED = "cancelled"


class Pedagogical(StrEnum):
    """State of the pedagogical enrolment (inscription pédagogique). It opens the courses."""

    PENDING = "pending"
    VALIDATED = "validated"


class Requirement(StrEnum):
    """The enrolment that must be valid before a student belongs to a cohort or group."""

    ADMINISTRATIVE = "administrative"
    PEDAGOGICAL = "pedagogical"


StudentNumber = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""The establishment's own student number (supannEtuId): an opaque string. Never the INE."""


STUDENT: Final = "student"
"""The population of enrolled students; a site names others in its settings."""

GUEST: Final = "guest"
"""The population of those whom a sponsor has invited until a day."""

STAFF_PREFIX, GUEST_PREFIX = "P-", "G-"
"""How the numbers of staff and guests begin. No registrar's file may have such a number."""

NO_YEAR: Final = 1990
"""The academic year in the facts of populations that have none: staff and guests come and go by date."""

CANARY: Final = "sesame-canary"
"""The canary's number: a synthetic student, in no count and no export. No registrar's file may have it."""


def is_guests(number: str) -> bool:
    """Whether this is the number of a guest."""
    return number.startswith(GUEST_PREFIX)


def dated_step(year: int, step: str) -> str:
    """A programme step with its academic year, `2026 L1INFO`; without a year the step alone, `guest`."""
    return step if year == NO_YEAR else f"{year} {step}"


def is_students(number: str) -> bool:
    """Whether the registrar may give this number; those of staff and guests are ours."""
    return not number.upper().startswith((STAFF_PREFIX, GUEST_PREFIX))


class Person(Model):
    """Names as the registrar gave them (Unicode NFC), and what else targets need.

    A person with one name only has an empty birth name or an empty given name.
    """

    birth_name: str = ""  # nom de famille (patronymique)
    usage_name: str | None = None  # nom d'usage; shown instead of the birth name when present
    given_name: str = ""
    preferred_given_name: str | None = None  # prénom d'usage; shown instead of the given name
    language: str = "fr"  # BCP 47, "fr" or "en"

    @property
    def family_name(self) -> str:
        """The family name to show."""
        return self.usage_name or self.birth_name

    @property
    def shown_given_name(self) -> str:
        """The given name to show."""
        return self.preferred_given_name or self.given_name

    @property
    def display_name(self) -> str:
        """Accented, given name first (SupAnn's displayName)."""
        return f"{self.shown_given_name} {self.family_name}".strip()

    @property
    def filed_name(self) -> str:
        """The family name, or the only name that there is, to file the person under."""
        return self.family_name.strip() or self.shown_given_name.strip()

    @property
    def called_name(self) -> str:
        """The given name, or the only name that there is, to address the person by."""
        return self.shown_given_name.strip() or self.family_name.strip()


SPONSOR_IN_JSON: Final = '"sponsor":"{}"'
"""A guest's sponsor in the JSON of an enrolment, to find and replace the number by."""


class Enrolment(Model):
    """One enrolment of one academic year in one programme step (étape).

    A member of another population has one too, without a year (`NO_YEAR`): its step is the population, its
    component the employer.
    """

    year: int  # 2026 means 2026–2027
    step: str  # COD_ETP, e.g. "L1INFO"
    step_version: str  # COD_VRS_VET, e.g. "261"
    step_label: str
    component: str  # COD_CMP, the component (composante), e.g. "SCI"
    primary: bool = False  # TEM_IAE_PRM: the student's main step of that year
    administrative: Administrative
    pedagogical: Pedagogical
    population: str = STUDENT
    ends_on: date | None = None  # the last day; None: the year's, or without a year no end is known
    sponsor: str | None = None  # the number of who answers for a guest

    @property
    def key(self) -> tuple[int, str, str]:
        """Year, step and version, which tell it from a student's others."""
        return self.year, self.step, self.step_version

    @property
    def in_force(self) -> bool:
        """Whether this enrolment opens an account."""
        return self.administrative is Administrative.IN_FORCE


class Membership(Model):
    """A cohort or group of the student, now or once its requirement is met."""

    key: str  # Moodle's cohort idnumber, or the LDAP group's cn
    name: str
    requires: Requirement  # of an unmet one: what is missing first
    met: bool  # an unmet one is pending: shown by name, and not given yet


class Account(Model):
    """The complete desired state of one student. `version` only ever grows."""

    student_number: StudentNumber
    version: int = Field(ge=1)
    stage: Stage
    holds: frozenset[Hold] = frozenset()
    login: str
    short_login: str | None = None
    """A login of at most 20 characters, where `login` is longer. Permanent, of the same ledger; for targets
    that take no longer one (Active Directory's sAMAccountName)."""
    mail: str
    principal: str  # eduPersonPrincipalName
    aliases: tuple[str, ...] = ()  # further mail addresses, permanently this student's
    mail_redirect: str | None = None  # opted in by the student; never the personal address by default
    person: Person
    affiliations: tuple[str, ...] = ()  # eduPerson vocabulary; the first one is the primary affiliation
    entities: tuple[str, ...] = ()  # components of the enrolments in force; the first one is the main one
    enrolments: tuple[Enrolment, ...] = ()
    groups: tuple[Membership, ...] = ()
    cohorts: tuple[Membership, ...] = ()
    valid_until: date | None = None
    stages: Mapping[str, Stage] = Field(default_factory=dict)
    """Targets at which the account is at another stage than `stage`, e.g. shut while in grace; see `at`."""
    opens_on: Mapping[str, date] = Field(default_factory=dict)
    """The days on which targets open that are not open yet, by the site's entitlements. A target at stage
    precreated that has none is not for this student."""
    stage_since: date | None = None
    """The day on which `stage` began; None: before that was noted."""
    stages_since: Mapping[str, date] = Field(default_factory=dict)
    """Like `stage_since`, of `stages`."""
    credential_ref: str | None = None  # which sealed password of the vault the directory must have
    activated_at: AwareDatetime | None = None  # the student asked for the account; None: not yet
    shown_number: str | None = None
    """The student number in use now, of a person of several, if another one than `student_number`. Empty:
    another account of the person's shows this one's."""
    lane: Lane = Lane.BULK
    opened_at: AwareDatetime | None = None  # when the present propagation window opened

    @property
    def enrolled(self) -> bool:
        """Whether any enrolment is in force."""
        return any(enrolment.in_force for enrolment in self.enrolments)

    @property
    def sponsor(self) -> str | None:
        """The number of who answers for a guest."""
        return next((each.sponsor for each in self.enrolments if each.sponsor), None)

    @property
    def access_open(self) -> bool:
        """Whether the student may use the targets now."""
        return self.stage in (Stage.ACTIVE, Stage.GRACE) and not self.holds

    @property
    def lacks_target(self) -> bool:
        """Whether entitlements do not give the target that this account is `at`."""
        return self.stage is Stage.PRECREATED and bool(self.stages)

    @property
    def awaited(self) -> tuple[Membership, ...]:
        """Cohorts that the first missing requirement would give.

        The pedagogical one comes first: it is missing at an enrolment in force, whose courses the student has
        already; the administrative one is then another enrolment's.
        """
        unmet = [cohort for cohort in self.cohorts if not cohort.met]
        ready = [cohort for cohort in unmet if cohort.requires is Requirement.PEDAGOGICAL]
        return tuple(ready or unmet)

    def at(self, target: str) -> Account:
        """The account as one target is to have it, with its stage and first day there."""
        stage = self.stages.get(target, self.stage)
        if stage is self.stage:
            return self
        opens = {name: day for name, day in self.opens_on.items() if name == target}
        since = self.stages_since.get(target)
        return self.model_copy(update={"stage": stage, "stage_since": since, "opens_on": opens})

    def same_state(self, other: Account) -> bool:
        """Whether both want the same of the targets. Version, lane and window do not count."""
        left_out = {"version", "lane", "opened_at"}
        return self.model_dump(exclude=left_out) == other.model_dump(exclude=left_out)


def utc(moment: datetime) -> datetime:
    """Return `moment` in UTC; raises ValueError if it has no time zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is ambiguous: give a zone")
    return moment.astimezone(UTC)
