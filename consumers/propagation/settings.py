"""The objectives of a propagation: the edges of a person's window."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from pipeline.settings import ADVANCED, Section
from schemas.language import gettext


class PropagationSettings(Section):
    """When to announce an account still missing somewhere as late, then as a breach."""

    place: ClassVar[str] = "propagation"

    late_s: float = Field(
        900.0,
        gt=0,
        le=86_400,
        description="Seconds after which a person's act is late.",
        json_schema_extra=ADVANCED,
    )
    breach_s: float = Field(
        3600.0,
        gt=0,
        le=7 * 86_400,
        description="Seconds after which the promise to the person is broken.",
        json_schema_extra=ADVANCED,
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.late_s >= self.breach_s:
            raise ValueError(gettext("late_s must be less than breach_s"))
        return self
