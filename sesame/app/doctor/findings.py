"""The result of a check of `sesame doctor`: a line of text, and any remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import SesameError, remedy_of
from schemas.language import gettext
from sesame.app.errors import is_away


class CheckState(StrEnum):
    """A dependency's state."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class CheckResult:
    """A check's finding, in one line; `down`: the dependency is away, no setting is wrong."""

    state: CheckState
    text: str
    remedy: str = ""
    down: bool = False

    def document(self) -> dict[str, str]:
        """The finding as `--json` shows it."""
        return {"state": self.state.value, "text": self.text, "remedy": self.remedy}


@dataclass(frozen=True)
class Check:
    """One dependency. `run` takes seconds at most: its time-outs are those of the settings."""

    name: str
    run: Callable[[], CheckResult]


def ok(text: str) -> CheckResult:
    """A check that passed; `text` gives details."""
    return CheckResult(CheckState.OK, text)


def warn(text: str, remedy: str) -> CheckResult:
    """A check that passed, with something for an operator to look at."""
    return CheckResult(CheckState.WARN, text, remedy)


def fail(text: str, remedy: str, *, down: bool = False) -> CheckResult:
    """A check that failed."""
    return CheckResult(CheckState.FAIL, text, remedy, down)


def examine(check: Check) -> CheckResult:
    """Run one check. Whatever it raises becomes a finding."""
    try:
        return check.run()
    except SesameError as error:
        return fail(str(error), remedy_of(error), down=is_away(error))
    except Exception as error:  # noqa: BLE001 (the doctor examines the others all the same)
        # Its own text may quote a person or a secret.
        text = gettext("internal error, {what}", what=type(error).__name__)
        again = gettext("Run it again with {setting}, and report what it prints.", setting="SESAME_DEBUG=1")
        return fail(text, again)
