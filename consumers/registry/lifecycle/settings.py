"""A site's rules for the end of an account's life."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from consumers.registry.lifecycle.entitlements import Entitlement, contradictions
from consumers.registry.settings import MonthDay
from pipeline.settings import ADVANCED, TargetName
from pipeline.threshold import Threshold
from schemas.language import gettext

Days = Annotated[int, Field(ge=0, le=3650)]

PROLONGATIONS_MAX: Final = 1
"""How often students may prolong access until the next enrolment: an end is moved, not lifted."""
_SHARE_OF_CLASS: Final = 0.8
"""Of the students of one step and year: a whole class that expires is held, however few of all it is."""


class LifecycleSettings(BaseModel):
    """What follows a student's last day of access. `sesame lifecycle preview` says whom it would concern."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entitlements: tuple[Entitlement, ...] = Field(
        default=(),
        max_length=1000,
        description="Which target is for whom, from when to when, row by row: `target`; `everybody`, or "
        "`affiliations`, `components` and `steps` (`L1*`: all that begin with L1); `open = false`, or "
        "`opens_on` and `shuts_on`, each a date or a month and day of each academic year. The first row that "
        "matches an enrolment counts. Without one a target is for everybody.",
        json_schema_extra=ADVANCED,
    )
    juries_on: MonthDay | None = Field(
        default=None,
        description="Month and day until which results of the year are awaited, e.g. `07-20` or, with resits "
        "in September, `09-20`: a grace that begins before that day of the year does not end before it.",
        json_schema_extra=ADVANCED,
    )
    warn_days: tuple[Annotated[int, Field(ge=0, le=365)], ...] = Field(
        default=(30, 10),
        max_length=10,
        description="How long before the last day of access a student in grace is warned by mail, in days; "
        "`[]`: never. Needs the students' pages (`[portal]`), whose process sends the messages.",
        json_schema_extra=ADVANCED,
    )
    prolong_days: int = Field(
        default=0,
        ge=0,
        le=365,
        description="By how many days students may prolong their access themselves, by the link of a "
        "warning; 0: not at all.",
        json_schema_extra=ADVANCED,
    )
    erase: bool = Field(
        default=False,
        description="Whether what targets have of a student is erased when its time has come. Look at "
        "`sesame lifecycle preview` first.",
    )
    data_days: Days = Field(
        default=180,
        description="How long after the last day of access a target keeps a student's data, in days.",
    )
    data_days_of: Mapping[TargetName, Days] = Field(
        default_factory=dict,
        description="The same for single targets, e.g. `{moodle = 365}`.",
        json_schema_extra=ADVANCED,
    )
    account_days: Days = Field(
        default=365,
        description="How long after it the account itself is kept: the entry of the directory goes last. "
        "Login and addresses stay in the ledger for ever.",
    )
    guard_share: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="Largest share of the open accounts that may expire, be shut at one target in grace, or "
        "be erased, within 30 days before an operator has released it."
        " One or two people may, unless they are more than half.",
        json_schema_extra=ADVANCED,
    )
    guard_people: int = Field(
        default=200, ge=1, description="Largest number of students, likewise.", json_schema_extra=ADVANCED
    )
    release_by_two: bool = Field(
        default=False,
        description="Whether two operators have to release what the guard holds, in the console imports too.",
        json_schema_extra=ADVANCED,
    )

    def days_of(self, target: str) -> int:
        """How long a target keeps a student's data after the last day of access, in days."""
        return self.data_days_of.get(target, self.data_days)

    def prolongations_left(self, times: int) -> int:
        """How often a student may still prolong access, after so many times."""
        return max(0, PROLONGATIONS_MAX - times) if self.prolong_days else 0

    @property
    def threshold(self) -> Threshold:
        """What may close without an operator."""
        return Threshold(share=self.guard_share, people=self.guard_people)

    @property
    def cohort_threshold(self) -> Threshold:
        """The same for one step of one year."""
        return Threshold(share=_SHARE_OF_CLASS, people=self.guard_people)

    @field_validator("entitlements")
    @classmethod
    def _each_counts(cls, rows: tuple[Entitlement, ...]) -> tuple[Entitlement, ...]:
        for row, earlier in contradictions(rows):
            what = gettext(
                "row {row} of entitlements never counts: row {earlier}, before it, is for all of the same. "
                "Put the narrower one first, or take one out",
                row=row,
                earlier=earlier,
            )
            raise ValueError(what)
        return rows

    @model_validator(mode="after")
    def _account_last(self) -> Self:
        longest = max([self.data_days, *self.data_days_of.values()])
        if self.account_days < longest:
            raise ValueError(
                gettext(
                    "the account is kept for {account} days and data for {data}: account_days comes last",
                    account=self.account_days,
                    data=longest,
                )
            )
        return self
