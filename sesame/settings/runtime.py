"""Settings of the running application: metrics and logs."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from pipeline.settings import ADVANCED, Section


class HttpSettings(Section):
    """The port for metrics and health checks. It has no authentication: keep it on loopback or behind one."""

    place: ClassVar[str] = "http"

    host: str = Field("127.0.0.1", min_length=1, max_length=255, description="Address to listen on.")
    port: int = Field(9464, ge=0, le=65_535, description="TCP port to listen on; 0 takes any free one.")


class ReconcileSettings(Section):
    """Each night the process of a target's consumer compares it with the accounts."""

    place: ClassVar[str] = "reconcile"

    at: Annotated[str, StringConstraints(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9])?$")] = Field(
        "03:30",
        description="When, in the machine's time zone. Empty: never by itself.",
        json_schema_extra=ADVANCED,
    )
    repair: bool = Field(
        False,
        description="Whether what is missing or different is then written, unless it is unusually much. "
        "Otherwise it is only told.",
        json_schema_extra=ADVANCED,
    )


class CanarySettings(Section):
    """The canary: a synthetic student who goes the whole way of one every five minutes."""

    place: ClassVar[str] = "canary"

    imap_url: Annotated[str, StringConstraints(pattern=r"^imaps?://[^\s/?#@]+$", max_length=255)] | None = (
        Field(
            None,
            description="Where mail is read: `imaps://HOST:PORT`, or `imap://…` with STARTTLS; verified by "
            "`mailbox.ca_file`. Without it the canary goes only when `sesame canary run` sends it.",
        )
    )

    @property
    def is_set(self) -> bool:
        """Whether it goes by itself."""
        return self.imap_url is not None


class ObservabilitySettings(Section):
    """Logs, on standard error."""

    place: ClassVar[str] = "observability"

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least serious lines that are written."
    )
    log_format: Literal["json", "console", "auto"] = Field(
        "auto",
        description="`json`: one object a line; `console`: for people; `auto`: for people on a terminal.",
        json_schema_extra=ADVANCED,
    )
