"""How the Moodle consumer reaches its site, and the limits that it keeps to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, StringConstraints, model_validator

from consumers.kit.settings import AnswerTime, BatchTime, TokenSettings
from consumers.moodle import NAME
from pipeline.settings import ADVANCED, HttpsUrl, tls


class MoodleSettings(TokenSettings):
    """Moodle, by its web services."""

    place: ClassVar[str] = NAME

    base_url: HttpsUrl = Field(
        "https://moodle.univ-exemple.fr", description="The site's address; `http://` on loopback only."
    )
    max_input_vars: int = Field(
        1000,
        ge=50,
        le=100_000,
        description="The site's PHP `max_input_vars`. Never set more than it has: PHP drops the rest unsaid.",
    )
    max_in_flight: int = Field(
        4,
        ge=1,
        le=64,
        description="Calls at once; the number of the site's cores is a good value.",
        json_schema_extra=ADVANCED,
    )
    timeout_s: AnswerTime = 30.0
    call_s_max: BatchTime = 40.0
    auth: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,19}$")] = Field(
        "cas", description="Authentication plugin of the users created.", json_schema_extra=ADVANCED
    )
    languages: Mapping[str, str] = Field(
        default_factory=dict,
        description='A person\'s language to a language pack installed on the site, e.g. `{fr = "fr"}`. '
        "Without it the language is left to Moodle.",
        json_schema_extra=ADVANCED,
    )

    @model_validator(mode="after")
    def _token_under_tls(self) -> Self:
        tls("base_url", self.base_url)
        return self

    @property
    def system(self) -> str:
        """See `ConnectorSettings.system`."""
        return f"Moodle {self.address}"

    @property
    def verb_s_max(self) -> float:
        """See `ConnectorSettings.verb_s_max`."""
        return self.connect_timeout_s + self.send_s + self.timeout_s

    @property
    def send_s(self) -> float:
        """The longest time to send a request, in seconds: it is some kilobytes."""
        return min(10.0, self.timeout_s / 3)

    @property
    def address(self) -> str:
        """The site's address, as others are made of it."""
        return self.base_url.rstrip("/")

    @property
    def endpoint(self) -> str:
        """Moodle's REST server."""
        return f"{self.address}/webservice/rest/server.php"
