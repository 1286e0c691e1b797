"""Why a student is not (yet) as wanted in Moodle: tokens, what they mean, and what an operator does about
them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final


class CauseKind(Enum):
    """What becomes of the student's turn."""

    WAIT = "wait"  # for an operator; looked at again now and then
    RETRY = "retry"
    DEAD = "dead"


class MoodleCause(StrEnum):
    """Tokens of outcomes; dead letters are grouped by them. `explanation` says what each one means."""

    USERNAME_TAKEN = "moodle_username_taken"
    EMAIL_TAKEN = "moodle_email_taken"

    DUPLICATE_IDNUMBER = "moodle_duplicate_idnumber"
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
    OUT_OF_TIME = "moodle_out_of_time"

    @property
    def kind(self) -> CauseKind:
        """What becomes of the student's turn."""
        return _CAUSES[self][0]

    @property
    def explanation(self) -> str:
        """What it means and how to mend it, for operators; names nobody."""
        return _CAUSES[self][1]


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


def _why(kind: CauseKind, explanation: str) -> tuple[CauseKind, str]:
    return kind, explanation


_CAUSES: Final[dict[MoodleCause, tuple[CauseKind, str]]] = {
    MoodleCause.USERNAME_TAKEN: _why(
        CauseKind.WAIT,
        "The login is the username of a Moodle user whose idnumber is another one or empty. If that is "
        "this student's earlier account, write the student number in its idnumber field; if not, rename "
        "it.",
    ),
    MoodleCause.EMAIL_TAKEN: _why(
        CauseKind.WAIT,
        "The mail address belongs to a Moodle user with another idnumber, and the site refuses it twice. "
        "If that is this student's earlier account, write the student number in its idnumber field; if "
        "not, change its address.",
    ),
    MoodleCause.DUPLICATE_IDNUMBER: _why(
        CauseKind.DEAD,
        "Several Moodle users carry this student number in idnumber. Keep one (Moodle's merge-users "
        "plugin), empty the field of the others, then replay.",
    ),
    MoodleCause.LOGIN_INVALID: _why(
        CauseKind.DEAD,
        "Moodle does not take this login: lower-case letters, digits and . _ - @ only, 100 characters at "
        "most. Change the login template or this login, then replay.",
    ),
    MoodleCause.EMAIL_INVALID: _why(
        CauseKind.DEAD,
        "Moodle does not take this mail address: an ASCII address of 100 characters at most is needed. "
        "Change the mail template or this address, then replay.",
    ),
    MoodleCause.NAME_MISSING: _why(
        CauseKind.DEAD,
        "Moodle needs a given name and a family name, and an empty one would wipe what it has. Complete "
        "the name at the registrar.",
    ),
    MoodleCause.REFUSED_VALUES: _why(
        CauseKind.DEAD,
        "Moodle refuses this user's values, alone and without saying which: look for < in a name, a mail "
        "domain that the site forbids (allowemailaddresses, denyemailaddresses), a language pack that is "
        "not installed.",
    ),
    MoodleCause.WRITE_REFUSED: _why(
        CauseKind.DEAD,
        "Moodle's database refuses this student's row again and again, while it takes others': a value "
        "too long for its column, or a broken row. Moodle's log says which, with debugging on; then "
        "replay.",
    ),
    MoodleCause.ADMIN_ACCOUNT: _why(
        CauseKind.DEAD,
        "The Moodle user with this student number is a site administrator (or the guest), whom web "
        "services may not change. Take the role away, or empty its idnumber field, then replay.",
    ),
    MoodleCause.DUPLICATE_COHORT: _why(
        CauseKind.DEAD,
        "Several cohorts carry the same idnumber, so nobody can say which one enrols. Delete all but the "
        "one that the courses are tied to, then replay this cause.",
    ),
    MoodleCause.COHORT_CONFLICT: _why(
        CauseKind.DEAD,
        "A cohort exists whose idnumber differs in capitals, accents or blanks only; the database takes "
        "them for the same and refuses a second one. Correct its idnumber, then replay this cause.",
    ),
    MoodleCause.COHORT_REFUSED: _why(
        CauseKind.DEAD,
        "Moodle refuses to create this cohort: an idnumber of 100 characters at most and a name are "
        "needed. Correct the cohort template, then replay this cause.",
    ),
    MoodleCause.BUSY: _why(
        CauseKind.RETRY,
        "Moodle's database refused the write, for others too: locks, or a full disk.",
    ),
    MoodleCause.BROKEN: _why(
        CauseKind.RETRY,
        "PHP fails on this student's row, and on no other: see the site's PHP log.",
    ),
    MoodleCause.OUTCOME_UNKNOWN: _why(
        CauseKind.RETRY,
        "The answer to a write was lost, and what was read back does not show it (yet). It is compared "
        "again.",
    ),
    MoodleCause.NOT_APPLIED: _why(
        CauseKind.RETRY,
        "Moodle accepted the write, and reading it back shows something else: somebody else writes the "
        "same field, or moodle.max_input_vars is above the site's and PHP cut the call.",
    ),
    MoodleCause.OUT_OF_TIME: _why(
        CauseKind.RETRY,
        "Moodle was too slow for this batch; the rest is done later.",
    ),
}
