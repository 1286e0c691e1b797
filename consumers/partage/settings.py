"""RENATER Partage's settings: address, domain and key, and what we own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from consumers.kit.settings import BatchSize, HttpClientSettings, server_of
from pipeline.settings import ADVANCED, HttpsUrl, tls

Domain = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+([.][A-Za-z0-9-]+)+$", max_length=253)]
NumberAttribute = Literal["zimbraNotes", "description", "initials", "pager", "company", "title"]
"""Attributes of persons that public clients write as free text, and this connector not otherwise."""


class PartageSettings(HttpClientSettings):
    """RENATER Partage, by its BSS interface."""

    place: ClassVar[str] = "partage"

    url: HttpsUrl = Field(
        "https://api.partage.renater.fr/service/domain",
        description="The address of BSS; `http://` on loopback only.",
    )
    domain: Domain = Field(description="The mail domain that the key is for, as RENATER knows it.")
    key: SecretStr | None = None
    key_file: Path | None = Field(None, description="File that holds the domain's pre-authentication key.")
    class_of_service: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Id of the class of service (`zimbraCOSId`) of every account. Unset: Partage's own.",
    )
    closed_status: Literal["closed", "locked"] = Field(
        "closed",
        description="What shut access is: `closed` (mail is rejected) or `locked` (mail still arrives).",
        json_schema_extra=ADVANCED,
    )
    redirection: bool = Field(
        True,
        description="Whether Sésame sets and removes the redirection (`zimbraPrefMailForwardingAddress`). "
        "`false`: students set their own in the webmail, and it is left alone.",
    )
    hidden: bool | None = Field(
        None,
        description="Whether accounts are hidden in the address list (`zimbraHideInGal`). Unset: left alone.",
        json_schema_extra=ADVANCED,
    )
    quota_bytes: int | None = Field(
        None,
        ge=0,
        description="Quota (`zimbraMailQuota`), in bytes; 0: unlimited. Unset: that of the class of service.",
        json_schema_extra=ADVANCED,
    )
    number_attribute: NumberAttribute = Field(
        "zimbraNotes",
        description="The attribute that carries the student number. The address list shows `description`.",
        json_schema_extra=ADVANCED,
    )
    erasure: Literal["delete", "predelete"] = Field(
        "delete",
        description="What erasing is: `delete` (DeleteAccount, with all mail), or `predelete` (closed and "
        "renamed `readytodelete_…`, as Partage's administrators do; somebody must delete it later).",
        json_schema_extra=ADVANCED,
    )
    batch_size: BatchSize = 10

    @property
    def system(self) -> str:
        """See `ConnectorSettings.system`."""
        return f"Partage {server_of(self.url)} {self.domain}"

    @model_validator(mode="after")
    def _under_tls(self) -> Self:
        tls("url", self.url)
        return self
