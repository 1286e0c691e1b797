"""The receivers of the audit's entries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from pipeline.settings import ADVANCED, Section

_ADDRESS = r"^((udp|tcp|tls)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}|unix:/.+)$"


class AuditSettings(Section):
    """Who gets the audit's entries as they are noted, each with its hash: a SIEM, a log server, a file."""

    place: ClassVar[str] = "audit"

    syslog: Annotated[str, StringConstraints(pattern=_ADDRESS)] | None = Field(
        None,
        description="A syslog receiver (RFC 5424): `tls://HOST:6514`, `tcp://HOST:514`, `udp://HOST:514` or "
        "`unix:/dev/log`. Of these only the first two say that they got it. The process that runs the "
        "registry sends.",
        json_schema_extra=ADVANCED,
    )
    syslog_ca_file: Path | None = Field(
        None,
        description="`tls`: certificates (PEM) that the receiver's one is verified with. Without it: those "
        "of the system.",
        json_schema_extra=ADVANCED,
    )
    file: Path | None = Field(
        None,
        description="A file that a JSON object a line is appended to. It may be moved away at any time.",
        json_schema_extra=ADVANCED,
    )

    @property
    def receivers(self) -> tuple[str, ...]:
        """The names of those that are set."""
        return tuple(name for name in ("syslog", "file") if getattr(self, name) is not None)
