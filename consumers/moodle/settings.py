"""How the Moodle consumer reaches its site, and the limits that it keeps to."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

Seconds = Annotated[float, Field(gt=0, le=3600)]


class MoodleSettings(BaseModel):
    """Settings of one Moodle site. All durations are in seconds.

    Attributes:
        base_url: the site's address, without `/webservice/…`. Plain `http` is accepted for loopback only.
        token: the web-service token of the service user; read from a secret file, never printed.
        ca_file: certificate authorities to trust instead of the system's (PEM).
        max_input_vars: the *site's* PHP limit on form variables. PHP drops what lies above without a word,
            so every call stays below it. PHP's default is 1000; Moodle's environment check asks for 5000.
        user_batch: users per call. 50 was the best measured, whatever the number of calls in flight.
        member_batch: cohort memberships per call; 100 to 240 were the best measured.
        max_in_flight: calls in flight at once; the web server's number of cores is a good value.
        connect_timeout_s, write_timeout_s, read_timeout_s: of one call.
        call_s_max: the longest that one batch may take in all; what is not done by then is retried later.
        read_attempts: how often a read is tried before the site is called down.
        write_attempts: how often a write is tried while the database refuses it (a deadlock looks exactly
            like a value that is too long), before the batch is split.
        retry_wait_s_max: the longest pause between two of these attempts; pauses are jittered.
        auth: the authentication plugin of the users created.
        missing_name: the first name of somebody who has one name only; Moodle takes no blank one.
        languages: language of a person (BCP 47) to a language pack *installed* on the site, e.g. `{"fr":
            "fr"}`.
            Empty: the language is left to Moodle. A site refuses a user whose pack is absent.
        operator_recheck_s: how often to look again at what waits for an operator.
        read_only: no function that writes is ever called: the site is only observed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    token: SecretStr
    ca_file: Path | None = None
    max_input_vars: int = Field(default=1000, ge=50)
    user_batch: int = Field(default=50, ge=1, le=500)
    member_batch: int = Field(default=200, ge=1, le=1000)
    max_in_flight: int = Field(default=4, ge=1, le=64)
    connect_timeout_s: Seconds = 5.0
    write_timeout_s: Seconds = 10.0
    read_timeout_s: Seconds = 30.0
    call_s_max: Seconds = 40.0
    read_attempts: int = Field(default=3, ge=1, le=10)
    write_attempts: int = Field(default=3, ge=1, le=10)
    retry_wait_s_max: Seconds = 2.0
    auth: str = "cas"
    missing_name: str = Field(default=".", min_length=1, max_length=100)
    languages: Mapping[str, str] = Field(default_factory=dict)
    operator_recheck_s: Seconds = 3600.0
    read_only: bool = False

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url must be an address such as https://moodle.univ-exemple.fr")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("base_url must carry neither credentials nor a query")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError("base_url must be https: the token would travel in the clear")
        return value.rstrip("/")

    @property
    def endpoint(self) -> str:
        """Moodle's REST server."""
        return f"{self.base_url}/webservice/rest/server.php"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
