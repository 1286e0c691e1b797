"""Webhook receivers: the programs that are notified of events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from pipeline.settings import ADVANCED, CA_FILE, HttpsUrl, Section, read_secret, tls
from schemas.language import gettext

Form = Literal["webhook", "set"]

Told = Literal[
    "fr.sesame.account.changed.v1",
    "fr.sesame.propagation.completed.v1",
    "fr.sesame.propagation.late.v1",
    "fr.sesame.propagation.breached.v1",
    "fr.sesame.deadletter.recorded.v1",
    "fr.sesame.deadletter.resolved.v1",
    "urn:ietf:params:scim:event:misc:asyncresp",
]
"""Events for receivers: student numbers and tokens, no other personal data."""

ASYNC_ANSWER: Final[Told] = "urn:ietf:params:scim:event:misc:asyncresp"
"""The result of an accepted SCIM request (RFC 9967, 2.5.1.3)."""

USUAL: Final[tuple[Told, ...]] = tuple(
    each for each in get_args(Told) if "account" not in each and each != ASYNC_ANSWER
)
"""The default set: no account events, which are bells for receivers of SETs."""

ReceiverName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class WebhookReceiver(BaseModel):
    """A program that receives events."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: HttpsUrl | None = Field(
        None,
        description="Where it is told; `http://` on loopback only. Unset, with `set`: it asks at "
        "`/v1/events/NAME`.",
    )
    form: Form = Field(
        "webhook",
        description="`webhook` (Standard Webhooks), or `set`: Security Event Tokens (RFC 8417, RFC 9967).",
    )
    key_file: Path = Field(
        description="Its keys, `whsec_…` or `whsk_…`, one in a line: each of them signs. With `set` `whsk_…` "
        "only: the first one signs, all are shown at `/v1/jwks.json`. Read anew each time."
    )
    audience: str | None = Field(
        None, min_length=1, max_length=512, description="`aud` of its tokens. Unset: `url`, or its name."
    )
    types: tuple[Told, ...] = Field(USUAL, min_length=1, description="What it is told: types of events.")
    ca_file: Path | None = Field(None, description=CA_FILE)

    def keys(self, name: str) -> list[str]:
        """The keys of this receiver in the file now. Raises SecretUnreadable: they cannot be read."""
        return read_secret(self.key_file, f"webhooks.receivers.{name}.key_file").split()

    def audience_of(self, name: str) -> str:
        """`aud` of the tokens for the receiver of this name."""
        return self.audience or self.url or name

    @model_validator(mode="after")
    def _as_tokens(self) -> Self:
        if self.form == "webhook" and ASYNC_ANSWER in self.types:
            raise ValueError(gettext("{name} is told as `set` only", name=ASYNC_ANSWER))
        return self

    @model_validator(mode="after")
    def _under_tls(self) -> Self:
        if self.url is not None:
            tls("url", self.url)
        elif self.form == "webhook":
            raise ValueError(gettext("{name} is missing", name="url"))
        return self


class WebhookSettings(Section):
    """Programs that receive signed webhooks (Standard Webhooks)."""

    place: ClassVar[str] = "webhooks"

    receivers: dict[ReceiverName, WebhookReceiver] = Field(
        {}, description="By name, in tables `[webhooks.receivers.NAME]`.", json_schema_extra=ADVANCED
    )
