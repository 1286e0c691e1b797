"""A connector made from settings, as the application makes it, and asked one turn at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consumers.kit.connector import Anything, ConnectorContext, Refused, TargetObject
from consumers.kit.deadline import Deadline
from pipeline.target import Handler, HandlerOutcome, Task
from schemas.account import Account
from sesame.settings import LiveSecret

ERASE_S_MAX = 30.0


class ConnectorHarness:
    """A connector and its handler.

    Args:
        kind: the connector's class.
        section: values of its settings.
        context: the rest of its `ConnectorContext`.
    """

    def __init__(self, kind: type[Anything], section: Mapping[str, Any], **context: Any) -> None:
        settings = kind.section.model_validate(section)
        made = ConnectorContext(settings.place, settings, lambda name: LiveSecret(settings, name), **context)
        self.connector: Any = kind(made)
        self.handler: Handler = self.connector.handler()

    def outcomes(self, *accounts: Account, **how: bool) -> dict[str, HandlerOutcome]:
        """One turn for these."""
        return dict(self.handler.handle([Task(account, **how) for account in accounts]))

    def outcome(self, account: Account, **how: bool) -> HandlerOutcome:
        """One turn for one."""
        return self.outcomes(account, **how)[account.student_number]

    def objects(self) -> list[TargetObject]:
        """Everything that the connector finds in its target."""
        return list(self.connector.objects())

    def erase(self, *found: TargetObject) -> dict[str, Refused]:
        """What the target refuses to erase of these."""
        return dict(self.connector.erase(found, Deadline.after(ERASE_S_MAX)))
