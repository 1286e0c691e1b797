"""Judge a password for a student: in the pages and in `sesame activate` alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline import accounts
from pipeline.db.database import Database
from pipeline.errors import SesameError
from producers.activation.files import FAULTS_SHOWN_MAX
from producers.activation.hashes import PASSWORD_LENGTH_MAX
from producers.activation.known_students import KnownStudents
from producers.activation.policy import PasswordRule, PasswordSettings, PasswordVerdict, Personal, judge
from schemas.language import gettext, ngettext


class WeakPasswords(SesameError):
    """Passwords that were handed over are weaker than those that students may choose (the settings under
    `password`). Choose others for the students that are named; nothing was activated."""


class PasswordJudge:
    """Judges by the policy and by what is known of the student. Thread-safe; it changes nothing.

    Args:
        site_words: what counts as known to an attacker at this university.
    """

    def __init__(
        self, database: Database, policy: PasswordSettings, *, site_words: Sequence[str], known: KnownStudents
    ) -> None:
        self._database = database
        self._policy = policy
        self._site_words = tuple(site_words)
        self._known = known

    def judge(self, student_number: str, password: str) -> PasswordVerdict:
        """Judge a password for this student, who need not be known."""
        with self._database.read() as connection:
            person = self._known.known(connection, student_number)
            account = accounts.find(connection, student_number)
        names: list[str | None] = list(self._site_words)
        numbers: list[str | None] = [student_number]
        birth = None
        if person is not None:
            who = person.identity
            names += [who.birth_name, who.usage_name, who.given_name, who.preferred_given_name]
            names += [person.preferred_given_name, (person.personal_mail or "").partition("@")[0]]
            numbers.append(person.ine)
            birth = who.birth_date
        if account is not None:
            names.append(account.login)
        return judge(password, Personal.of(names, numbers, birth), self._policy)

    def refuse_weak(self, passwords: Mapping[str, str]) -> None:
        """Check that each of these (student number to password) is good enough.

        Raises:
            WeakPasswords: naming the students whose are not, and why. No password is repeated.
        """
        faults = [
            gettext("{number}: {fault}", number=number, fault=", ".join(self._faults(verdict)))
            for number, password in passwords.items()
            if not (verdict := self.judge(number, password)).accepted
        ]
        if not faults:
            return
        shown, more = faults[:FAULTS_SHOWN_MAX], len(faults) - FAULTS_SHOWN_MAX
        if more > 0:
            shown.append(ngettext("and {n} more student", "and {n} more students", more))
        raise WeakPasswords(
            ngettext(
                "{n} password is too weak: {faults}",
                "{n} passwords are too weak: {faults}",
                len(faults),
                faults="; ".join(shown),
            ),
            remedy=gettext("Choose others for these students; nothing was activated."),
        )

    def _faults(self, verdict: PasswordVerdict) -> Iterator[str]:
        policy = self._policy
        words = {
            PasswordRule.FORM: gettext(
                "too short, or of too few kinds of characters (at least {length} of {kinds} kinds, {longer} "
                "of one kind less, or {words} words)",
                length=policy.length_min,
                kinds=policy.kinds_min,
                longer=policy.longer_length_min,
                words=policy.words_min,
            ),
            PasswordRule.COMMON: gettext("common, or easy to guess"),
            PasswordRule.PERSONAL: gettext("holds a name, a date or a number of the student's or the site's"),
            PasswordRule.LENGTH_MAX: gettext("more than {limit} characters", limit=PASSWORD_LENGTH_MAX),
            PasswordRule.PRINTABLE: gettext("control characters"),
        }
        return (text for rule, text in words.items() if rule in verdict.broken)
