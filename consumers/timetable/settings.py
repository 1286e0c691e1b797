"""The timetable service: addresses of calendars, and the meaning of a missing one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from consumers.kit.settings import AnswerTime, BatchSize, ExecutionTime, HttpTokenSettings, server_of
from consumers.timetable.address import FIELDS, CalendarAddressInvalid, Template
from consumers.timetable.answers import EMPTY, MISSING
from pipeline.settings import ADVANCED, tls

CalendarUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+[^\s#]*$", max_length=2048)]
NotScheduled = Literal["missing", "empty"]

_FIELDS = ", ".join(f"`{{{name}}}`" for name in FIELDS)


class TimetableSettings(HttpTokenSettings):
    """The timetable service, read only."""

    place: ClassVar[str] = "timetable"

    calendar_url: CalendarUrl = Field(
        "https://edt.univ-exemple.fr/ical/{login}.ics",
        description=f"Address of a student's calendar, of {_FIELDS}, each percent-encoded; `http://` on "
        "loopback only.",
    )
    probe_url: CalendarUrl | None = Field(
        None,
        description="A calendar that always exists and is nobody's, for the probe. Without it the service is "
        "asked for `sesame-probe`'s, and not to know it counts as an answer.",
        json_schema_extra=ADVANCED,
    )
    not_scheduled: tuple[NotScheduled, ...] = Field(
        (MISSING, EMPTY),
        description="What means that a student is not scheduled yet: `missing` (the service answers 404 or "
        "410), `empty` (a calendar without events).",
        json_schema_extra=ADVANCED,
    )
    batch_size: BatchSize = 5
    timeout_s: AnswerTime = 10.0
    bytes_max: ClassVar[int] = 1_000_000  # a calendar of a year has a tenth of it
    execution_s_max: ExecutionTime = 0.0  # a read has no effect

    @property
    def system(self) -> str:
        """See `ConnectorSettings.system`."""
        return f"iCalendar {server_of(self.calendar_url)}"

    @field_validator("calendar_url")
    @classmethod
    def _fields_known(cls, text: str) -> str:
        try:
            return Template.of(text).text
        except CalendarAddressInvalid as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _under_tls(self) -> Self:
        tls("calendar_url", self.calendar_url)
        if self.probe_url is not None:
            tls("probe_url", self.probe_url)
        return self
