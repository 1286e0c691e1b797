"""The operators' console and the API."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pipeline.settings import ADVANCED, HttpsUrl
from sesame.settings.served import ServedSettings


class ConsoleSettings(ServedSettings):
    """The operators' console and the API, which `sesame console` serves: to the networks of those who work
    with them, not to the whole world."""

    place: ClassVar[str] = "console"

    public_url: HttpsUrl = Field(
        "https://sesame.univ-exemple.fr",
        description="The address that operators and programs use; requests for any other host are refused. "
        "`http://` on loopback only.",
    )
    port: int = Field(8081, ge=0, le=65_535, description="TCP port to listen on; 0 takes any free one.")
    session_min: float = Field(
        480.0,
        gt=0,
        le=1440,
        description="How long an operator's session lasts at most, in minutes.",
        json_schema_extra=ADVANCED,
    )
