"""The timetable service: where calendars are, and what no calendar means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from consumers.timetable.address import FIELDS, CalendarAddressInvalid, Template
from consumers.timetable.answers import EMPTY, MISSING
from pipeline.settings import ADVANCED, CA_FILE, Seconds, Section, tls

CalendarUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+[^\s#]*$", max_length=2048)]
Header = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]
NotScheduled = Literal["missing", "empty"]

_FIELDS = ", ".join(f"`{{{name}}}`" for name in FIELDS)


class TimetableSettings(Section):
    """The timetable service, read only. Used when `timetable` is among the `targets`."""

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
    )
    not_scheduled: tuple[NotScheduled, ...] = Field(
        (MISSING, EMPTY),
        description="What means that a student is not scheduled yet: `missing` (the service answers 404 or "
        "410), `empty` (a calendar without events).",
        json_schema_extra=ADVANCED,
    )
    recheck_s: Annotated[float, Field(gt=0, le=604_800)] = Field(
        3600.0,
        description="How often to look again at who is not scheduled yet.",
        json_schema_extra=ADVANCED,
    )
    ca_file: Path | None = Field(None, description=CA_FILE)
    token: SecretStr | None = Field(
        None,
        description="A token that the service wants with each call, if any. Better given by a file.",
        json_schema_extra=ADVANCED,
    )
    token_file: Path | None = Field(None, description="File that holds `timetable.token`.")
    token_header: Header = Field(
        "Authorization",
        description="The header that carries it; `Authorization` carries `Bearer` and it.",
        json_schema_extra=ADVANCED,
    )
    bytes_max: int = Field(
        1_000_000,
        ge=1_000,
        le=20_000_000,
        description="Largest calendar read, in bytes.",
        json_schema_extra=ADVANCED,
    )
    connect_timeout_s: Seconds = Field(
        5.0, description="Longest wait for a connection.", json_schema_extra=ADVANCED
    )
    timeout_s: Seconds = Field(10.0, description="Longest time for one calendar.", json_schema_extra=ADVANCED)
    batch_size: int = Field(
        5, ge=1, le=100, description="Students in one call, one after the other.", json_schema_extra=ADVANCED
    )
    call_s_max: Seconds = Field(
        60.0,
        description="Longest time for one batch in all; the rest is retried.",
        json_schema_extra=ADVANCED,
    )

    @property
    def server(self) -> str:
        """The service's scheme and name, as the operator is shown it: neither path nor query."""
        parts = urlsplit(self.calendar_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def execution_s_max(self) -> float:
        """How long the service may go on with a call that was given up: a read has no effect."""
        return 0.0

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
