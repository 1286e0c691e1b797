"""How a registrar's export is read, and when a file is held."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from pipeline.settings import ADVANCED, Section
from pipeline.threshold import Threshold
from schemas.language import gettext

_GUARD = Threshold()


class RegistrarSettings(Section):
    """The registrar's exports."""

    place: ClassVar[str] = "registrar"

    profile: Literal["apogee", "pegase"] = Field("apogee", description="How an export is written.")
    mapping: Path | None = Field(
        None, description="A mapping file of your own, for any other export; then `profile` does not count."
    )
    groups_mapping: Path | None = Field(
        None,
        description="A mapping file for the second file, of teaching units and groups. Without it: the table "
        "[groups] of `mapping`, or the form that `profile` names.",
    )
    payment_required: bool = Field(
        default=True,
        description="Apogée: whether an enrolment that awaits payment is kept from being in force.",
    )
    one_name: bool = Field(
        default=False,
        description="Apogée and Pégase: whether an empty family name or given name says that the person has "
        "one name only. Without it the line is refused. A mapping file says it for itself.",
        json_schema_extra=ADVANCED,
    )
    student_number_pattern: str = Field(
        "",
        max_length=200,
        description="The form of a student number at this site, as a regular expression like `[0-9]{8}`: a "
        "line with another one is refused, as one whose leading zeros a spreadsheet has taken away. Empty: "
        "letters, digits, dots, hyphens and underscores, at most 32. A mapping file may say it for itself.",
        json_schema_extra=ADVANCED,
    )
    guard_share: float = Field(
        default=_GUARD.share,
        ge=0,
        le=1,
        description="A file is held when, in one academic year, more than this share of the people would "
        "lose an enrolment or change in a way that seldom happens; see `guard_people` too. One or two hold "
        "none, unless they are more than half of the year's people.",
    )
    guard_people: int = Field(
        default=_GUARD.people,
        ge=1,
        le=1_000_000,
        description="A file is held too when more people than this would lose an enrolment or a teaching "
        "unit in one academic year, whatever share they are.",
        json_schema_extra=ADVANCED,
    )

    guard_days_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="A leak holds a file too: who lost all they had of a year within 30 days is added, and "
        "this is the share of the people above which they hold it; counted anew after each approval.",
        json_schema_extra=ADVANCED,
    )

    @field_validator("student_number_pattern")
    @classmethod
    def _is_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(gettext("is not a regular expression: {why}", why=error)) from error
        return pattern

    @property
    def threshold(self) -> Threshold:
        """The threshold of a year's changes."""
        return Threshold(share=self.guard_share, people=self.guard_people)

    @property
    def leak(self) -> Threshold:
        """The threshold of losses within some days."""
        return Threshold(share=self.guard_days_share)
