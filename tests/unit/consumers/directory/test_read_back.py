"""*Complete means observed*, in the directory: it takes every write, and then shows something else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import pytest
from ldap3.core.exceptions import LDAPSocketReceiveError

from consumers.directory.entry import FEDERATION, OWNED
from consumers.directory.objects import GROUP_NOT_OURS, OPERATOR_RECHECK_S, EntryObject
from consumers.kit.passwords import CREDENTIAL_NEEDED
from pipeline.errors import TargetDown
from pipeline.target import Dead, Done, HandlerOutcome, Retry, Task, Waiting
from schemas.account import Account, Administrative, Enrolment, Hold, Pedagogical
from sesame.testing.servers.directory_kit import seen
from sesame.testing.servers.ldap_kit import (
    DN,
    GROUPS,
    NUMBER,
    PEOPLE,
    PROVISIONER,
    Asked,
    Attributes,
    Secrets,
    Tree,
    client_on,
    directory_on,
    group_of,
    student,
    tree_of,
)
from sesame.testing.servers.narrowing import expect

REF = "ref-a"
INFO = f"cn=info,{GROUPS}"
QUOTA = {"mail_quota": "1G", "organisation_dn": "dc=univ-exemple,dc=fr"}
ENROLMENT = Enrolment(
    year=2026,
    step="L1INFO",
    step_version="261",
    step_label="Licence 1",
    component="SCI",
    administrative=Administrative.IN_FORCE,
    pedagogical=Pedagogical.VALIDATED,
)


def full(**fields: Any) -> Account:
    """An account that has a value for every attribute that the pipeline owns, but a hold."""
    state: dict[str, Any] = {
        "version": 1,
        "aliases": ("h.roux@univ-exemple.fr",),
        "entities": ("{UAI}0751717J", "{UAI}SCI"),
        "enrolments": (ENROLMENT,),
        "groups": (group_of("info", "Info"),),
        "valid_until": date(2027, 9, 30),
        "credential_ref": REF,
    }
    return student(**(state | fields))


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> Tree:
    return tree_of(monkeypatch)


def turn(wanted: Account | None = None, secrets: Secrets | None = None, **settings: Any) -> HandlerOutcome:
    vault = Secrets(**{REF: "$argon2id$a"}) if secrets is None else secrets
    wanted = full() if wanted is None else wanted
    return directory_on(vault, **(QUOTA | settings)).handler().handle([Task(wanted)])[NUMBER]


def names(outcome: HandlerOutcome) -> str:
    """What is said to differ."""
    assert isinstance(outcome, Retry), outcome
    assert outcome.cause == "read_back_differs"
    assert not outcome.unknown
    return outcome.message.rpartition(": ")[2]


Values = Callable[[list[str]], Sequence[str]]


def bend(tree: Tree, name: str, change: Values) -> None:
    """Show one attribute of the entry otherwise."""
    before = tree.shown

    def shown(dn: str, there: Attributes) -> Attributes:
        there = before(dn, there)
        return {**there, name: [*change(there.get(name, []))]} if dn == DN else there

    tree.shown = shown


def to(*values: str) -> Values:
    return lambda _values: values


def test_what_is_shown_as_written_is_done(tree: Tree) -> None:
    assert expect(Done, turn()).changed
    assert tree.entries[DN]["sesameMailQuota"] == [str(2**30)]


VALUED = sorted(set(OWNED) - {"sesameHold"})


@pytest.mark.parametrize("name", VALUED)
def test_a_value_that_is_not_there_is_no_success(tree: Tree, name: str) -> None:
    bend(tree, name, to())
    assert names(turn()) == name


@pytest.mark.parametrize("name", [*VALUED, "sesameHold"])
def test_a_value_too_many_is_no_success(tree: Tree, name: str) -> None:
    bend(tree, name, lambda values: [*values, "of before"])
    assert names(turn()) == name


@pytest.mark.parametrize("name", sorted(set(VALUED) - {"supannEtuAnneeInscription", "sesameMailQuota"}))
def test_another_case_is_another_value(tree: Tree, name: str) -> None:
    bend(tree, name, lambda values: [value.swapcase() for value in values])
    assert names(turn()) == name


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("sesameVersion", to("0"), "sesameVersion"),
        ("sesameVersion", to("2"), "sesameVersion"),
        ("pwdAccountLockedTime", to("000001010000Z"), "access"),
        ("uid", to("another"), "uid"),
        ("objectClass", lambda values: values[1:], "objectClass"),
        ("objectClass", to(), "objectClass"),
    ],
    ids=["an old version", "a newer version", "locked", "another login", "a class less", "no class"],
)
def test_an_entry_that_is_shown_otherwise_is_no_success(
    tree: Tree, name: str, change: Values, said: str
) -> None:
    bend(tree, name, change)
    assert names(turn()) == said


def test_a_hold_that_is_not_shown_is_no_success(tree: Tree) -> None:
    turn()
    bend(tree, "sesameHold", to())
    assert names(turn(full(holds=frozenset({Hold.SUSPENDED})))) == "sesameHold"


def test_all_that_differs_is_named(tree: Tree) -> None:
    for name in ("sn", "mail"):
        bend(tree, name, to())
    bend(tree, "pwdAccountLockedTime", to("000001010000Z"))
    assert set(names(turn()).split(", ")) == {"mail", "access", "sn"}


def test_values_and_classes_are_compared_as_the_server_has_them(tree: Tree) -> None:
    """Values have no order, and names of classes no case; the server may have more of these."""
    for name in VALUED:
        bend(tree, name, lambda values: values[::-1])
    bend(tree, "objectClass", lambda values: ["top", *(name.upper() for name in reversed(values))])
    assert isinstance(turn(), Done)


# --- the password -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [[], ["ref-of-before"], [REF.upper()]], ids=str)
def test_a_password_whose_reference_is_not_shown_is_tried_again_and_kept(
    tree: Tree, shown: list[str]
) -> None:
    secrets = Secrets(**{REF: "$argon2id$a"})
    bend(tree, "sesameCredentialRef", to(*shown))
    assert names(turn(secrets=secrets)) == "sesameCredentialRef"
    assert secrets.consumed == []
    assert turn(secrets=Secrets()) == Waiting(CREDENTIAL_NEEDED)


def test_a_hash_is_consumed_though_something_else_differs(tree: Tree) -> None:
    secrets = Secrets(**{REF: "$argon2id$a"})
    bend(tree, "mail", to())
    assert names(turn(secrets=secrets)) == "mail"
    assert secrets.consumed == [REF]


# --- groups -----------------------------------------------------------------------------------------------


def made(tree: Tree, name: str, owner: str = PROVISIONER) -> None:
    """A group of this name that has no member."""
    dn = f"cn={name},{GROUPS}"
    tree.put(dn, objectClass="groupOfNames", cn=name, owner=owner, member=[dn])


def keep(tree: Tree, *names: str) -> None:
    """Whatever is written, the student is in these groups alone."""

    def shown(dn: str, there: Attributes) -> Attributes:
        return {**there, "cn": [*names]} if dn == INFO else there

    tree.shown = shown


@pytest.mark.parametrize(
    "shown", [("l2info",), ("info", "l2info"), ("droit",)], ids=["one less", "one more", "another"]
)
def test_a_membership_that_is_not_as_wanted_is_no_success(tree: Tree, shown: tuple[str, ...]) -> None:
    turn(group_kind="static")
    keep(tree, *shown)
    assert names(turn(full(version=2), group_kind="static")) == "groups"


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_a_group_is_the_same_in_another_case(tree: Tree, kind: str) -> None:
    turn(group_kind=kind)
    tree.write(INFO, cn="INFO")
    assert isinstance(turn(full(version=2), group_kind=kind), Done)


def test_a_group_of_somebody_else_s_waits_for_an_operator(tree: Tree) -> None:
    made(tree, "info", owner=f"cn=other,{PEOPLE}")
    waiting = Waiting(GROUP_NOT_OURS, pending=("info",), recheck_after_s=OPERATOR_RECHECK_S)
    assert turn(group_kind="static") == waiting
    before = len(tree.wrote())
    assert turn(group_kind="static") == waiting
    assert len(tree.wrote()) == before, "nothing can be written about it"
    assert turn(full(version=2, holds=frozenset({Hold.SUSPENDED})), group_kind="static") == waiting


def test_what_differs_beside_a_foreign_group_is_tried_again(tree: Tree) -> None:
    made(tree, "info", owner=f"cn=other,{PEOPLE}")
    bend(tree, "mail", to())
    assert names(turn(group_kind="static")) == "mail"


def test_a_search_that_somebody_removed_is_made_again(tree: Tree) -> None:
    turn()
    del tree.entries[INFO]
    assert expect(Done, turn()).changed
    assert INFO in tree.entries


# --- closing ----------------------------------------------------------------------------------------------

SHUT = {"holds": frozenset({Hold.SUSPENDED})}
LOCK = "pwdAccountLockedTime"


def closes(asked: Asked) -> bool:
    return asked.verb == "modify" and LOCK in asked.what and "sesameVersion" not in asked.what


def test_access_is_closed_first_and_both_are_one_change(tree: Tree) -> None:
    turn()
    before = len(tree.wrote())
    first, second = turn(full(version=2, **SHUT)), turn(full(version=2, **SHUT))
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    assert (first.changed, second.changed) == (True, False)
    assert [closes(asked) for asked in tree.wrote()[before:] if asked.dn == DN] == [True, False]


def test_a_closing_that_failed_with_an_answer_is_tried_again_before_anything_is_written(tree: Tree) -> None:
    turn()
    tree.before = lambda asked: 51 if closes(asked) else None
    before = len(tree.wrote())
    assert expect(Retry, turn(full(version=2, **SHUT))).cause == "directory_busy"
    assert all(closes(asked) for asked in tree.wrote()[before:] if asked.dn == DN)


def test_a_closing_does_not_hide_that_the_writing_was_refused(tree: Tree) -> None:
    turn()
    tree.before = lambda asked: 65 if asked.dn == DN and "sesameVersion" in (asked.what or ()) else None
    assert expect(Dead, turn(full(version=2, **SHUT))).cause == "schema_violation"


@pytest.mark.parametrize("closing", [True, False], ids=["closing", "writing"])
@pytest.mark.parametrize("lost", [True, False], ids=["lost", "answered"])
def test_a_directory_that_goes_away_before_the_read_back_leaves_open_what_had_no_answer(
    tree: Tree, *, closing: bool, lost: bool
) -> None:
    turn()
    away: list[bool] = []

    def before(asked: Asked) -> None:
        if away:
            raise OSError("connection refused")
        if asked.verb == "modify" and asked.dn == DN and closes(asked) is closing:
            away.append(True)
            tree.hangs_up_after = int(lost)

    tree.before = before
    with pytest.raises(TargetDown) as down:
        turn(full(version=2, **SHUT))
    assert down.value.unknown is lost


def test_a_directory_that_goes_away_between_two_students_leaves_open_what_had_no_answer(tree: Tree) -> None:
    def before(asked: Asked) -> None:
        if asked.dn == DN and asked.verb in ("add", "search"):
            raise LDAPSocketReceiveError("closed")
        if asked.verb == "open" and any(one.dn == f"uid=second,{PEOPLE}" for one in tree.asked):
            raise OSError("connection refused")
        if asked.dn == f"uid=second,{PEOPLE}":
            raise LDAPSocketReceiveError("closed")

    tree.before = before
    tasks = [Task(student()), Task(student("2", "second"))]
    with pytest.raises(TargetDown) as down:
        directory_on().handler().handle(tasks)
    assert down.value.unknown


# --- the digest -------------------------------------------------------------------------------------------


def digest(shown: EntryObject) -> str:
    """Worked out here, from what was shown."""
    fields: dict[str, Any] = {name: sorted(shown.of(name)) for name in OWNED}
    fields |= {
        "uid": list(shown.logins),
        "supannEtuId": list(shown.student_numbers),
        "objectClass": ["inetOrgPerson", "eduPerson", "supannPerson", "sesameAccount"],
        "groups": sorted(shown.groups or ()),
        "sesameCredentialRef": [shown.credential_ref],
    }
    state = {"fields": fields, "open": not shown.locked}
    text = json.dumps(state, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_the_digest_is_of_what_was_shown(tree: Tree) -> None:
    outcome = expect(Done, turn(group_kind="static"))
    assert outcome.digest == digest(seen(directory_on(group_kind="static"), full())[0])
    assert tree.entries


def test_the_version_and_the_server_s_bookkeeping_change_no_digest(tree: Tree) -> None:
    one = turn(full(version=1))
    bend(tree, "entryCSN", to("2"))
    bend(tree, "objectClass", lambda values: ["top", *values])
    two = turn(full(version=2))
    assert isinstance(one, Done)
    assert isinstance(two, Done)
    assert one.digest == two.digest


# --- time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "done"), [(1.0, 10), (0.9, 12), (4.9, 3), (10.0, 1), (15.0, 1)])
def test_writing_ends_in_time_and_nobody_is_left_without_an_outcome(
    tree: Tree, seconds: float, done: int
) -> None:
    now = [0.0]

    def before(asked: Asked) -> None:
        now[0] += seconds if asked.verb == "add" else 0.0

    tree.before = before
    handler = directory_on(client=client_on(), monotonic=lambda: now[0], call_s_max=10.0).handler()
    outcomes = handler.handle([Task(student(str(n), f"u{n}")) for n in range(15)])
    late = [outcome for outcome in outcomes.values() if isinstance(outcome, Retry)]
    assert len(outcomes) == 15
    assert sum(isinstance(outcome, Done) for outcome in outcomes.values()) == done
    assert {(outcome.cause, outcome.unknown) for outcome in late} <= {("target_slow", False)}


def test_it_says_what_it_owns_and_closes_what_it_opened(tree: Tree) -> None:
    handler = directory_on().handler()
    handler.probe()
    handler.close()
    assert tree.asked[-1].verb == "unbind"
    described = handler.describe()
    assert (described.name, described.system, handler.batch_size) == (
        "directory",
        "LDAP ldap://127.0.0.1:389",
        20,
    )
    assert handler.call_s_max == 15.0 + 2 * (5 + 3 * 5)
    assert set(described.owns) == {
        *OWNED,
        *FEDERATION,
        *("uid", "supannEtuId", "objectClass", "groups"),
        *("userPassword", "sesameCredentialRef", "sesameVersion", "pwdAccountLockedTime"),
    }
