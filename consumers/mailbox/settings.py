"""The mail server's address, and the properties of every mailbox."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from consumers.kit.settings import AnswerTime, BatchSize, BatchTime, ClientSettings, ExecutionTime
from consumers.mailbox import NAME
from pipeline.settings import ADVANCED, Address, HttpsUrl, tls


class MailboxSettings(ClientSettings):
    """The mail server: Dovecot, by doveadm over HTTP and LMTP."""

    place: ClassVar[str] = NAME

    doveadm_url: HttpsUrl = Field(
        "https://127.0.0.1:8443/doveadm/v1", description="doveadm's HTTP address; `http://` on loopback only."
    )
    api_key: SecretStr | None = None
    api_key_file: Path | None = Field(None, description="File that holds doveadm's API key.")
    lmtp_host: str = Field("127.0.0.1", min_length=1, max_length=255, description="Host of the LMTP service.")
    lmtp_port: int = Field(24, ge=1, le=65_535, description="TCP port of the LMTP service.")
    probe_user: Address = Field(
        "sesame-probe@etu.univ-exemple.fr",
        description="The service account that the probe looks up; nobody's.",
        json_schema_extra=ADVANCED,
    )
    folders: tuple[Annotated[str, StringConstraints(min_length=1, max_length=100)], ...] = Field(
        ("Scolarite",), description="Folders that every mailbox has besides the inbox, subscribed."
    )
    # With its directory down, Dovecot takes about 6 s to say so.
    timeout_s: Annotated[AnswerTime, Field(ge=10)] = 10.0
    batch_size: BatchSize = 10
    call_s_max: BatchTime = 10.0
    execution_s_max: ExecutionTime = 10.0

    @property
    def system(self) -> str:
        """See `ConnectorSettings.system`."""
        return f"Dovecot {self.doveadm_url}"

    @property
    def verb_s_max(self) -> float:
        """The longest time of one request, in seconds: connection, head, and the rest."""
        return self.connect_timeout_s + 2 * self.timeout_s

    @model_validator(mode="after")
    def _key_under_tls(self) -> Self:
        tls("doveadm_url", self.doveadm_url)
        return self
