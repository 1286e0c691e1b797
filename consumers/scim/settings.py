"""A service that speaks SCIM: where it is, and what of an account it gets."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from consumers.kit.settings import BatchSize, HttpConnectorSettings, server_of
from pipeline.settings import ADVANCED

UserName = Literal["login", "mail", "principal"]
Memberships = Literal["groups", "cohorts"]


class ScimSettings(HttpConnectorSettings):
    """A service that speaks SCIM 2.0. Used when `scim` is among the `targets`."""

    place: ClassVar[str] = "scim"

    user_name: UserName = Field(
        "principal",
        description="What the service calls a student by (`userName`): what it is told at login.",
    )
    groups: tuple[Memberships, ...] = Field(
        (),
        description="Which of an account's memberships become groups of the service: `groups`, `cohorts`, "
        "both, or none.",
    )
    group_mark: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:._-]{1,40}$")] = Field(
        "sesame:",
        description="What the `externalId` of Sésame's groups begins with; other groups are left alone.",
        json_schema_extra=ADVANCED,
    )
    batch_size: BatchSize = 20
    page_size: int = Field(
        100,
        ge=1,
        le=1000,
        description="How many objects are asked for at once when everybody is read.",
        json_schema_extra=ADVANCED,
    )

    @property
    def system(self) -> str:
        """See `ConnectorSettings.system`."""
        return f"SCIM {server_of(self.url)}"
