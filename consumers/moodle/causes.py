"""Tokens for why a student is not (yet) as wanted in Moodle.

Their words are in `reasons.toml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path
from typing import Final

from consumers.kit.connector import SLOW, TOO_SLOW
from consumers.kit.reasons import Reason, read_reasons

REASONS: Final[Mapping[str, Reason]] = read_reasons(Path(__file__).with_name("reasons.toml"))


class CauseKind(Enum):
    """How the student's turn ends."""

    WAIT = "waiting"  # for an operator; looked at again now and then
    RETRY = "retry"
    DEAD = "dead"


class MoodleCause(StrEnum):
    """Tokens of outcomes; dead letters are grouped by them. `explanation` says what each one means."""

    USERNAME_TAKEN = "moodle_username_taken"
    EMAIL_TAKEN = "moodle_email_taken"
    DELETION_FORBIDDEN = "moodle_deletion_forbidden"

    LOGIN_INVALID = "moodle_login_invalid"
    EMAIL_INVALID = "moodle_email_invalid"
    NAME_MISSING = "moodle_name_missing"
    REFUSED_VALUES = "moodle_refused_values"
    WRITE_REFUSED = "moodle_write_refused"
    ADMIN_ACCOUNT = "moodle_admin_account"
    DUPLICATE_COHORT = "moodle_duplicate_cohort"
    COHORT_CONFLICT = "moodle_cohort_conflict"
    COHORT_REFUSED = "moodle_cohort_refused"

    BUSY = "moodle_busy"
    BROKEN = "moodle_broken"
    OUTCOME_UNKNOWN = "moodle_outcome_unknown"
    NOT_APPLIED = "moodle_not_applied"
    OUT_OF_TIME = SLOW

    @property
    def kind(self) -> CauseKind:
        """How the student's turn ends."""
        return CauseKind.RETRY if self is MoodleCause.OUT_OF_TIME else CauseKind(REASONS[self].kind)

    @property
    def explanation(self) -> str:
        """Its meaning in English, for records; without personal data."""
        return TOO_SLOW if self is MoodleCause.OUT_OF_TIME else REASONS[self].words["en"].what


@dataclass(frozen=True)
class MoodleFault:
    """One reason.

    Attributes:
        cause: the token.
        about: what it is about, when that is no person: a cohort's idnumber, an error code of Moodle's.
    """

    cause: MoodleCause
    about: str = ""

    @property
    def message(self) -> str:
        """The explanation, and what it is about."""
        return f"{self.cause.explanation} [{self.about}]" if self.about else self.cause.explanation
