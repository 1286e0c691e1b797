"""A SCIM service: its address, and what it gets of an account."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from consumers.kit.settings import BatchSize, HttpConnectorSettings, server_of

UserName = Literal["login", "mail", "principal"]
Memberships = Literal["groups", "cohorts"]


class ScimSettings(HttpConnectorSettings):
    """A service that speaks SCIM 2.0."""

    place: ClassVar[str] = "scim"

    user_name: UserName = Field(
        "principal", description="What the service calls a student by (`userName`): what it is told at login."
    )
    groups: tuple[Memberships, ...] = Field(
        (),
        description="Which of an account's memberships become groups of the service: `groups`, `cohorts`, "
        "both, or none.",
    )
    batch_size: BatchSize = 20

    @property
    def system(self) -> str:
        """See `ConnectorSettings.system`."""
        return f"SCIM {server_of(self.url)}"
