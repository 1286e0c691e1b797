"""Guests: invited until a day. The sponsor answers for them."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Final

from pydantic import ValidationError
from sqlalchemy import Connection, select

from consumers.registry.people import People, people
from consumers.registry.settings import PopulationRules
from pipeline import accounts
from pipeline.audit import operator_notes
from pipeline.errors import SesameError
from producers.registrar.feed import new_record
from producers.registrar.rows import AGE_YEARS_MAX, AGE_YEARS_MIN
from schemas.account import (
    GUEST,
    GUEST_PREFIX,
    NO_YEAR,
    Account,
    Administrative,
    Pedagogical,
    Stage,
    is_guests,
)
from schemas.events import EnrolmentCancelled, EnrolmentRecorded
from schemas.language import Language, gettext, gettext_noop, local_day
from schemas.scalars import Text, is_mail_address
from sesame.acts.acts import DESK, Actor, ActPath, ActRequest, Report, act, shown, utc
from sesame.acts.ports import Registering, Stored

SOURCE: Final = "guests"
"""The feed of guests, in their events."""
DAYS_MAX: Final = 366
"""The longest invitation, in days; the sponsor renews it."""
_NO_UNIT: Final = "EXT"
"""The component of a guest whose sponsor has none."""
_NAMES: Final = {"birth_name": gettext_noop("birth name"), "given_name": gettext_noop("given name")}
_DIGITS: Final = 8
_PAGE: Final = 500


class NoSponsor(SesameError):
    """The sponsor has no open account at the university, or is a guest too. Name another sponsor; nothing was
    done."""

    exit_code = 2


class NotInvited(SesameError):
    """The invitation cannot be made as it is. Nothing was done."""

    exit_code = 2


class InviteRequest(ActRequest):
    """A guest: who, until when (included), why, and who answers for them (a number)."""

    sponsor: str
    birth_name: str
    given_name: str
    birth_date: date
    personal_mail: str
    until: date
    reason: Text
    language: Language | None = None


class EndInvitationRequest(ActRequest):
    """The guest whose invitation is taken back, and why."""

    student_number: str
    reason: Text


class GuestReport(Report):
    """A guest, and who answers for them.

    Attributes:
        name: None: there is no account yet.
        sponsored: whether the sponsor's account is open, and can renew the invitation.
    """

    student_number: str
    name: str | None
    stage: Stage | None
    until: date | None
    sponsor: str | None
    sponsored: bool

    @property
    def is_left_alone(self) -> bool:
        """Whether no sponsor can renew the invitation of a guest who has access."""
        return self.sponsor is not None and not self.sponsored


@act("guest.invite", DESK, path=ActPath("invite_guest", "POST", "/guests"))
def invite(site: Registering, actor: Actor, request: InviteRequest) -> GuestReport:
    """Invite a guest, who activates as students do, by the number and this address.

    Raises:
        NoSponsor, NotInvited: nothing was done.
        LogUnavailable, StoreUnavailable: repeat it.
    """
    with site.database.read() as connection:
        now = utc(site.database.now(connection))
        sponsor = _sponsors(connection, [request.sponsor]).get(request.sponsor)
        number = _new_number(connection, People(site.database))
    if sponsor is None:
        raise NoSponsor(gettext("{sponsor} answers for no guest", sponsor=request.sponsor))
    event = _fact(request, number, sponsor, site.settings.registry.population(GUEST), now)
    with site.database.write() as connection:
        operator_notes.keep_and_audit(
            connection,
            site.database,
            action="guest.invite",
            about=sponsor.student_number,
            student_number=number,
            actor=actor.name,
            words=request.reason,
            detail={"student_number": number, "sponsor": sponsor.student_number, "until": str(request.until)},
        )
    site.producer.append([new_record(event, (number,), now)])
    return GuestReport(
        student_number=number,
        name=None,
        stage=None,
        until=request.until,
        sponsor=sponsor.student_number,
        sponsored=True,
    )


@act("guest.end", DESK, path=ActPath("end_invitation", "POST", "/guests/end"))
def end(site: Registering, actor: Actor, request: EndInvitationRequest) -> GuestReport:
    """Take an invitation back: access ends on the next day at the latest, and the guest may be erased.

    Raises:
        NotInvited: nothing was done.
        LogUnavailable, StoreUnavailable: repeat it.
    """
    number, people = request.student_number, People(site.database)
    with site.database.read() as connection:
        now = utc(site.database.now(connection))
        account = accounts.find(connection, number)
        invitations = [each for each in people.enrolments(connection, number) if each.population == GUEST]
        sequences = people.step_sequences(connection, number)
    if account is None or not invitations:
        raise NotInvited(gettext("{number}: there is no invitation", number=number))
    with site.database.write() as connection:
        operator_notes.keep_and_audit(
            connection,
            site.database,
            action="guest.end",
            about="",
            student_number=number,
            actor=actor.name,
            words=request.reason,
            detail={"student_number": number},
        )
    events = [
        EnrolmentCancelled(
            student_number=number,
            source=SOURCE,
            source_sequence=max(int(now.timestamp()), sequences[each.key] + 1),
            year=each.year,
            step=each.step,
            step_version=each.step_version,
            reason="taken_back",
        )
        for each in invitations
    ]
    site.producer.append([new_record(event, (number, str(event.source_sequence)), now) for event in events])
    return _report(account, sponsored=False).model_copy(update={"until": now.date(), "sponsor": None})


@act(
    "guest.list",
    DESK,
    path=ActPath("list_guests", "GET", "/guests"),
    shows=lambda found: shown(each.student_number for each in found),
)
def invited(site: Stored, _actor: Actor) -> list[GuestReport]:
    """All guests who are not erased, those first who leave first."""
    found: list[GuestReport] = []
    guests = accounts.accounts.c.student_number.startswith(GUEST_PREFIX)
    for page in accounts.number_pages(
        site.database, guests, accounts.accounts.c.stage != Stage.ERASED, size=_PAGE
    ):
        with site.database.read() as connection:
            several = accounts.newest(connection, page).values()
            sponsors = _sponsors(connection, {each.sponsor for each in several if each.sponsor})
        found += [_report(each, sponsored=each.sponsor in sponsors) for each in several]
    return sorted(found, key=lambda each: (each.until or date.max, each.student_number))


def sponsor_of(connection: Connection, guest: Account) -> Account | None:
    """The open account of a guest's sponsor; None: the sponsor has left."""
    return None if guest.sponsor is None else _sponsors(connection, [guest.sponsor]).get(guest.sponsor)


