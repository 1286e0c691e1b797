"""Print a letter with a code, for a student who cannot read the personal mail."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import Field
from sqlalchemy import Connection

from consumers.directory import NAME as DIRECTORY
from pipeline.audit import operator_notes
from pipeline.errors import SesameError
from producers.activation.desk_letters import DeskLetter
from producers.activation.letters import paper
from schemas.account import Account, Stage
from schemas.language import LANGUAGES, Language, local
from schemas.scalars import Text
from schemas.typography import weekday
from sesame.acts.acts import DESK, STAFF, Actor, ActRequest, Report, act, shown_one, utc
from sesame.acts.ports import Lettering
from sesame.login import cas_sessions
from sesame.login.port import Validated
from sesame.login.roles import roles_of
from sesame.operations.access.holds import account_of_desk

_ENDED: Final = frozenset({Stage.EXPIRED, Stage.ERASED})


class StaffAccount(SesameError):
    """This person has a role at the console, so no letter replaces the password. An administrator helps."""


class NoLetter(SesameError):
    """No letter of this student may be used any more: it has served or expired, or a password was chosen."""


class LetterRequest(ActRequest):
    """A student, and how the desk knows who asks."""

    student_number: str = Field(max_length=64)
    reason: Text


class PrintedLetter(Report):
    """A letter to print.

    Attributes:
        code: works once, until then; void once a password is chosen.
        texts: the letter, by language.
        told: at how many addresses it was announced now; 0: it was printed before.
    """

    student_number: str
    code: str
    until: datetime
    texts: Mapping[Language, str]
    told: int = 0


@act("letter.print", DESK)
def print_letter(site: Lettering, actor: Actor, request: LetterRequest) -> PrintedLetter:
    """Print a letter with a code, by which the student chooses a password; announce it by mail.

    While it may be used, printing again gives the same letter, and announces nothing.

    Raises:
        NoSuchStudent, AccountHeld, AccountShut, StaffAccount: there is no letter.
        TargetDown: the directory does not tell whether the person has a role.
        StoreUnavailable: nothing was done.
    """
    number, database, letters = request.student_number, site.database, site.portal().desk_letters
    with database.read() as connection:
        account = _account(connection, site, number)
    _refuse_staff(site, account)
    with database.write() as connection:
        account = _account(connection, site, number)
        letter, told = letters.print(connection, number, "en" if account.person.language == "en" else "fr")
        operator_notes.keep_and_audit(
            connection,
            database,
            action="letter.print",
            about="",
            student_number=number,
            actor=actor.name,
            words=request.reason,
            detail={"student_number": number, "again": not told},
        )
        return _printed(site, account, letter, told)


@act("letter.show", DESK, shows=lambda letter, _number: shown_one(letter.student_number))
def show_letter(site: Lettering, _actor: Actor, student_number: str) -> PrintedLetter:
    """Show the letter that was printed for a student, once more.

    Raises:
        NoSuchStudent, AccountHeld, AccountShut, NoLetter: there is none to use.
    """
    with site.database.read() as connection:
        account = _account(connection, site, student_number)
        letter = site.portal().desk_letters.standing(connection, student_number)
        if letter is None:
            raise NoLetter
        return _printed(site, account, letter)


def _account(connection: Connection, site: Lettering, number: str) -> Account:
    return account_of_desk(connection, site.database, number, shut=lambda each: each.stage in _ENDED)


def _refuse_staff(site: Lettering, account: Account) -> None:
    """Refuse whoever may see students at the console: in an open session, or at the next login.

    CAS releases what the directory has: `console.roles` is compared with the person's own entry.
    """
    with site.database.read() as connection:
        roles = cas_sessions.roles_of_login(connection, account.login, now=site.database.now(connection))
    rules: dict[str, tuple[str, ...]]
    rules = {role: each for role, each in site.settings.console.roles.items() if role in STAFF}
    if rules and DIRECTORY in site.settings.targets and account.activated_at is not None:
        names = {each.partition("=")[0].strip() for rule in rules.values() for each in rule}
        with site.directory() as directory:
            shown = directory.attributes_of(account.login, sorted(names))
        roles = roles.union(roles_of(rules, Validated(account.login, shown)))
    if roles & STAFF:
        raise StaffAccount


def _printed(site: Lettering, account: Account, letter: DeskLetter, told: int = 0) -> PrintedLetter:
    portal, until = site.settings.portal, utc(letter.until)
    texts = {
        language: paper(
            language,
            institution=portal.institution,
            portal_url=portal.origin,
            support=portal.support,
            name=account.person.display_name,
            number=account.student_number,
            login=account.login,
            activated=account.activated_at is not None,
            code=letter.code,
            until=_moment(until, language),
        )
        for language in LANGUAGES
    }
    return PrintedLetter(
        student_number=account.student_number, code=letter.code, until=until, texts=texts, told=told
    )


def _moment(at: datetime, language: Language) -> str:
    """A day and a time on paper, in the site's zone."""
    here = local(at)
    if language == "en":
        return f"{weekday(here, language)} at {here:%H:%M}"
    return f"{weekday(here, language)} à {here:%H h %M}"
