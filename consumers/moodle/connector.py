"""The Moodle connector: users and cohorts of one site, over its web services.

A student is the user whose `idnumber` is the student number. Users are written, and cohorts joined and left,
many in one call: a call that Moodle refuses is halved by the port, which finds the student and the cause. The
kit reads back what was written.

Moodle refuses a second user with a login without naming it: so a student who is not there yet is first
searched by login, and waits for an operator if another user has it. Two users may share a mail address if the
site allows it: only writing shows that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
from consumers.moodle.causes import REASONS, Fault, MoodleCause, fault
from consumers.moodle.intent import (
    COHORTS,
    NOTE_SHORTENED,
    MoodleUser,
    WantedUser,
    is_shortened,
    object_of,
    owned_fields,
    pending_of,
    user_of,
    wanted_fields,
    wanted_of,
)
from consumers.moodle.settings import MoodleSettings
from consumers.moodle.work import Work
from pipeline.eventlog.port import ERASED_KEY
from pipeline.target import Description
from schemas.account import Account, Stage
from schemas.language import Language, gettext

if TYPE_CHECKING:  # these load the HTTP library and SQLAlchemy, which settings and words do without
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
    level = "gold"
    lacks: ClassVar[Mapping[str, str]] = {
        "changes_since": "the web services list no changes",
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

    def __init__(self, context: ConnectorContext[MoodleSettings], site: MoodleSite | None = None) -> None:
        """Call nothing yet.

        Args:
            context: see `ConnectorContext`.
            site: what it works with; None: as the context says.

        Raises:
            Misconfigured: the file of certificate authorities cannot be read.
        """
        from consumers.moodle.site import MoodleSite

        super().__init__(context)
        self._owned = owned_fields(self.settings)
        self._site = site or MoodleSite(context)

    def describe(self) -> Description:
        """See `Connector.describe`."""
        owns = ("idnumber", *self._owned, "suspended", COHORTS)
        return Description(self.name, self.settings.system, owns)

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`. For a student whom Moodle cannot hold, only shut access."""
        intent = wanted_of(account, self.settings)
        if isinstance(intent, WantedUser):
            return Wanted(wanted_fields(intent), pending_of(account))
        return Wanted({}, intent)

    # --- reading --------------------------------------------------------------------------------------

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`. Memberships are those of managed and of wanted cohorts."""
        return self._observe(accounts, deadline)

    def read_before(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read_before`: Moodle creates no user with another one's login."""
        return self._observe(accounts, deadline, logins=False)

    def _observe(
        self, accounts: Sequence[Account], deadline: Deadline, *, logins: bool = True
    ) -> Mapping[str, Seen]:
        adopted = self.adopted_refs([account.student_number for account in accounts])
        works = [Work(self._looked_for(each, adopted.get(each.student_number))) for each in accounts]
        with self._site.asked(deadline):
            self._site.observe(works, deadline)
            taken = self._site.users.taken(works, deadline) if logins else frozenset()
        shown: dict[str, Seen] = {}
        for account, work in zip(accounts, works, strict=True):
            number, cohorts = account.student_number, tuple(sorted(set(work.cohorts.values())))
            note = NOTE_SHORTENED if is_shortened(account) else ""
            users = [object_of(each, self._owned, cohorts, note) for each in work.users]
            theirs = [replace(each, student_number=number) if _is_erasing(each) else each for each in users]
            shown[number] = self._timed(fault(MoodleCause.USERNAME_TAKEN)) if number in taken else theirs
        return shown

    def objects(self) -> Iterator[TargetObject]:
        """See `Connector.objects`."""
        for user, cohorts in self._site.everybody(self._moment(), self._moment()):
            shown = object_of(user, self._owned, cohorts)
            if not _is_erasing(shown):
                yield shown

    def renamed(self, cohorts: Mapping[str, Collection[str]]) -> Mapping[str, tuple[str, ...]]:
        """See `Connector.renamed`."""
        return self._site.renamed(cohorts, self._moment())

    def probe(self) -> None:
        """See `Connector.probe`: read the site's information and the service user.

        The calls are those that students need. The rights to write count unless the site is only observed.
        Nothing is written.
        """
        deadline, rights = self._moment(), self._site.rights
        with self._site.asked(deadline, verified=False):
            (rights.verify if self.context.read_only else rights.verify_writing)(deadline)

    def advice(self) -> Iterator[Advice]:
        """See `Connector.advice`: language packs that the site lacks."""
        if self.context.read_only:
            return
        deadline = self._moment()
        with self._site.asked(deadline, verified=False):
            lacking = self._site.rights.lacking_packs(self.settings.languages.values(), deadline)
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
        self._site.members.doubt()

    # --- writing --------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.apply`."""
        works, refused = self._works(changes)
        if works:
            self._site.bring(works, deadline)
        return refused | self._said(works)

    def foresee(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.foresee`: taken logins and addresses, and impossible cohorts."""
        works, refused = self._works(changes)
        inside = {
            each.account.student_number: each.found.fields[COHORTS] if each.found is not None else ()
            for each in changes
        }
        self._site.foresee(works, inside, deadline)
        return refused | self._said(works)

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.close`: `suspended` alone."""
        works = [
            Work(WantedUser(user.idnumber, {}, suspended=True, cohorts={}, create=False), (user,))
            for user in map(user_of, changes)
        ]
        with self._site.asked(deadline):
            self._site.users.write(works, deadline)
        said: dict[str, Refused] = {}
        for each, work in zip(changes, works, strict=True):
            work.finished = not work.troubled
            if work.faults and isinstance(first := work.faults[0], Refused):
                said[each.account.student_number] = first
        return said

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.erase`. Moodle keeps a row, under the pseudonym."""
        named = self.context.begin_erasing({each.ref: each.student_number for each in found})
        pseudonyms = {int(ref): pseudonym for ref, pseudonym in named.items()}
        with self._site.asked(deadline):
            users = [each.user for each in found if isinstance(each, MoodleUser)]
            faults = self._site.deletions.erase(users, pseudonyms, deadline)
        return {str(id_): self._timed(each) for id_, each in faults.items()}

    def remove_groups(self, keys: Collection[str]) -> Collection[str]:
        """See `Connector.remove_groups`."""
        return self._site.remove_cohorts(keys, self._moment())

    def probe_erasing(self) -> None:
        """See `Connector.probe_erasing`."""
        deadline = self._moment()
        with self._site.asked(deadline, verified=False):
            self._site.rights.verify_erasing(deadline)

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._site.functions.close()

    # --- inside ---------------------------------------------------------------------------------------

    def _moment(self) -> Deadline:
        return Deadline.after(self.settings.call_s_max, self.context.monotonic)

    def _looked_for(self, account: Account, adopted: str | None) -> WantedUser:
        """The user to search for, also for a student whom Moodle cannot hold.

        Their access may have to be shut.
        """
        intent = wanted_of(account, self.settings)
        if not isinstance(intent, WantedUser):
            intent = WantedUser(account.student_number, {}, suspended=False, cohorts={}, create=False)
        if account.stage is Stage.ERASED:
            intent = replace(intent, pseudonym=self.context.site.pseudonym(account.student_number))
        if adopted is None:
            return intent
        number = adopted.number if isinstance(adopted, AdoptedRef) else ""
        return replace(intent, adopted=AdoptedRef(adopted, number))

    def _works(self, changes: Sequence[Change]) -> tuple[list[Work], dict[str, Held | Refused]]:
        """The students as they were seen, and those whom Moodle cannot hold."""
        intents = [(each, wanted_of(each.account, self.settings)) for each in changes]
        works = [self._site.work(one, each) for each, one in intents if isinstance(one, WantedUser)]
        return works, {
            each.account.student_number: self._timed(one)
            for each, one in intents
            if not isinstance(one, WantedUser)
        }

    def _said(self, works: Iterable[Work]) -> dict[str, Held | Refused]:
        return {work.wanted.idnumber: self._timed(work.faults[0]) for work in works if work.faults}

    def _timed(self, found: Fault) -> Fault:
        """The same, looked at again after a while if it waits for an operator."""
        if isinstance(found, Held):
            return replace(found, recheck_after_s=self.operator_recheck_s)
        return found


def _is_erasing(found: TargetObject) -> bool:
    """Whether an unfinished erasure has left only the pseudonym."""
    return found.student_number.startswith(ERASED_KEY)
