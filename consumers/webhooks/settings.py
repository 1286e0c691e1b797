"""Who is told what happens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from pipeline.settings import ADVANCED, CA_FILE, HttpsUrl, Section, tls

Told = Literal[
    "fr.sesame.propagation.completed.v1",
    "fr.sesame.propagation.late.v1",
    "fr.sesame.propagation.breached.v1",
    "fr.sesame.deadletter.recorded.v1",
    "fr.sesame.deadletter.resolved.v1",
]
"""What receivers may be told: student numbers and tokens, no other personal data."""

ReceiverName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class WebhookReceiver(BaseModel):
    """A program that is told what happens."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: HttpsUrl = Field(description="Where it is told; `http://` on loopback only.")
    key_file: Path = Field(
        description="Its keys, `whsec_…` or `whsk_…`, one in a line: each of them signs. Read anew each time."
    )
    types: tuple[Told, ...] = Field(
        get_args(Told), min_length=1, description="What it is told: types of events."
    )
    ca_file: Path | None = Field(None, description=CA_FILE)

    @model_validator(mode="after")
    def _under_tls(self) -> Self:
        tls("url", self.url)
        return self


class WebhookSettings(Section):
    """Programs that are told what happens by signed webhooks (Standard Webhooks)."""

    place: ClassVar[str] = "webhooks"

    receivers: dict[ReceiverName, WebhookReceiver] = Field(
        {},
        description="By name, in tables `[webhooks.receivers.NAME]`.",
        json_schema_extra=ADVANCED,
    )
    timeout_s: float = Field(
        15.0, gt=0, le=60, description="Longest wait for one answer.", json_schema_extra=ADVANCED
    )
