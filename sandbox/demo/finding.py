"""The announcement about one student, and the sweep's disagreements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COMPLETED, WAITING, FAILED = "completed", "waiting", "failed"
PROVISIONED, OUTSTANDING = "provisioned", "outstanding"

FOLLOWS = {"mailbox": "directory", "pegase_mail": "mailbox"}
"""The mail server looks its users up in the directory; an address is told to Pégase once it has a mailbox."""


@dataclass(frozen=True, slots=True)
class Announced:
    """One student, as `sesame overview --json --students` has it.

    Attributes:
        state: completed, waiting, failed or in_progress.
        targets: state, reason and pending names, by target.
    """

    number: str
    login: str
    mail: str
    state: str
    targets: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, person: Mapping[str, Any]) -> Announced:
        """Read one of the overview's `people`."""
        return cls(
            person["student_number"], person["login"], person["mail"], person["state"], person["targets"]
        )

    def given(self, target: str) -> bool:
        """Whether the target is announced to hold all, or all but what is waited for."""
        return self.targets[target]["state"] in (PROVISIONED, WAITING)

    @property
    def reasons(self) -> list[str]:
        """The reasons to wait, or of the failure; each once."""
        return sorted({str(one["reason"]) for one in self.targets.values() if one["reason"]})

    @property
    def settled(self) -> bool:
        """Whether it is complete, failed with a reason, or only waits with a reason."""
        if self.state == COMPLETED:
            return True
        return bool(self.reasons) and (self.state == FAILED or (self.state == WAITING and not self._due()))

    def _due(self) -> bool:
        """Whether a target has work that does not wait for its leader."""
        outstanding = [name for name, one in self.targets.items() if one["state"] == OUTSTANDING]
        leaders = [self.targets.get(FOLLOWS.get(name, ""), {}) for name in outstanding]
        return any(leader.get("state") != WAITING for leader in leaders)

    @property
    def pending(self) -> set[str]:
        """Names of what is not given yet."""
        return {name for one in self.targets.values() for name in one["pending"]}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A difference from the announcement, or from what the registrar's file implies."""

    number: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.number:<12} {self.where:<16} {self.what}"
