"""The program or endpoint, and the account fields that it keeps."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from consumers.kit.settings import HttpTokenSettings, server_of
from pipeline.settings import HttpsUrl, tls

FieldName = Literal[
    "login",
    "mail",
    "aliases",
    "display_name",
    "family_name",
    "given_name",
    "language",
    "affiliations",
    "entities",
    "groups",
    "cohorts",
    "valid_until",
]

_USUAL: Final[tuple[FieldName, ...]] = ("login", "mail", "display_name")


class ProgramSettings(HttpTokenSettings):
    """A connector in any language. The contract: docs/reference/connector-contract.md."""

    command: tuple[str, ...] = Field(
        (),
        description="The program and its first arguments; the verb is added. Started without a shell, for "
        "each batch, and ended when its time is used up.",
    )
    url: HttpsUrl | None = Field(
        None, description="Instead of a program: an address; verbs are called by POST below it."
    )
    fields: tuple[FieldName, ...] = Field(
        _USUAL,
        min_length=1,
        description="What of an account the target keeps: these are compared, written and read back.",
    )

    @property
    def system(self) -> str:
        """The program's name, or the endpoint's server."""
        return f"program {self.command[0]}" if self.url is None else f"endpoint {server_of(self.url)}"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.command) == (self.url is not None):
            raise ValueError("set either command or url")
        if self.url is not None:
            tls("url", self.url)
        return self
