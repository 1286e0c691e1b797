"""The only place that mints account versions, for every cause alike.

Row lock, new account, its announcement in the outbox and its timer: one transaction. No version is minted
when nothing would change for the targets. A new ESI, which no account has, changes something: it rings too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection

from consumers.registry import NAME, teachings
from consumers.registry.account import Known, current_enrolments, merge, shown_person
from consumers.registry.erasure import erasures
from consumers.registry.erasure.erasures import GONE, SEQUENCE
from consumers.registry.esi import Esis
from consumers.registry.identity import MAIL, every_name, mint, renamed, short_login
from consumers.registry.ledger import SqlLedger
from consumers.registry.lifecycle import closings
from consumers.registry.lifecycle.closings import ERASURE_DUE, Scope
from consumers.registry.lifecycle.stages import Closing, Lifecycle, closing_of, shut_at
from consumers.registry.lifecycle.warnings import Warnings
from consumers.registry.people import KnownPerson, Names, People, cohort_of
from pipeline import accounts, outbox, target_states, timers
from pipeline.db.database import Database
from schemas import catalogue
from schemas.account import STUDENT, Account, Enrolment, Hold, Lane, Stage
from schemas.envelope import SOURCE_PREFIX, Message, event_id
from schemas.events import AccountChanged, Cause

if TYPE_CHECKING:
    from consumers.registry.erasure.privacy_key import PrivacyKey

YEAR_ENDS, GRACE_ENDS = "year_ends", "grace_ends"
TIMERS = (YEAR_ENDS, GRACE_ENDS, ERASURE_DUE)
_TIMER = {Stage.GRACE: GRACE_ENDS, Stage.EXPIRED: ERASURE_DUE}


class Propagated(Protocol):
    """The recorded progress of this version of an account; it may lag behind."""

    def at_rest(self, connection: Connection, student_number: str, version: int) -> bool:
        """True if its propagation has ended, or waits for a business precondition."""

    def completed(self, connection: Connection, student_number: str, version: int) -> bool:
        """True if every target was seen to have it, or a later one."""


@dataclass(frozen=True)
class Origin:
    """The cause of a new version.

    Attributes:
        lane: who is waiting.
        time: when it happened, UTC; the window opens then.
        event_id: the fact's event; for a timer, its name and time.
    """

    cause: Cause
    lane: Lane
    time: datetime
    event_id: str

    @classmethod
    def of(cls, message: Message, cause: Cause, lane: Lane) -> Origin:
        """The origin of a version that a fact causes."""
        return cls(cause, lane, message.time, message.id)


class Minter:
    """Mints versions within the caller's transaction."""

    def __init__(
        self,
        database: Database,
        people: People,
        lifecycle: Lifecycle,
        propagated: Propagated,
        warnings: Warnings,
        esis: Esis,
    ) -> None:
        self.privacy: PrivacyKey | None = None
        self._esis = esis
        self._warnings = warnings
        self._propagated = propagated
        self._database = database
        self._people = people
        self._lifecycle = lifecycle
        self._settings = lifecycle.registry

    def mint_version(
        self, connection: Connection, student_number: str, origin: Origin, *, decided: bool = False
    ) -> Account | None:
        """Mint and announce the account's new version; None if no target is affected.

        A first version is not minted for a person whose identity is in doubt (the technical hold), nor for
        one who neither is enrolled nor requested an account. A merged number has no enrolments: they belong
        to the number that remains, whose account is brought along.

        Args:
            decided: numbers were merged, or part: an ESI may be shown by another account now.

        Raises:
            NamesExhausted: no name is left to give.
        """
        person = self._people.locked(connection, student_number)
        if person is None:
            return None
        if person.merged_into is not None:
            self.mint_version(connection, person.merged_into, origin)
        now = self._database.now(connection)
        today = datetime.fromtimestamp(now, UTC).date()
        previous = accounts.find(connection, student_number)
        numbers, person = self._whole(connection, person)
        noted = None if previous is None else self._erasing(connection, person)
        above = (noted or {}).get(SEQUENCE, -1)
        enrolments = tuple(self._people.enrolments(connection, *numbers, above=above))
        if previous is None and not self._deserves_account(person, enrolments, today):
            return None
        ledger = SqlLedger(connection, self._database, now, self.privacy)
        population = self._population(enrolments, today)
        names = self._names(person, previous, population, ledger)
        mails = tuple(ledger.all_of(student_number, MAIL))
        taught = teachings.held(connection, *numbers)
        shown = self._shown_number(connection, person, numbers, today)
        short = short_login(names.login, student_number, self._settings, ledger)
        everywhere = (
            previous is not None
            and previous.stage is Stage.EXPIRED
            and self._propagated.completed(connection, student_number, previous.version)
        )
        known = Known(person, names, mails, enrolments, previous, taught, shown, short, everywhere)
        if noted is not None:
            known = replace(known, erasing=True, gone=GONE in noted)
        return self._mint(connection, known, numbers, origin, now, decided=decided)

    def mint_first(
        self, connection: Connection, person: KnownPerson, enrolment: Enrolment, origin: Origin
    ) -> Account | None:
        """As `mint_version`, of a newcomer: the store has nothing else to read."""
        number, now = person.student_number, self._database.now(connection)
        if not self._deserves_account(person, (enrolment,), datetime.fromtimestamp(now, UTC).date()):
            return None
        ledger = SqlLedger(connection, self._database, now, self.privacy)
        ledger.has_nothing_of(number)
        settings = self._settings.naming(enrolment.population)
        names = mint(shown_person(person), number, settings, ledger)
        short = short_login(names.login, number, self._settings, ledger)
        known = Known(person, names, (names.mail.lower(),), (enrolment,), None, (), None, short, False)
        return self._mint(connection, known, (number,), origin, now)

    def _mint(
        self,
        connection: Connection,
        known: Known,
        numbers: Sequence[str],
        origin: Origin,
        now: float,
        *,
        decided: bool = False,
    ) -> Account | None:
        """Save and announce the account of all this, if it is a new version."""
        person, previous, today = known.person, known.previous, datetime.fromtimestamp(now, UTC).date()
        student_number = person.student_number
        account = self._guarded(connection, known, numbers, today, now)
        if account.stage is Stage.ACTIVE and person.prolongations:
            self._people.change(connection, student_number, prolongations=())
        self._arm(connection, account, today)
        self._warnings.plan(connection, person, account, today)
        rings = self._esis.mint(connection, person, numbers) or (decided and self._esis.are_minted)
        if previous is not None and account.same_state(previous) and not rings:
            return None
        rests = previous is None or self._propagated.at_rest(connection, student_number, previous.version)
        account = account.model_copy(update=window(account, None if rests else previous, origin))
        accounts.save(connection, account, now)
        self._announce(connection, account, origin, now)
        if account.shown_number != (previous.shown_number if previous is not None else None):
            for other in numbers[1:]:  # their accounts give the number up, or have theirs back
                if accounts.find(connection, other) is not None:
                    self.mint_version(connection, other, origin)
        return account

    def _guarded(
        self, connection: Connection, known: Known, numbers: Sequence[str], today: date, now: float
    ) -> Account:
        """Today's account, without what the guard holds."""
        account = merge(known, self._lifecycle, today)
        number, closing = account.student_number, closing_of(known.previous, account)
        if closing is None:
            if known.previous is not None and known.previous.stage is not Stage.PRECREATED:
                closings.forget(connection, number)
            return account
        if closing is Closing.SHUT and known.previous is not None:
            return self._shut(connection, known.previous, account, today, now)
        # An operator has decided about a student under a hold: it is lifted first.
        kept = closing is Closing.ERASE and bool(account.holds - {Hold.STOLEN_PASSWORDS})
        scopes = closings.scopes_of(closing, cohort_of(connection, numbers))
        rules = self._lifecycle.rules
        if not kept and (
            known.erasing or closings.may_close(connection, self._database, number, scopes, rules, now)
        ):
            return account
        return merge(replace(known, held=True), self._lifecycle, today)

    def _shut(
        self, connection: Connection, previous: Account, account: Account, today: date, now: float
    ) -> Account:
        """The account with those targets shut that the guard lets go.

        A target that never had anything of the student stays untouched.

        A target is kept open, however few it concerns, if it is shut because the site's entitlements changed.
        """
        number, stages, held = account.student_number, dict(account.stages), False
        names = shut_at(previous, account)
        had = target_states.all_states_of(connection, number, names)
        for name in names:
            scope = Scope(Closing.SHUT, target=name)
            if name not in had:
                stages[name] = Stage.PRECREATED
            elif held or not closings.may_close(
                connection,
                self._database,
                number,
                [scope],
                self._lifecycle.rules,
                now,
                asks=not self._lifecycle.was_entitled(name, previous, today),
            ):
                held = True  # one row per student says what is held: the others come after it
                del stages[name]
        since = {name: day for name, day in account.stages_since.items() if name in stages}
        return account.model_copy(update={"stages": stages, "stages_since": since})

    def _erasing(self, connection: Connection, person: KnownPerson) -> Mapping[str, Any] | None:
        """The notes of the requested erasure, or None."""
        if self.privacy is None:
            return None
        number = person.merged_into or person.student_number
        return erasures.asked(connection, self.privacy.pseudonym(number))

    def _shown_number(
        self, connection: Connection, person: KnownPerson, numbers: Sequence[str], today: date
    ) -> str | None:
        """See `Account.shown_number`. `numbers`: from `_whole`."""
        number = person.student_number
        if person.merged_into is not None:
            others = self._people.merged_into(connection, person.merged_into)
            numbers = (person.merged_into, *(other.student_number for other in others))
        if len(numbers) == 1:
            return None
        in_use = self._number_in_use(connection, numbers, today)
        if person.merged_into is not None:
            return "" if in_use == number else None
        return None if in_use == number else in_use

    def _number_in_use(self, connection: Connection, numbers: Sequence[str], today: date) -> str:
        """The one of a person's numbers that the registrar uses now.

        The number of the newest year in force; among equals the one shown so far, then the first, into which
        the others were merged.
        """
        before = accounts.find(connection, numbers[0])
        shown = before.shown_number if before is not None else None

        def rank(number: str) -> tuple[int, bool]:
            enrolments = self._people.enrolments(connection, number)
            current = current_enrolments(enrolments, self._settings, today)
            return max((e.year for e in current if e.in_force), default=0), number == (shown or numbers[0])

        return max(numbers, key=rank)

    def _whole(self, connection: Connection, person: KnownPerson) -> tuple[tuple[str, ...], KnownPerson]:
        """A person's numbers (none of a merged one), and the person with the newest names."""
        if person.merged_into is not None:
            return (), person
        others = self._people.merged_into(connection, person.student_number)
        newest = max([person, *others], key=lambda each: each.identity_sequence)
        numbers = (person.student_number, *(other.student_number for other in others))
        return numbers, replace(person, identity=newest.identity)

    def _deserves_account(self, person: KnownPerson, enrolments: tuple[Enrolment, ...], today: date) -> bool:
        if Hold.TECHNICAL in person.holds or person.merged_into is not None:
            return False
        enrolled = bool(current_enrolments(enrolments, self._settings, today))
        return enrolled or person.activated_at is not None

    def _population(self, enrolments: Sequence[Enrolment], today: date) -> str:
        """The population by which to name a person: the main enrolment's, else the last's."""
        current = current_enrolments(enrolments, self._settings, today) or enrolments[-1:]
        return current[0].population if current else STUDENT

    def _names(
        self, person: KnownPerson, previous: Account | None, population: str, ledger: SqlLedger
    ) -> Names:
        """The account's names; before its activation, those of the ledger.

        They were not seen before that: an entry of the directory, or a user, may have turned out to be
        theirs.
        """
        shown, number = shown_person(person), person.student_number
        settings = self._settings.naming(population)
        if previous is None:
            ledger.give_back(number, every_name(shown, number, settings))
            return mint(shown, number, settings, ledger)
        names = Names(previous.login, previous.mail, previous.principal)
        if previous.activated_at is None:
            held = mint(shown, number, settings, ledger)
            if held.login != names.login or names.mail not in ledger.all_of(number, MAIL):
                return held
        return renamed(names, previous.person, shown, number, settings, ledger)

    def _arm(self, connection: Connection, account: Account, today: date) -> None:
        """Set the timer for the next day on which time alone changes this account."""
        number, day = account.student_number, self._lifecycle.changes_on(account, today)
        if day is None:
            if account.activated_at is not None:
                timers.disarm(connection, TIMERS, number)
            return
        wanted = _TIMER.get(account.stage, YEAR_ENDS)
        midnight = datetime.combine(day, time(), UTC)
        timers.disarm(connection, tuple(kind for kind in TIMERS if kind != wanted), number)
        timers.arm(connection, self._database, wanted, number, midnight.timestamp())

    def _announce(self, connection: Connection, account: Account, origin: Origin, now: float) -> None:
        event = AccountChanged(
            student_number=account.student_number,
            version=account.version,
            stage=account.stage,
            holds=tuple(sorted(account.holds)),
            lane=account.lane,
            cause=origin.cause,
        )
        identity = event_id(event.type, NAME, account.student_number, account.version, origin.event_id)
        moment = datetime.fromtimestamp(now, UTC)
        message = Message(identity, SOURCE_PREFIX + NAME, moment, event, caused_by=origin.event_id)
        topic = catalogue.by_lane(catalogue.ACCOUNTS, account.lane)
        outbox.enqueue(connection, message, topic, account.lane)


def window(account: Account, under_way: Account | None, origin: Origin) -> dict[str, object]:
    """The lane and the start of the window of a new version.

    While the earlier version is under way (neither completed nor waiting for a business precondition), this
    one inherits the higher priority and the earlier start. An account that was never activated has no window:
    no student waits for it.
    """
    if account.activated_at is None:
        return {"lane": origin.lane, "opened_at": None}
    if under_way is None or under_way.opened_at is None:
        return {"lane": origin.lane, "opened_at": origin.time}
    personal = Lane.PERSONAL in (under_way.lane, origin.lane)
    return {"lane": Lane.PERSONAL if personal else Lane.BULK, "opened_at": under_way.opened_at}
