"""The operators' console and the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from pipeline.settings import ADVANCED
from sesame.settings.served import Port, PublicUrl, ServedSettings, SessionTime

RoleName = Literal["viewer", "support", "registrar", "operator", "administrator"]
"""The names of `sesame.acts.acts.Role`."""

WebhookSource = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]

Released = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}=.{1,400}$")]
"""`ATTRIBUTE=VALUE`, as the CAS server releases it."""


class ConsoleSettings(ServedSettings):
    """The operators' console and the API, which `sesame console` serves: to the networks of those who work
    with them, not to the whole world."""

    place: ClassVar[str] = "console"

    public_url: PublicUrl = "https://sesame.univ-exemple.fr"
    port: Port = 8081
    session_min: SessionTime = 480.0
    roles: dict[RoleName, tuple[Released, ...]] = Field(
        {},
        description="Who may do what at the console: by role, the attributes that give it, `NAME=VALUE` as "
        "the CAS server releases them. Roles add up; whoever has none is not let in.",
        json_schema_extra=ADVANCED,
    )
    webhooks: dict[WebhookSource, Path] = Field(
        {},
        description="Who may send enrolments and teachings by signed webhooks: by the source's name, as it "
        "stands in the address (`/v1/webhooks/NAME`), a file of its keys, one in a line: `whsec_…` or "
        "`whpk_…`. It is read at each message: add the next key, then remove the former.",
        json_schema_extra=ADVANCED,
    )

    @property
    def login_url(self) -> str:
        """The URL to which the CAS server returns operators, and reports their logout."""
        return f"{self.public_url.rstrip('/')}/console/login"
