"""Moodle's web-service functions that the pipeline uses, with types.

It needs no other. Each is one call, or as many as `max_input_vars` makes necessary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from consumers.kit.deadline import Deadline
from consumers.moodle.answers import members
from consumers.moodle.bulk import chunks, rows_per_call
from consumers.moodle.errors import Broken, DeletionForbidden, MoodleRefused, RightMissing
from consumers.moodle.settings import MoodleSettings
from pipeline.errors import CredentialsRefused, Misconfigured

if TYPE_CHECKING:  # it loads the HTTP library
    from consumers.moodle.rest import RestClient

SITE_INFO: Final = "core_webservice_get_site_info"
USERS_BY_FIELD: Final = "core_user_get_users_by_field"
GET_USERS: Final = "core_user_get_users"
CREATE_USERS: Final = "core_user_create_users"
UPDATE_USERS: Final = "core_user_update_users"
DELETE_USERS: Final = "core_user_delete_users"
GET_COHORTS: Final = "core_cohort_get_cohorts"
SEARCH_COHORTS: Final = "core_cohort_search_cohorts"
CREATE_COHORTS: Final = "core_cohort_create_cohorts"
DELETE_COHORTS: Final = "core_cohort_delete_cohorts"
ADD_MEMBERS: Final = "core_cohort_add_cohort_members"
DELETE_MEMBERS: Final = "core_cohort_delete_cohort_members"
GET_MEMBERS: Final = "core_cohort_get_cohort_members"

NEEDED: Final = frozenset(
    {
        SITE_INFO, USERS_BY_FIELD, GET_USERS, CREATE_USERS, UPDATE_USERS, GET_COHORTS, SEARCH_COHORTS,
        CREATE_COHORTS, ADD_MEMBERS, DELETE_MEMBERS, GET_MEMBERS,
    }
)  # fmt: skip
"""What the service must contain; verified before anything is written. Only an erasure needs DELETE_USERS."""

_VALUES_PER_READ: Final = 100  # a user is about 1 kB of JSON
_COHORTS_PER_SEARCH: Final = 100
_REMEDY_SEE: Final = (
    "give the service user's role, at system level, moodle/user:viewdetails, moodle/user:viewalldetails and "
    "moodle/site:viewuseridentity, and keep `email` among the site's showuseridentity"
)
REMEDY_DELETE: Final = (
    f"for an erasure, add {DELETE_USERS} to the service, and moodle/user:delete, at system level, to the "
    "service user's role; both may be taken away again afterwards"
)


@dataclass(frozen=True, slots=True)
class User:
    """A Moodle user as observed; fields that Moodle leaves out are empty here."""

    id: int
    username: str
    auth: str
    idnumber: str
    firstname: str
    lastname: str
    email: str
    suspended: bool
    lang: str = ""


@dataclass(frozen=True, slots=True)
class Cohort:
    """A Moodle cohort. `idnumber` is its key for the outside; Moodle alone knows `id`."""

    id: int
    idnumber: str
    name: str


@dataclass(frozen=True)
class SiteInfo:
    """Who the token belongs to, and what its service contains."""

    userid: int
    username: str
    functions: frozenset[str]


class MoodleFunctions:
    """Typed calls on one site. Errors are those of `RestClient`."""

    def __init__(self, rest: RestClient, settings: MoodleSettings) -> None:
        self._rest = rest
        self._settings = settings

    def close(self) -> None:
        """Close the connections."""
        self._rest.close()

    def rows(self, fields: int, at_most: int) -> int:
        """How many rows of `fields` variables fit one call to this site."""
        return rows_per_call(fields, max_input_vars=self._settings.max_input_vars, at_most=at_most)

    def site_info(self, deadline: Deadline) -> SiteInfo:
        """`core_webservice_get_site_info`."""
        info = self._rest.read(SITE_INFO, {}, deadline)
        with _expected_shape():
            names = frozenset(str(function["name"]) for function in info["functions"])
            return SiteInfo(int(info["userid"]), str(info["username"]), names)

    def permits(self, function: str, impossible: Mapping[str, Any], deadline: Deadline) -> bool:
        """Whether the service user has the right that a writing function needs.

        Args:
            function: the function.
            impossible: parameters that Moodle looks at after the right, and with which it writes nothing.
            deadline: of the look.
        """
        try:
            self.refuses(function, impossible, deadline)
        except RightMissing:
            return False
        return True

    def refuses(self, function: str, impossible: Mapping[str, Any], deadline: Deadline) -> bool:
        """Whether Moodle refuses these values; as for `permits`, nothing is written."""
        try:
            self._rest.read(function, impossible, deadline)  # as often as a read: nothing is ever written
        except MoodleRefused:
            return True
        return False

    def users_by(self, field: str, values: Sequence[str], deadline: Deadline) -> list[User]:
        """`core_user_get_users_by_field`: no row for an absent value, or several.

        The database ignores case and trailing blanks: compare exactly. One malformed value (of `username`,
        `email`) refuses the whole call.
        """
        size = rows_per_call(
            1, max_input_vars=self._settings.max_input_vars, at_most=_VALUES_PER_READ, others=1
        )
        found: list[User] = []
        for some in chunks(list(dict.fromkeys(values)), size):
            rows = self._rest.read(USERS_BY_FIELD, {"field": field, "values": some}, deadline)
            with _expected_shape():
                found += [_user(row) for row in rows]
        return found

    def users_like_email(self, address: str, deadline: Deadline) -> list[User]:
        """`core_user_get_users` by mail address, in any case.

        `_` and `%` are wildcards there.
        """
        criteria = {"criteria": [{"key": "email", "value": address}]}
        answer = self._rest.read(GET_USERS, criteria, deadline)
        with _expected_shape():
            return [_user(row) for row in answer["users"]]

    def everybody(self, deadline: Deadline) -> Iterator[User]:
        """`core_user_get_users` by any mail address: all users who are not deleted.

        Suspended users are included, and the answer is parsed while it arrives. Moodle has no call that lists
        users, nor one that gives them in pages.
        """
        criteria = {"criteria": [{"key": "email", "value": "%"}]}
        with self._rest.stream(GET_USERS, criteria, deadline) as pieces:
            for row in members(pieces, "users"):
                with _expected_shape():
                    user = _user(row)
                yield user

    def create_users(self, rows: Sequence[Mapping[str, str]], deadline: Deadline) -> list[int]:
        """`core_user_create_users`: all or nothing; returns their ids, in order.

        Raises:
            Misconfigured: PHP cut the call: fewer users were created than sent.
        """
        created = self._rest.write(CREATE_USERS, {"users": list(rows)}, deadline)
        with _expected_shape():
            if [user["username"] for user in created] == [row["username"] for row in rows]:
                return [int(user["id"]) for user in created]
            raise Misconfigured(
                f"Moodle created {len(created)} users of the {len(rows)} sent: PHP cut the call",
                remedy="set moodle.max_input_vars to the site's max_input_vars (PHP, default 1000), or less",
            )

    def update_users(self, rows: Sequence[Mapping[str, Any]], deadline: Deadline) -> dict[int, str]:
        """`core_user_update_users`: return the warning code of each id not updated.

        Moodle updates user by user.
        """
        answer = self._rest.write(UPDATE_USERS, {"users": list(rows)}, deadline)
        with _expected_shape():
            warnings = (answer or {}).get("warnings", ())
            return {int(each["itemid"]): str(each["warningcode"]) for each in warnings if "itemid" in each}

    def delete_users(self, ids: Sequence[int], deadline: Deadline) -> None:
        """`core_user_delete_users`: all or nothing. One that is gone already refuses the whole call.

        Raises:
            DeletionForbidden: the function or the right is missing, which nothing but an erasure needs.
        """
        try:
            self._rest.write(DELETE_USERS, {"userids": list(ids)}, deadline)
        except RightMissing as error:
            raise DeletionForbidden from error
        except CredentialsRefused as error:  # what a service without the function is answered, too
            if DELETE_USERS in self.site_info(deadline).functions:
                raise
            raise DeletionForbidden from error

    def all_cohorts(self, deadline: Deadline) -> list[Cohort]:
        """`core_cohort_get_cohorts` without ids: those of the site and of every category."""
        answer = self._rest.read(GET_COHORTS, {}, deadline)
        with _expected_shape():
            return [_cohort(row) for row in answer]

    def search_cohorts(self, query: str, deadline: Deadline) -> list[Cohort]:
        """`core_cohort_search_cohorts`, all contexts, every page.

        The query is a *substring* of name, idnumber or description.
        """
        found: list[Cohort] = []
        while True:
            params = {
                "query": query,
                "context": {"contextlevel": "system", "instanceid": 0},
                "includes": "all",
                "limitfrom": len(found),
                "limitnum": _COHORTS_PER_SEARCH,
            }
            answer = self._rest.read(SEARCH_COHORTS, params, deadline)
            with _expected_shape():
                page = [_cohort(row) for row in answer["cohorts"]]
            found += page
            if len(page) < _COHORTS_PER_SEARCH:
                return found

    def create_cohorts(self, rows: Sequence[tuple[str, str]], deadline: Deadline) -> list[Cohort]:
        """`core_cohort_create_cohorts` of (idnumber, name): all or nothing.

        In the system context.
        """
        cohorts = [
            {"categorytype": {"type": "system", "value": ""}, "name": name, "idnumber": idnumber}
            for idnumber, name in rows
        ]
        answer = self._rest.write(CREATE_COHORTS, {"cohorts": cohorts}, deadline)
        with _expected_shape():
            return [_cohort(row) for row in answer]

    def add_members(self, rows: Sequence[tuple[str, int]], deadline: Deadline) -> None:
        """`core_cohort_add_cohort_members` of (cohort's idnumber, user's id).

        Its warnings carry no index and quote names, and those who are members already are among them: read
        the members back instead.
        """
        added = [
            {
                "cohorttype": {"type": "idnumber", "value": idnumber},
                "usertype": {"type": "id", "value": userid},
            }
            for idnumber, userid in rows
        ]
        self._rest.write(ADD_MEMBERS, {"members": added}, deadline)

    def remove_members(self, rows: Sequence[tuple[int, int]], deadline: Deadline) -> None:
        """`core_cohort_delete_cohort_members` of (cohort's id, user's id).

        A user who is no member is skipped.
        """
        removed = [{"cohortid": cohort, "userid": user} for cohort, user in rows]
        self._rest.write(DELETE_MEMBERS, {"members": removed}, deadline)

    def delete_cohorts(self, ids: Sequence[int], deadline: Deadline) -> bool:
        """`core_cohort_delete_cohorts`; False: the service lacks the function.

        Only the suite needs it.
        """
        if DELETE_COHORTS not in self.site_info(deadline).functions:
            return False
        self._rest.write(DELETE_COHORTS, {"cohortids": list(ids)}, deadline)
        return True

    def members_of(self, cohorts: Sequence[int], deadline: Deadline) -> dict[int, frozenset[int]]:
        """`core_cohort_get_cohort_members`: user ids by cohort id. One id that is gone refuses the whole
        call."""
        size = self.rows(1, _VALUES_PER_READ)
        found: dict[int, frozenset[int]] = {}
        for some in chunks(cohorts, size):
            answer = self._rest.read(GET_MEMBERS, {"cohortids": list(some)}, deadline)
            with _expected_shape():
                found |= {int(row["cohortid"]): frozenset(map(int, row["userids"])) for row in answer}
        return found


@contextmanager
def _expected_shape() -> Iterator[None]:
    """JSON of another shape is no answer, least of all an empty one."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Broken(f"Moodle's answer has an unexpected shape: {type(error).__name__}") from None


def _user(row: Mapping[str, Any]) -> User:
    hidden = [name for name in ("username", "auth", "email", "suspended") if name not in row]
    if hidden:
        raise Misconfigured(f"the service user may not see {', '.join(hidden)} of users", remedy=_REMEDY_SEE)
    return User(
        id=int(row["id"]),
        username=str(row["username"]),
        auth=str(row["auth"]),
        idnumber=str(row.get("idnumber", "")),
        firstname=str(row.get("firstname", "")),
        lastname=str(row.get("lastname", "")),
        email=str(row["email"]),
        suspended=bool(row["suspended"]),
        lang=str(row.get("lang", "")),
    )


def _cohort(row: Mapping[str, Any]) -> Cohort:
    return Cohort(int(row["id"]), str(row.get("idnumber") or ""), str(row.get("name", "")))
