"""The audit: who did what, when and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from pipeline import audit
from sesame.operations.acts import Actor, Report, act, utc
from sesame.operations.ports import Stored


class AuditEntry(Report):
    """One act, and to what it was done; `reason`: the operator's own words, None once removed."""

    id: int
    at: datetime
    actor: str
    action: str
    detail: Mapping[str, Any]
    reason: str | None


class AuditPage(BaseModel):
    """Which entries, `limit` at most.

    Attributes:
        actor: by this user, whoever's rights they had.
        action: this one, or all of a kind: `hold` means hold.place and hold.lift.
        about: a student number, a consumer, a replay's or a file's name.
        since: of this time on, epoch seconds.
        before: older than the entry of this id.
    """

    actor: str | None = None
    action: str | None = None
    about: str | None = None
    since: float = 0.0
    before: int | None = None
    limit: int


@act("audit.list")
def entries(site: Stored, _actor: Actor, request: AuditPage) -> list[AuditEntry]:
    """These, the newest first."""
    with site.database.read() as connection:
        found = audit.entries(connection, **request.model_dump())
    return [AuditEntry(**asdict(entry) | {"at": utc(entry.at)}) for entry in found]
