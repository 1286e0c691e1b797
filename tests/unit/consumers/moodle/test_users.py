"""Users created and updated in bulk: what is sent, and the cause that is found where Moodle gives none.

Some of these moments no real site can be made to repeat: somebody else is faster between two of our calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from pydantic import SecretStr

from consumers.kit.connector import AdoptedRef
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.moodle.causes import Fault, MoodleCause, fault
from consumers.moodle.deletions import Deletions
from consumers.moodle.errors import Broken, CallFailed, MoodleRefused, OutcomeUnknown, WriteRefused
from consumers.moodle.functions import MoodleFunctions, User
from consumers.moodle.intent import WantedUser
from consumers.moodle.settings import MoodleSettings
from consumers.moodle.users import Users
from consumers.moodle.work import Work
from pipeline.errors import Misconfigured

SETTINGS = MoodleSettings(base_url="https://moodle.univ-exemple.fr", token=SecretStr("jeton-d-essai"))
NUMBER = "22600001"
LOGIN = "elodie.lefevre"


def held_by(idnumber: str) -> User:
    return User(7, LOGIN, "cas", idnumber, "Élodie", "Lefèvre", "elodie.lefevre@etu.univ-exemple.fr", False)


def wanted() -> WantedUser:
    fields = {
        "username": LOGIN,
        "auth": "cas",
        "firstname": "Élodie",
        "lastname": "Lefèvre",
        "email": "elodie.lefevre@etu.univ-exemple.fr",
    }
    return WantedUser(NUMBER, fields, suspended=False, cohorts={})


class Overtaken:
    """Functions of a site that refuses every creation, and shows the reason at the second look only."""

    def __init__(self, error: Exception, holder: User) -> None:
        self._error = error
        self._holder = holder
        self._looks = 0

    def rows(self, fields: int, at_most: int) -> int:
        return at_most

    def create_users(self, rows: Sequence[Mapping[str, str]], deadline: Deadline) -> list[int]:
        raise self._error

    def users_by(self, field: str, values: Sequence[str], deadline: Deadline) -> list[User]:
        self._looks += field == "username"
        return [self._holder] if field == "username" and self._looks > 1 else []

    def users_like_email(self, address: str, deadline: Deadline) -> list[User]:
        return []


@pytest.mark.parametrize("error", [MoodleRefused("invalidparameter"), WriteRefused("dmlwriteexception")])
def test_a_user_that_another_worker_has_just_created_is_left_to_the_next_reading(error: Exception) -> None:
    work = Work(wanted())
    site = cast("MoodleFunctions", Overtaken(error, held_by(NUMBER)))
    Users(site, SETTINGS).write([work], Deadline.after(10, lambda: 0.0))
    assert work.user_fault is None
    assert work.lately == fault(MoodleCause.NOT_APPLIED)


@pytest.mark.parametrize("error", [MoodleRefused("invalidparameter"), WriteRefused("dmlwriteexception")])
def test_a_username_that_somebody_else_has_just_taken_is_said_to_be_taken(error: Exception) -> None:
    work = Work(wanted())
    site = cast("MoodleFunctions", Overtaken(error, held_by("22699999")))
    Users(site, SETTINGS).write([work], Deadline.after(10, lambda: 0.0))
    assert work.user_fault == fault(MoodleCause.USERNAME_TAKEN)


# --- a site in memory -------------------------------------------------------------------------------------

DEADLINE = Deadline(1000.0, lambda: 0.0)


class Site:
    """The functions of a site with these users: it compares without case, and takes a call whole or not.

    Attributes:
        users: by id.
        refuses: what a call is met with that creates a user of this username.
        malformed: values that no search takes.
        warns: the warning code of an update, by the user's id.
        fails: what an update is met with, of anybody or of `fails_of`.
        like: answers the search by address; None: as the exact one.
    """

    def __init__(self, *users: User) -> None:
        self.users = {user.id: user for user in users}
        self.refuses: dict[str, CallFailed | OutOfTime] = {}
        self.malformed: set[str] = set()
        self.warns: dict[int, str] = {}
        self.fails: CallFailed | OutOfTime | None = None
        self.fails_of: set[int] | None = None
        self.like: list[User] | CallFailed | None = None
        self.created: list[list[str]] = []
        self.updated: list[list[Mapping[str, Any]]] = []
        self.deleted: list[list[int]] = []
        self.undeletable: dict[int, CallFailed] = {}
        self.searched: list[tuple[str, list[str]]] = []
        self.sizes: list[tuple[int, int]] = []

    def rows(self, fields: int, at_most: int) -> int:
        self.sizes.append((fields, at_most))
        return at_most

    def create_users(self, rows: Sequence[Mapping[str, str]], deadline: Deadline) -> list[int]:
        assert deadline is DEADLINE
        self.created.append([row["username"] for row in rows])
        for row in rows:
            if row["username"] in self.refuses:
                raise self.refuses[row["username"]]
        ids = [100 + len(self.users) + n for n, _ in enumerate(rows)]
        for id_, row in zip(ids, rows, strict=True):
            self.users[id_] = User(id_, **row, suspended=False)
        return ids

    def update_users(self, rows: Sequence[Mapping[str, Any]], deadline: Deadline) -> dict[int, str]:
        assert deadline is DEADLINE
        self.updated.append(list(rows))
        if self.fails is not None and (self.fails_of is None or self.fails_of & {row["id"] for row in rows}):
            raise self.fails
        return {row["id"]: self.warns[row["id"]] for row in rows if row["id"] in self.warns}

    def delete_users(self, ids: Sequence[int], deadline: Deadline) -> None:
        assert deadline is DEADLINE
        for id_ in ids:
            if id_ in self.undeletable:
                raise self.undeletable[id_]
        self.deleted.append(list(ids))

    def users_by(self, field: str, values: Sequence[str], deadline: Deadline) -> list[User]:
        assert deadline is DEADLINE
        self.searched.append((field, list(values)))
        if self.malformed & set(values):
            raise MoodleRefused("invalidparameter")
        folded = {value.casefold() for value in values}
        return [user for user in self.users.values() if str(getattr(user, field)).casefold() in folded]

    def users_like_email(self, address: str, deadline: Deadline) -> list[User]:
        assert deadline is DEADLINE
        if isinstance(self.like, CallFailed):
            raise self.like
        return [] if self.like is None else self.like


def users_on(site: Site, **changes: Any) -> Users:
    return Users(cast("MoodleFunctions", site), SETTINGS.model_copy(update=changes))


def somebody(id_: int, name: str, **changes: Any) -> User:
    return replace(
        User(id_, name, "cas", f"N-{name}", "Prénom", "Nom", f"{name}@x.fr", suspended=False), **changes
    )


def work(name: str, *users: User, **changes: Any) -> Work:
    """One who is wanted as `somebody` makes her."""
    fields = {
        "username": name,
        "auth": "cas",
        "firstname": "Prénom",
        "lastname": "Nom",
        "email": f"{name}@x.fr",
    }
    return Work(WantedUser(f"N-{name}", {**fields, **changes}, suspended=False, cohorts={}), users)


def write(site: Site, *works: Work, **settings: Any) -> None:
    users_on(site, **settings).write(works, DEADLINE)


def state(one: Work) -> tuple[Fault | None, Fault | None, bool]:
    return one.user_fault, one.lately, one.created


DONE = (None, None, True)


def test_users_are_found_by_their_exact_number_and_the_oldest_is_first() -> None:
    site = Site(
        somebody(9, "b", idnumber="N-a"), somebody(3, "a"), somebody(4, "c", idnumber="n-A"), somebody(5, "x")
    )
    found = users_on(site).read(["N-a", "N-x", "N-y"], DEADLINE)
    assert {key: [user.id for user in users] for key, users in found.items()} == {
        "N-a": [3, 9],
        "N-x": [5],
        "N-y": [],
    }


def test_an_adopted_user_is_looked_at_by_its_id_where_nobody_has_the_number() -> None:
    site = Site(somebody(3, "a", idnumber="OLD"), somebody(4, "b"), somebody(5, "c", idnumber="OTHER"))
    a, b, c, d = work("a"), work("b"), work("c"), work("d")
    for one, adopted in (
        (a, AdoptedRef("3", "OLD")),
        (b, AdoptedRef("3", "OLD")),
        (c, AdoptedRef("5", "OLD")),
    ):
        one.wanted = replace(one.wanted, adopted=adopted)
    users_on(site).observe([a, b, c, d], DEADLINE)
    assert [[user.id for user in one.users] for one in (a, b, c, d)] == [[3], [4], [], []]
    assert site.searched[1:] == [("id", ["3", "5"])]
    assert (a.user_fault, d.user_fault) == (None, None)
    site.users[7] = somebody(7, "bb", idnumber="N-b")
    users_on(site).observe([b], DEADLINE)
    assert (len(b.users), b.user, b.open()) == (2, None, False)


def test_new_users_are_created_in_one_call_and_known_as_they_were_sent() -> None:
    site = Site()
    a, b = work("a"), work("b", lang="fr")
    write(site, a, b)
    assert site.created == [["a", "b"]]
    assert site.sizes == [(7, 50)]  # variables of the longest row: six fields and the number
    assert [state(one) for one in (a, b)] == [DONE, DONE]
    assert (a.users, b.users) == ((somebody(100, "a"),), (somebody(101, "b", lang="fr"),))
    assert site.updated == []  # it is as it was sent: nothing differs yet
    assert site.searched == []


def test_of_a_refused_batch_those_who_are_taken_are_told_apart_and_the_rest_is_created() -> None:
    """`taken` is somebody's login, `mine` exists by now, `mail` is somebody's address, `bad` has none."""
    site = Site(
        somebody(1, "TAKEN", idnumber="x"),
        somebody(2, "mine"),
        somebody(3, "other", email="MAIL@x.fr", idnumber="y"),
    )
    refusal = MoodleRefused("invalidparameter")
    site.refuses = dict.fromkeys(("taken", "mine", "mail", "bad"), refusal)
    site.malformed = {"bad@x.fr"}
    works = {name: work(name) for name in ("fine", "taken", "mine", "mail", "bad", "good")}
    write(site, *works.values())
    assert {name: state(one) for name, one in works.items()} == {
        "fine": DONE,
        "good": DONE,
        "taken": (fault(MoodleCause.USERNAME_TAKEN), None, False),
        "mine": (None, fault(MoodleCause.NOT_APPLIED), False),
        "mail": (fault(MoodleCause.EMAIL_TAKEN), None, False),
        "bad": (fault(MoodleCause.REFUSED_VALUES), None, False),
    }
    assert site.created[:2] == [list(works), ["fine", "bad", "good"]]
    assert ["mail"] in site.created


def test_an_address_that_somebody_has_is_asked_for_alone_and_may_be_welcome() -> None:
    site = Site(somebody(1, "x", email="a@x.fr"), somebody(2, "y", email="b@x.fr"))
    calls = iter([MoodleRefused("invalidparameter")])
    create = site.create_users

    def once(rows: Sequence[Mapping[str, str]], deadline: Deadline) -> list[int]:
        for error in calls:
            site.created.append([row["username"] for row in rows])
            raise error
        return create(rows, deadline)

    site.create_users = once  # type: ignore[method-assign]
    a, b = work("a"), work("b")
    write(site, a, b)
    assert site.created == [["a", "b"], ["a"], ["b"]]
    assert [state(one) for one in (a, b)] == [DONE, DONE]


@pytest.mark.parametrize("accepted", [True, False])
def test_a_suspected_address_that_the_database_refuses_alone_is_singled_out_by_its_neighbours(
    *, accepted: bool
) -> None:
    site = Site(somebody(1, "x", email="a@x.fr"))
    site.refuses = {"a": WriteRefused("dmlwriteexception")}
    if not accepted:
        site.refuses["b"] = WriteRefused("dmlwriteexception")
    a = work("a")
    write(site, a, work("b"))
    assert (a.lately, a.singled_out) == (fault(MoodleCause.BUSY), accepted)


@pytest.mark.parametrize(
    ("like", "cause"),
    [
        ([somebody(7, "x", email="A@X.fr", idnumber="x")], MoodleCause.EMAIL_TAKEN),
        ([somebody(7, "x", email="A@X.fr", idnumber="N-a")], MoodleCause.REFUSED_VALUES),
        (
            [somebody(7, "x", email="ab@x.fr", idnumber="x")],
            MoodleCause.REFUSED_VALUES,
        ),  # `_` is a wildcard there
        (MoodleRefused("invalidparameter"), MoodleCause.REFUSED_VALUES),
        (None, MoodleCause.REFUSED_VALUES),
    ],
)
def test_who_is_refused_alone_may_have_an_address_of_somebody_s_in_other_capitals(
    like: list[User] | CallFailed | None, cause: MoodleCause
) -> None:
    site = Site()
    site.like = like
    site.refuses = {"a": MoodleRefused("invalidparameter")}
    a = work("a")
    write(site, a)
    assert state(a) == (fault(cause), None, False)


def test_an_address_is_not_asked_after_where_the_database_refused_the_write() -> None:
    site = Site()
    site.like = [somebody(7, "x", email="a@x.fr", idnumber="x")]
    site.refuses = {"a": WriteRefused("dmlwriteexception")}
    a = work("a")
    write(site, a)
    assert (a.user_fault, a.lately) == (None, fault(MoodleCause.BUSY))


@pytest.mark.parametrize(
    ("refused", "languages", "stops"),
    [
        (("a", "b"), {"fr": "fr"}, True),
        (("a", "b"), {}, False),
        (("a",), {"fr": "fr"}, False),
        (("a", "b", "c"), {"fr": "fr"}, True),
    ],
)
def test_a_site_that_refuses_every_new_user_may_lack_the_language(
    refused: tuple[str, ...], languages: dict[str, str], *, stops: bool
) -> None:
    site = Site()
    site.refuses = dict.fromkeys(refused, MoodleRefused("invalidparameter"))
    works = [work(name) for name in refused]
    if stops:
        with pytest.raises(Misconfigured, match="refuses every new user") as caught:
            write(site, *works, languages=languages)
        assert "moodle.languages" in caught.value.remedy
    else:
        write(site, *works, languages=languages)
    assert {one.user_fault for one in works} == {fault(MoodleCause.REFUSED_VALUES)}
    write(site, *(work(name) for name in (*refused, "fine")), languages={"fr": "fr"})  # one passes: its rows


def test_one_malformed_value_hides_no_holder_of_another() -> None:
    names = [f"n{number}" for number in range(7)]
    site = Site(*(somebody(number, name, idnumber="x") for number, name in enumerate(names, start=1)))
    site.malformed = {"n2"}
    works = [work(name) for name in names]
    users_on(site).foresee(works, DEADLINE)
    taken = [one.user_fault == fault(MoodleCause.USERNAME_TAKEN) for one in works]
    assert taken == [name != "n2" for name in names]
    logins = [values for field, values in site.searched if field == "username"]
    assert logins == [names, names[:3], names[:1], names[1:3], ["n1"], ["n2"], names[3:]]


# --- updates ----------------------------------------------------------------------------------------------


def test_of_each_user_only_what_differs_is_sent() -> None:
    site = Site()
    a, b = work("a", somebody(3, "a", lastname="Avant")), work("b", somebody(4, "b", suspended=True))
    c = work("c", somebody(5, "c"))
    write(site, a, b, c)
    assert site.updated == [[{"id": 3, "lastname": "Nom"}, {"id": 4, "suspended": 0}]]
    assert site.sizes == [(2, 50)]
    assert [state(one) for one in (a, b, c)] == [(None, None, False)] * 3
    write(site, work("a", somebody(3, "a", lastname="Avant", firstname="Avant")))
    assert site.sizes[1:] == [(3, 50)]


@pytest.mark.parametrize(
    ("code", "found", "lately"),
    [
        ("useremailduplicate", MoodleCause.EMAIL_TAKEN, None),
        ("useremailinvalid", MoodleCause.EMAIL_INVALID, None),
        ("usernotupdatedadmin", MoodleCause.ADMIN_ACCOUNT, None),
        ("usernotupdatedguest", MoodleCause.ADMIN_ACCOUNT, None),
        ("usernotupdatedremote", MoodleCause.REFUSED_VALUES, None),
        ("anythingelse", MoodleCause.REFUSED_VALUES, None),
        ("invaliduserid", None, MoodleCause.NOT_APPLIED),
        ("usernotupdateddeleted", None, MoodleCause.NOT_APPLIED),
        ("dmlwriteexception", None, MoodleCause.BUSY),
    ],
)
def test_a_warning_about_one_user_says_why_it_was_left(
    code: str, found: MoodleCause | None, lately: MoodleCause | None
) -> None:
    site = Site()
    site.warns = {3: code}
    a, b = work("a", somebody(3, "a", lastname="Avant")), work("b", somebody(4, "b", lastname="Avant"))
    write(site, a, b)
    assert state(a) == (found and fault(found), lately and fault(lately), False)
    assert state(b) == (None, None, False)


@pytest.mark.parametrize("neighbour", [True, False])
def test_a_row_that_the_database_refuses_twice_while_it_takes_others_is_to_blame(*, neighbour: bool) -> None:
    site = Site()
    site.warns = {3: "dmlwriteexception"}
    a = work("a", somebody(3, "a", lastname="Avant"))
    others = [work("b", somebody(4, "b", lastname="Avant"))] if neighbour else []
    write(site, a, *others)
    assert (a.user_fault, a.lately) == (None, fault(MoodleCause.BUSY))
    write(site, a)
    assert a.user_fault == (fault(MoodleCause.WRITE_REFUSED) if neighbour else None)
    fresh = work("a", somebody(3, "a", lastname="Avant"))
    site.warns[4] = "invaliduserid"  # not taken either
    write(site, fresh, work("b", somebody(4, "b", lastname="Avant")))
    assert not fresh.singled_out


@pytest.mark.parametrize(
    ("holder", "taken", "lately"),
    [
        (somebody(9, "A", idnumber="x"), MoodleCause.USERNAME_TAKEN, None),
        (somebody(9, "A", idnumber="N-a"), None, MoodleCause.BUSY),
        (None, None, MoodleCause.BUSY),
    ],
)
def test_a_new_login_that_the_database_refuses_is_somebody_s_as_a_rule(
    holder: User | None, taken: MoodleCause | None, lately: MoodleCause | None
) -> None:
    site = Site(*([holder] if holder else []))
    site.warns = {3: "dmlwriteexception"}
    a, b = work("a", somebody(3, "old")), work("b", somebody(4, "b", lastname="Avant"))
    write(site, a, b)
    assert (a.user_fault, a.lately) == (taken and fault(taken), lately and fault(lately))
    assert a.singled_out is (lately is MoodleCause.BUSY)
    assert site.searched == [("username", ["a"])]


LOST = [
    (OutcomeUnknown("504"), MoodleCause.OUTCOME_UNKNOWN),
    (Broken("500"), MoodleCause.BROKEN),
    (OutOfTime("late"), MoodleCause.OUT_OF_TIME),
]


@pytest.mark.parametrize(("error", "cause"), LOST)
def test_an_update_that_was_not_answered_may_have_been_made(
    error: CallFailed | OutOfTime, cause: MoodleCause
) -> None:
    site = Site()
    site.fails = error
    a = work("a", somebody(3, "a", lastname="Avant"))
    write(site, a)
    assert state(a) == (None, fault(cause), False)
    assert a.user_unknown is isinstance(error, OutcomeUnknown)
    site.fails = OutOfTime("late")
    write(site, a)
    assert a.user_unknown is isinstance(error, OutcomeUnknown)  # what may have been written stays so


@pytest.mark.parametrize(("error", "cause"), LOST)
def test_a_creation_that_was_not_answered_may_have_been_made(
    error: CallFailed | OutOfTime, cause: MoodleCause
) -> None:
    site = Site()
    site.refuses = {"a": error}
    a = work("a")
    write(site, a)
    assert state(a) == (None, fault(cause), False)
    assert a.user_unknown is isinstance(error, OutcomeUnknown)
    looked = ["username", "email"] if isinstance(error, Broken) else []
    assert [field for field, _ in site.searched] == looked  # once, before it is laid on her


@pytest.mark.parametrize("error", [WriteRefused("dmlwriteexception"), MoodleRefused("invalidparameter")])
def test_an_update_that_is_refused_alone_is_that_row_s(error: MoodleRefused) -> None:
    site = Site()
    site.fails = error
    a, b = work("a", somebody(3, "a", lastname="Avant")), work("b", somebody(4, "b", lastname="Avant"))
    write(site, a, b)
    assert [len(rows) for rows in site.updated] == [2, 1, 1]
    for one in (a, b):
        busy = isinstance(error, WriteRefused)
        assert one.user_fault == (None if busy else fault(MoodleCause.REFUSED_VALUES))
        assert one.lately == (fault(MoodleCause.BUSY) if busy else None)
        assert not one.singled_out


def test_a_row_that_makes_the_database_refuse_a_call_is_to_blame_once_its_neighbours_were_taken() -> None:
    site = Site()
    site.fails, site.fails_of = WriteRefused("dmlwriteexception"), {3}
    a, b = work("a", somebody(3, "a", lastname="Avant")), work("b", somebody(4, "b", lastname="Avant"))
    write(site, a, b)
    assert (a.user_fault, a.lately, a.singled_out) == (None, fault(MoodleCause.BUSY), True)
    assert state(b) == (None, None, False)
    write(site, a)
    assert a.user_fault == fault(MoodleCause.WRITE_REFUSED)


@pytest.mark.parametrize("neighbour", [True, False])
def test_a_creation_that_the_database_refuses_alone_is_singled_out_by_its_neighbours(
    *, neighbour: bool
) -> None:
    site = Site()
    site.refuses = {"a": WriteRefused("dmlwriteexception")}
    a = work("a")
    write(site, a, *([work("b")] if neighbour else []))
    assert (a.lately, a.singled_out) == (fault(MoodleCause.BUSY), neighbour)


# --- who has the login, and what else is foreseen ---------------------------------------------------------


def test_of_those_who_are_to_be_created_it_is_said_whose_login_somebody_else_has() -> None:
    site = Site(somebody(1, "A", idnumber="x"), somebody(2, "b"), somebody(3, "old", idnumber="N-d"))
    a, b, c = work("a"), work("b"), work("c")
    there = work("a", somebody(3, "old"))
    nobody = work("a")
    nobody.wanted = replace(nobody.wanted, create=False)
    assert users_on(site).taken([a, b, c, there], DEADLINE) == {"N-a"}
    assert site.searched == [("username", ["a", "b", "c"])]
    assert users_on(site).taken([there, nobody], DEADLINE) == frozenset()
    assert len(site.searched) == 1, "nobody is to be created, and nobody is asked"


# --- erasure ----------------------------------------------------------------------------------------------


def test_only_whoever_is_still_the_same_is_erased_and_who_is_gone_is_gone() -> None:
    site = Site(somebody(3, "a"), somebody(4, "b", idnumber="N-other"), somebody(5, "c"))
    gone = [somebody(n, name) for n, name in ((3, "a"), (4, "b"), (9, "d"))]
    faults = Deletions(cast("MoodleFunctions", site), SETTINGS).erase(gone, {}, DEADLINE)
    assert faults == {4: fault(MoodleCause.NOT_APPLIED, "idnumber")}
    assert site.deleted == [[3]]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MoodleRefused("useradminodelete"), MoodleCause.ADMIN_ACCOUNT),
        (MoodleRefused("usernotdeletederror"), MoodleCause.REFUSED_VALUES),
        (WriteRefused("dmlwriteexception"), MoodleCause.BUSY),
        *LOST,
    ],
)
def test_who_is_not_erased_is_found_among_the_others_and_said_why(
    error: CallFailed, cause: MoodleCause
) -> None:
    site = Site(somebody(3, "a"), somebody(4, "b"))
    site.undeletable = {3: error}
    both = [somebody(3, "a"), somebody(4, "b")]
    faults = Deletions(cast("MoodleFunctions", site), SETTINGS).erase(both, {}, DEADLINE)
    assert faults[3] == fault(cause)
    alone = isinstance(error, MoodleRefused | Broken)
    assert (4 in faults, [4] in site.deleted) == (not alone, alone)


# --- what is foreseen -------------------------------------------------------------------------------------


def test_who_has_the_login_or_the_address_is_foreseen_where_they_would_be_written() -> None:
    site = Site(somebody(8, "A", idnumber="x"), somebody(9, "y", email="B@x.fr"), somebody(4, "d"))
    a, b, c = work("a"), work("b"), work("c")
    d = work("d", somebody(4, "d", lastname="Avant"))  # login and address are its own already
    renamed = work("A", somebody(5, "old", email="A@x.fr"))
    users_on(site).foresee([a, b, c, d, renamed], DEADLINE)
    assert [one.user_fault for one in (a, b, c, d, renamed)] == [
        fault(MoodleCause.USERNAME_TAKEN),
        fault(MoodleCause.EMAIL_TAKEN),
        None,
        None,
        fault(MoodleCause.USERNAME_TAKEN),
    ]
    searched = dict(site.searched)
    assert searched["username"] == ["a", "b", "c", "A"]
    assert searched["email"] == ["b@x.fr", "c@x.fr"]


def test_a_login_that_two_have_is_taken_and_an_address_that_two_share_is_not() -> None:
    site = Site(somebody(8, "a", idnumber="x"), somebody(9, "A", idnumber="y"))
    site.users |= {n: somebody(n, f"u{n}", email="b@x.fr") for n in (10, 11)}
    a, b = work("a"), work("b")
    users_on(site).foresee([a, b], DEADLINE)
    assert (a.user_fault, b.user_fault) == (fault(MoodleCause.USERNAME_TAKEN), None)


def test_what_is_the_user_s_own_already_is_nobody_else_s() -> None:
    site = Site(somebody(5, "A"))
    one = work("a", somebody(5, "A"))  # in other capitals until now
    users_on(site).foresee([one], DEADLINE)
    assert one.user_fault is None


def test_the_guest_is_changed_by_nobody() -> None:
    for lastname, found in (("Avant", fault(MoodleCause.ADMIN_ACCOUNT)), ("Nom", None)):
        guest = work("guest", somebody(1, "guest", lastname=lastname))
        users_on(Site()).foresee([guest], DEADLINE)
        assert guest.user_fault == found