def _sponsors(connection: Connection, numbers: Collection[str]) -> dict[str, Account]:
    """The accounts that answer for guests under these numbers; a merged number's is that of the other one."""
    p = people.c
    merged = select(p.student_number, p.merged_into).where(
        p.student_number.in_(numbers), p.merged_into.is_not(None)
    )
    kept = {number: number for number in numbers} | {row[0]: row[1] for row in connection.execute(merged)}
    found = accounts.newest(connection, sorted(set(kept.values())))
    return {number: found[owner] for number, owner in kept.items() if _may_answer(found.get(owner))}


def _report(account: Account, *, sponsored: bool) -> GuestReport:
    return GuestReport(
        student_number=account.student_number,
        name=account.person.display_name,
        stage=account.stage,
        until=account.valid_until,
        sponsor=account.sponsor,
        sponsored=sponsored,
    )


def _may_answer(account: Account | None) -> bool:
    if account is None or account.stage is not Stage.ACTIVE or is_guests(account.student_number):
        return False
    return account.access_open


def _fact(
    request: InviteRequest, number: str, sponsor: Account, rules: PopulationRules | None, now: datetime
) -> EnrolmentRecorded:
    """The fact of an invitation. Raises `NotInvited`."""
    today = now.date()
    last = today + timedelta(days=DAYS_MAX)
    if not is_mail_address(request.personal_mail):
        raise NotInvited(gettext("{address!r} is no mail address", address=request.personal_mail))
    if not today <= request.until <= last:
        days = {"day": local_day(request.until), "last": local_day(last)}
        raise NotInvited(gettext("until {day}: not between today and {last}", **days))
    if not AGE_YEARS_MIN <= today.year - request.birth_date.year <= AGE_YEARS_MAX:
        raise NotInvited(gettext("born on {day}: not plausible", day=local_day(request.birth_date)))
    try:
        return EnrolmentRecorded(
            student_number=number,
            source=SOURCE,
            source_sequence=int(now.timestamp()),
            year=NO_YEAR,
            step=GUEST,
            step_version=GUEST,
            step_label=GUEST if rules is None else rules.label,
            component=next(iter(sponsor.entities), _NO_UNIT),
            primary=False,
            administrative=Administrative.IN_FORCE,
            pedagogical=Pedagogical.VALIDATED,
            birth_name=request.birth_name.strip(),
            given_name=request.given_name.strip(),
            birth_date=request.birth_date,
            personal_mail=request.personal_mail,
            language=request.language,
            population=GUEST,
            ends_on=request.until,
            sponsor=sponsor.student_number,
        )
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        field = gettext(_NAMES.get(name, name))
        raise NotInvited(gettext("{field}: give one line of 1 to 512 characters", field=field)) from None


def _new_number(connection: Connection, people: People) -> str:
    """A new number. Random, so that a restored store issues none again."""
    while True:
        number = f"{GUEST_PREFIX}{secrets.randbelow(10**_DIGITS):0{_DIGITS}}"
        if people.known(connection, number) is None:
            return number
