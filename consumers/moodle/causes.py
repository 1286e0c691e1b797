"""Tokens for why a student is not (yet) as wanted in Moodle.

Their words are in `reasons.toml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from consumers.kit.connector import SLOW, TOO_SLOW, Held, Refused
from consumers.kit.reasons import Kind, Reason, read_reasons

REASONS: Final[Mapping[str, Reason]] = read_reasons(Path(__file__).with_name("reasons.toml"))


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
    def kind(self) -> Kind | Literal[""]:
        """How the student's turn ends."""
        return "retry" if self is MoodleCause.OUT_OF_TIME else REASONS[self].kind

    @property
    def explanation(self) -> str:
        """Its meaning in English, for records; without personal data."""
        return TOO_SLOW if self is MoodleCause.OUT_OF_TIME else REASONS[self].words["en"].what


Fault = Held | Refused
"""Why a student is not as wanted. What waits, waits for an operator: the connector says how long."""


def fault(cause: MoodleCause, about: str = "") -> Fault:
    """The cause in the kit's words.

    Args:
        cause: the token.
        about: what it is about, when that is no person: a cohort's idnumber, an error code of Moodle's.
    """
    if cause.kind == "waiting":
        return Held(cause.value)
    message = f"{cause.explanation} [{about}]" if about else cause.explanation
    unknown = cause is MoodleCause.OUTCOME_UNKNOWN
    return Refused(cause.value, message, lasting=cause.kind == "dead", unknown=unknown)
