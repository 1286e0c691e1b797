"""The Moodle connector: users and cohorts of one site, over its web services.

A student is the user whose `idnumber` is the student number. Users are written, and cohorts joined and left,
many in one call: a call that Moodle refuses is halved by the port, which finds the student and the cause. The
kit reads back what was written.

Moodle refuses a second user with a login without naming it: so a student who is not there yet is first
searched by login, and waits for an operator if another user has it. Two users may share a mail address if the
site allows it: only writing shows that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from consumers.kit.connector import (
    AdoptedRef,
    Advice,
    Change,
    Connector,
    ConnectorContext,
    Held,
    Refused,
    Seen,
    TargetObject,
    Wanted,
)
from consumers.kit.deadline import Deadline
from consumers.kit.reasons import Reason
from consumers.moodle import objects as words
from consumers.moodle.causes import REASONS, CauseKind, MoodleCause, MoodleFault
from consumers.moodle.intent import NOTE_SHORTENED, is_shortened, owned_fields, pending_of, wanted_of
from consumers.moodle.port import AdoptedUser, MoodlePort, WantedUser
from consumers.moodle.port import Seen as SeenUser
from consumers.moodle.settings import MoodleSettings
from pipeline.eventlog.port import ERASED_KEY
from pipeline.target import Description
from schemas.account import Account, Stage
from schemas.language import Language, gettext

if TYPE_CHECKING:  # these load the HTTP library and SQLAlchemy, which settings and words do without
    from consumers.moodle.port import SiteLock
    from consumers.moodle.site import MoodleSite


class MoodleConnector(Connector[MoodleSettings]):
    """Users and cohorts of one Moodle site."""

    operator_recheck_s: ClassVar[float] = 3600.0
    """How often to look again at what waits for an operator, who may also ask for it."""

    section = MoodleSettings
    title: ClassVar[Mapping[Language, str]] = {
        "fr": "Cours en ligne (Moodle)",
        "en": "Online courses (Moodle)",
    }
    reasons: ClassVar[Mapping[str, Reason]] = REASONS
    keeps = (
        "the deleted user's row and the event of the deletion, under the pseudonym",
        "what the site's log and its backups had before",
    )
    owns = (
        *("idnumber", "username", "auth", "firstname", "lastname", "email", "lang"),
        "suspended",
        "cohorts",
    )

    def __init__(self, context: ConnectorContext[MoodleSettings], port: MoodlePort | None = None) -> None:
        """Call nothing yet.

        Args:
            context: see `ConnectorContext`.
            port: the site; None: by the settings.

        Raises:
            Misconfigured: the file of certificate authorities cannot be read.
        """
        super().__init__(context)
        self._owned = owned_fields(self.settings)
        self.port = moodle_site(context) if port is None else port

    def describe(self) -> Description:
        """See `Connector.describe`."""
        owns = ("idnumber", *self._owned, "suspended", words.COHORTS)
        return Description(self.name, self.settings.system, owns)

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`. For a student whom Moodle cannot hold, only shut access."""
        intent = wanted_of(account, self.settings)
        if isinstance(intent, MoodleFault):
            return Wanted({}, Refused(intent.cause.value, intent.message, lasting=True))
        held = pending_of(account)
        return Wanted(words.wanted_fields(intent), None if held is None else Held(*held))

    # --- reading --------------------------------------------------------------------------------------

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`."""
        adopted = self.adopted_refs([account.student_number for account in accounts])
        batch = [self._looked_for(each, adopted.get(each.student_number)) for each in accounts]
        seen = self.port.read(batch, deadline)
        taken = self._said(MoodleFault(MoodleCause.USERNAME_TAKEN))
        shown: dict[str, Seen] = {}
        for account in accounts:
            one = seen[account.student_number]
            note = NOTE_SHORTENED if is_shortened(account) else ""
            users = [words.object_of(each, self._owned, one.cohorts, note) for each in one.users]
            theirs = [
                replace(each, student_number=account.student_number) if _is_erasing(each) else each
                for each in users
            ]
            shown[account.student_number] = taken if one.login_taken else theirs
        return shown

    def objects(self) -> Iterator[TargetObject]:
        """See `Connector.objects`."""
        for seen in self.port.dump():
            yield from (
                shown
                for user in seen.users
                if not _is_erasing(shown := words.object_of(user, self._owned, seen.cohorts))
            )

    def renamed(self, cohorts: Mapping[str, Collection[str]]) -> Mapping[str, tuple[str, ...]]:
        """See `Connector.renamed`."""
        return self.port.renamed(cohorts, Deadline.after(self.settings.call_s_max, self.context.monotonic))

    def probe(self) -> None:
        """See `Connector.probe`: the site's information and the service user.

        It uses the calls that students need.
        """
        self.port.probe(Deadline.after(self.settings.call_s_max, self.context.monotonic))

    def advice(self) -> Iterator[Advice]:
        """See `Connector.advice`: language packs that the site lacks."""
        deadline = Deadline.after(self.settings.call_s_max, self.context.monotonic)
        lacking = () if self.context.read_only else self.port.lacking_packs(deadline)
        if lacking:
            yield Advice(
                gettext(
                    "the site lacks language packs that moodle.languages names: {packs}",
                    packs=", ".join(lacking),
                ),
                gettext(
                    "Install them (Site administration > Language > Language packs), or correct the setting."
                ),
            )

    def forget(self) -> None:
        """See `Connector.forget`: who is in which cohort is remembered for a while."""
        self.port.forget()

    # --- writing --------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.apply`."""
        refused, batch, seen = self._batch(changes)
        faults = self.port.apply(batch, seen, deadline) if batch else {}
        return refused | {number: self._said(fault) for number, fault in faults.items()}

    def foresee(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.foresee`: taken logins and addresses, and impossible cohorts."""
        refused, batch, seen = self._batch(changes)
        faults = self.port.foresee(batch, seen, deadline)
        return refused | {number: self._said(fault) for number, fault in faults.items()}

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.close`: `suspended` alone."""
        users = [words.user_of(each.found) for each in changes if each.found is not None]
        whose = {each.found.ref: each.account.student_number for each in changes if each.found is not None}
        faults = self.port.close(users, deadline)
        return {whose[str(id_)]: _refused(fault) for id_, fault in faults.items()}

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.erase`. Moodle keeps a row, under the pseudonym."""
        named = self.context.begin_erasing({each.ref: each.student_number for each in found})
        pseudonyms = {int(ref): pseudonym for ref, pseudonym in named.items()}
        faults = self.port.erase([words.user_of(each) for each in found], pseudonyms, deadline)
        return {str(id_): self._said(fault) for id_, fault in faults.items()}

    def remove_groups(self, keys: Collection[str]) -> Collection[str]:
        """See `Connector.remove_groups`."""
        return self.port.remove_cohorts(
            keys, Deadline.after(self.settings.call_s_max, self.context.monotonic)
        )

    def probe_erasing(self) -> None:
        """See `Connector.probe_erasing`."""
        self.port.probe_erasing(Deadline.after(self.settings.call_s_max, self.context.monotonic))

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self.port.shut()

    # --- inside ---------------------------------------------------------------------------------------

    def _looked_for(self, account: Account, adopted: str | None) -> WantedUser:
        """The user to search for, also for a student whom Moodle cannot hold.

        Their access may have to be shut.
        """
        intent = wanted_of(account, self.settings)
        if isinstance(intent, MoodleFault):
            intent = WantedUser(account.student_number, {}, suspended=False, cohorts={}, create=False)
        if account.stage is Stage.ERASED:
            intent = replace(intent, pseudonym=self.context.site.pseudonym(account.student_number))
        if adopted is None:
            return intent
        number = adopted.number if isinstance(adopted, AdoptedRef) else ""
        return replace(intent, adopted=AdoptedUser(int(adopted), number))

    def _batch(
        self, changes: Sequence[Change]
    ) -> tuple[dict[str, Held | Refused], list[WantedUser], dict[str, SeenUser]]:
        """Those whom Moodle cannot hold; what is wanted and was seen of the others."""
        refused: dict[str, Held | Refused] = {}
        batch: list[WantedUser] = []
        for each in changes:
            intent = wanted_of(each.account, self.settings)
            if isinstance(intent, MoodleFault):
                refused[each.account.student_number] = self._said(intent)
            else:
                batch.append(intent)
        seen = {each.account.student_number: words.seen_of(each) for each in changes}
        return refused, batch, seen

    def _said(self, fault: MoodleFault) -> Held | Refused:
        if fault.cause.kind is CauseKind.WAIT:
            return Held(fault.cause.value, recheck_after_s=self.operator_recheck_s)
        return _refused(fault)


def _is_erasing(found: TargetObject) -> bool:
    """Whether an unfinished erasure has left only the pseudonym."""
    return found.student_number.startswith(ERASED_KEY)


def _refused(fault: MoodleFault) -> Refused:
    return Refused(
        fault.cause.value,
        fault.message,
        lasting=fault.cause.kind is CauseKind.DEAD,
        unknown=fault.cause is MoodleCause.OUTCOME_UNKNOWN,
    )


def moodle_site(context: ConnectorContext[MoodleSettings], lock: SiteLock | None = None) -> MoodleSite:
    """The port over web services; connects to nothing until it is used.

    Args:
        context: the connector's.
        lock: serialises the creation of cohorts; None: the store's.

    Raises:
        Misconfigured: the file of certificate authorities cannot be read.
    """
    from consumers.moodle.rest import RestClient, http_client
    from consumers.moodle.site import MoodleSite

    return MoodleSite(
        RestClient(http_client(context), context),
        context.settings,
        lock=lock or _site_lock(context),
        is_managed=context.site.is_managed,
        read_only=context.read_only,
        clock=context.monotonic,
    )


def _site_lock(context: ConnectorContext[MoodleSettings]) -> SiteLock:
    from pipeline.locks import SiteLocks

    assert context.site.database is not None, "Moodle needs the store"  # noqa: S101
    return SiteLocks(context.site.database)
