"""Where the facts come from."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from sesame.settings.base import Section


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
    )
    guard_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="A file is held when, in one academic year, more than this share of the people would "
        "lose an enrolment or change in a way that seldom happens, and more than `guard_people` would.",
    )
    guard_people: int = Field(
        default=50,
        ge=0,
        le=1_000_000,
        description="See `guard_share`: a number of people. 0: the share alone decides.",
    )
