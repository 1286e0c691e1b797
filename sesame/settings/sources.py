"""Where the facts come from."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from sesame.settings.base import Section


class RegistrarSettings(Section):
    """The registrar's exports."""

    place: ClassVar[str] = "registrar"

    profile: Literal["apogee"] = Field("apogee", description="How an export is written.")
    payment_required: bool = Field(
        default=True,
        description="Whether an enrolment that awaits payment is kept from being in force.",
    )
