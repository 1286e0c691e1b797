"""Moodle users: matched by idnumber, created and updated in bulk.

When Moodle gives no cause of a refusal, it is found here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from consumers.kit.deadline import Deadline
from consumers.moodle.bulk import BulkReport, carry
from consumers.moodle.causes import MoodleCause, fault
from consumers.moodle.errors import MoodleRefused
from consumers.moodle.functions import MoodleFunctions, User
from consumers.moodle.settings import MoodleSettings
from consumers.moodle.work import Work, note_failure, note_warning
from pipeline.errors import Misconfigured

_GUEST: Final = "guest"  # Moodle lets no one change this user, nor its administrators


class Users:
    """Reads and writes users for a batch. Errors for the site as a whole go through; others become faults."""

    def __init__(self, functions: MoodleFunctions, settings: MoodleSettings) -> None:
        self._functions = functions
        self._settings = settings

    def read(self, idnumbers: Sequence[str], deadline: Deadline) -> dict[str, tuple[User, ...]]:
        """Users by their exact idnumber, oldest first; absent ones have an empty tuple."""
        found: dict[str, list[User]] = {idnumber: [] for idnumber in idnumbers}
        for user in self._functions.users_by("idnumber", list(found), deadline):
            if user.idnumber in found:
                found[user.idnumber].append(user)
        return {key: tuple(sorted(users, key=lambda user: user.id)) for key, users in found.items()}

    def observe(self, works: Sequence[Work], deadline: Deadline) -> None:
        """Look at the users of these students."""
        others = [work.wanted.pseudonym for work in works if work.wanted.pseudonym]
        users = self.read([*(work.wanted.idnumber for work in works), *others], deadline)
        adopted = [work for work in works if work.wanted.adopted and not users[work.wanted.idnumber]]
        users |= self._adopted(adopted, deadline)
        for work in works:
            both = users[work.wanted.idnumber] + users.get(work.wanted.pseudonym, ())
            work.users = tuple({user.id: user for user in both}.values())

    def _adopted(self, works: Sequence[Work], deadline: Deadline) -> dict[str, tuple[User, ...]]:
        """The users adopted for these students, unless they belong to others now."""
        wanted = {int(work.wanted.adopted): work for work in works if work.wanted.adopted is not None}
        if not wanted:
            return {}
        found = self._functions.users_by("id", [str(id_) for id_ in wanted], deadline)
        theirs = {user.id: user for user in found}
        return {
            work.wanted.idnumber: (user,)
            for work in works
            if (adopted := work.wanted.adopted) is not None
            and (user := theirs.get(int(adopted))) is not None
            and user.idnumber == adopted.number
        }

    def write(self, works: Sequence[Work], deadline: Deadline) -> None:
        """Create who is absent and update what differs; faults are left in the works."""
        self._create([work for work in works if work.to_create], deadline)
        self._update([work for work in works if work.differing()], deadline)

    def foresee(self, works: Sequence[Work], deadline: Deadline) -> None:
        """Leave in the works the obstacles to their users, as far as reading shows them.

        A mail address of another user is one: whether the site allows it nonetheless shows only where two
        users share it already.
        """
        self._foresee("username", MoodleCause.USERNAME_TAKEN, works, deadline)
        self._foresee("email", MoodleCause.EMAIL_TAKEN, works, deadline)
        for work in works:
            if work.user is not None and work.user.username == _GUEST and work.differing():
                work.user_fault = fault(MoodleCause.ADMIN_ACCOUNT)

    def _foresee(self, field: str, cause: MoodleCause, works: Sequence[Work], deadline: Deadline) -> None:
        new = [work for work in works if work.to_create or field in work.differing()]
        holders = self._held(field, new, deadline)
        for work in new:
            mine = {user.id for user in work.users}
            held_by = [user for user in holders[work.wanted.idnumber] if user.id not in mine]
            shared = field == "email" and len(held_by) > 1
            if held_by and not shared:
                work.user_fault = fault(cause)

    def taken(self, works: Sequence[Work], deadline: Deadline) -> frozenset[str]:
        """The numbers of students to be created whose username another user has."""
        held_by = self._held("username", [work for work in works if work.to_create], deadline)
        return frozenset(
            number
            for number, users in held_by.items()
            if users and all(user.idnumber != number for user in users)
        )

    def _create(self, works: Sequence[Work], deadline: Deadline) -> None:
        if not works:
            return
        suspects: list[Work] = []

        def call(rows: Sequence[Work]) -> list[int]:
            return self._functions.create_users([_new(work) for work in rows], deadline)

        def sift(rows: Sequence[Work]) -> list[Work]:
            return self._sift(rows, suspects, deadline)

        size = self._functions.rows(max(len(_new(work)) for work in works), self._settings.batch_size)
        report = carry(works, size, call, sift=sift)
        # A mail address of another user may be accepted: sites can allow that. Each is tried alone.
        asked = carry(suspects, 1, call)
        for work, userid in report.accepted + asked.accepted:
            work.created = True
            work.users = (_created(work, userid),)
        for failure in asked.failed:
            if type(failure.error) is MoodleRefused:
                failure.row.user_fault = fault(MoodleCause.EMAIL_TAKEN)
            else:
                note_failure(failure, others_pass=bool(report.accepted))
        self._explain(report, deadline)

    def _explain(self, report: BulkReport[Work, int], deadline: Deadline) -> None:
        """Find why users were refused alone; the name may just have been taken."""
        refused = [
            failure for failure in report.failed if isinstance(failure.error, MoodleRefused) and failure.alone
        ]
        still_absent = self._sift([failure.row for failure in refused], None, deadline)
        for failure in report.failed:
            if failure in refused and failure.row not in still_absent:
                failure.row.lately = fault(MoodleCause.NOT_APPLIED)  # it exists by now, or its fault is known
            elif type(failure.error) is MoodleRefused and self._address_taken(failure.row, deadline):
                failure.row.user_fault = fault(MoodleCause.EMAIL_TAKEN)
            else:
                note_failure(failure, others_pass=bool(report.accepted))
        unexplained = [
            failure for failure in refused if failure.row.user_fault == fault(MoodleCause.REFUSED_VALUES)
        ]
        if self._settings.languages and len(unexplained) > 1 and not report.accepted:
            raise Misconfigured(
                "Moodle refuses every new user of a batch",
                remedy="moodle.languages names a language pack that the site lacks, or moodle.auth a plugin "
                "that it does not have: install it, or correct the setting",
            )

    def _sift(self, rows: Sequence[Work], suspects: list[Work] | None, deadline: Deadline) -> list[Work]:
        """Which of these are worth creating (again), by the holders of name and address.

        A username that another user holds is a fault at once. A user with this very idnumber that exists by
        now (an earlier call came through after all) is left to the next reading.

        Args:
            rows: students that could not be created together.
            suspects: takes those whose address another user has; None: leave them among the rest.
            deadline: of the batch.
        """
        holders = self._held("username", rows, deadline)
        addresses = {} if suspects is None else self._held("email", rows, deadline)
        left = []
        for work in rows:
            number = work.wanted.idnumber
            if any(user.idnumber == number for user in holders[number]):
                work.lately = fault(MoodleCause.NOT_APPLIED)
            elif holders[number]:
                work.user_fault = fault(MoodleCause.USERNAME_TAKEN)
            elif suspects is not None and addresses[number]:
                suspects.append(work)
            else:
                left.append(work)
        return left

    def _address_taken(self, work: Work, deadline: Deadline) -> bool:
        """Whether another user has the address in other capitals.

        An exact search misses that on PostgreSQL.
        """
        address = work.wanted.fields["email"]
        try:
            found = self._functions.users_like_email(address, deadline)
        except MoodleRefused:
            return False
        return any(
            user.email.casefold() == address.casefold() and user.idnumber != work.wanted.idnumber
            for user in found
        )

    def _held(self, field: str, works: Sequence[Work], deadline: Deadline) -> dict[str, list[User]]:
        """Who has the value that each of these students is to get, by student number."""
        if not works:
            return {}
        holders = self._holders(field, [work.wanted.fields[field] for work in works], deadline)
        return {w.wanted.idnumber: holders.get(w.wanted.fields[field].casefold(), []) for w in works}

    def _holders(self, field: str, values: Sequence[str], deadline: Deadline) -> dict[str, list[User]]:
        """Who has these values, by the value without case, as Moodle compares them."""
        holders: dict[str, list[User]] = defaultdict(list)
        try:
            found = self._functions.users_by(field, values, deadline)
        except MoodleRefused:
            if len(values) == 1:
                return {}  # Moodle does not take the value itself; the creation alone will say so again
            middle = len(values) // 2
            halves = (values[:middle], values[middle:])
            return {
                key: each for half in halves for key, each in self._holders(field, half, deadline).items()
            }
        for user in found:
            holders[str(getattr(user, field)).casefold()].append(user)
        return holders

    def _update(self, works: Sequence[Work], deadline: Deadline) -> None:
        if not works:
            return
        changes = {work.users[0].id: work.differing() for work in works}

        def call(rows: Sequence[Work]) -> list[str]:
            ids = [work.users[0].id for work in rows]
            warned = self._functions.update_users([{"id": id_, **changes[id_]} for id_ in ids], deadline)
            return [warned.get(id_, "") for id_ in ids]

        size = self._functions.rows(1 + max(map(len, changes.values())), self._settings.batch_size)
        report = carry(works, size, call)
        others_pass = any(code == "" for _, code in report.accepted)
        renamed = []
        for work, code in report.accepted:
            if code == "":
                continue
            if code == "dmlwriteexception" and "username" in changes[work.users[0].id]:
                renamed.append(work)
            else:
                note_warning(work, code, others_pass=others_pass)
        for failure in report.failed:
            note_failure(failure, others_pass=others_pass)
        self._explain_renamed(renamed, deadline, others_pass=others_pass)

    def _explain_renamed(self, works: Sequence[Work], deadline: Deadline, *, others_pass: bool) -> None:
        """Find why the database refused a new login: as a rule it is taken."""
        holders = self._held("username", works, deadline)
        for work in works:
            if any(user.idnumber != work.wanted.idnumber for user in holders[work.wanted.idnumber]):
                work.user_fault = fault(MoodleCause.USERNAME_TAKEN)
            else:
                note_warning(work, "dmlwriteexception", others_pass=others_pass)


def _new(work: Work) -> dict[str, str]:
    return {**work.wanted.fields, "idnumber": work.wanted.idnumber}


def _created(work: Work, userid: int) -> User:
    """The user just created, for the memberships that follow; observed afterwards."""
    fields = work.wanted.fields
    return User(
        id=userid,
        username=fields["username"],
        auth=fields["auth"],
        idnumber=work.wanted.idnumber,
        firstname=fields["firstname"],
        lastname=fields["lastname"],
        email=fields["email"],
        suspended=False,
        lang=fields.get("lang", ""),
    )
