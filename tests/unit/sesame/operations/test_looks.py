"""Looks at targets that are found by entry point: somebody else's fault is theirs, and told without a word of
theirs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from consumers.kit.connector import (
    Anything,
    Connector,
    ConnectorContext,
    ConnectorUnusable,
    Held,
    Refused,
    Secret,
    Seen,
    TargetObject,
    Wanted,
)
from consumers.kit.settings import ClientSettings
from pipeline.errors import TargetDown
from pipeline.target import Preview
from sandbox.process import wait_until
from schemas.account import Account, Hold
from sesame.operations.people.diagnosis import live
from sesame.operations.people.diagnosis.engine import judge
from sesame.operations.people.diagnosis.live import LiveChecks
from sesame.operations.people.diagnosis.person import PersonStatus, TargetStatus
from sesame.operations.people.diagnosis.situation import Live, Situation
from sesame.operations.people.target_look import TargetLook, look_at
from sesame.testing.servers.accounts import account_of

if TYPE_CHECKING:
    from consumers.kit.deadline import Deadline
    from sesame.acts.ports import Diagnosable, HasConnectors

NOW = datetime(2026, 7, 2, 12, tzinfo=UTC)
LEA = account_of(version=2, activated_at=NOW, opened_at=NOW)
THERE = TargetObject("a", LEA.student_number, {"name": ("Léa",)}, open=True)


class Odd(Connector[ClientSettings]):
    """A connector that reads as it is told to, and shows which password an object has."""

    section = ClientSettings
    title = {"fr": "Le rayon", "en": "The shelf"}  # noqa: RUF012
    credential = "ref"

    def __init__(self, read: Callable[[], Any]) -> None:
        super().__init__(ConnectorContext("odd", ClientSettings(), no_secret))
        self._read = read

    def wanted(self, account: Account) -> Wanted:
        ref = () if account.credential_ref is None else (account.credential_ref,)
        return Wanted({"name": ("Léa",), **({"ref": ref} if ref else {})})

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        return {each.student_number: self._read() for each in accounts}

    def probe(self) -> None:
        raise AssertionError("a look probes nothing")


class Careless(Odd):
    """Brings a handler of its own, which answers something else than it should."""

    def handler(self) -> Any:
        return SimpleNamespace(preview=lambda _accounts: {LEA.student_number: self._read()})


def no_secret(_name: str) -> Secret:
    raise AssertionError


def says(said: Any) -> Callable[[], Any]:
    return lambda: said


def fails(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def look(account: Account = LEA, *, look_s_max: float = 20.0, **made: Callable[[], Anything]) -> Live:
    """What is seen of a student on a site with these targets."""

    class Site:
        settings = SimpleNamespace(
            targets=tuple(made),
            cas=SimpleNamespace(has_secret=lambda _name: False),
            moodle=SimpleNamespace(auth="cas"),
        )

        @contextmanager
        def connector(self, target: str) -> Iterator[Anything]:
            yield made[target]()

    return LiveChecks(cast("Diagnosable", Site()), look_s_max=look_s_max).look(account)


def well() -> Odd:
    return Odd(says([THERE]))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: Odd(fails(KeyError("Léa Martin, née le 4 mai"))), "KeyError in test_looks.py"),
        (lambda: Odd(fails(SystemExit("Léa Martin"))), "SystemExit in test_looks.py"),
        (lambda: Odd(fails(TargetDown("it is away"))), "it is away"),
        (lambda: Odd(says(None)), "TypeError in"),
        (lambda: Odd(says(Refused("odd_failed", "Léa Martin"))), "Odd failed."),
        (lambda: Odd(says(Refused("internal_error", "Léa Martin"))), "A fault of Sésame's own."),
        (lambda: Careless(says(None)), "AttributeError in live.py"),
        (lambda: Careless(says({"differs": ["name"]})), "AttributeError in live.py"),
        (lambda: Careless(says(SimpleNamespace(differs=None, obstacle=""))), "TypeError in live.py"),
        (fails(ConnectorUnusable("its package is gone")), "its package is gone"),
    ],
)
def test_what_a_connector_does_wrong_is_unseen_and_the_others_are_shown(
    made: Callable[[], Anything], why: str
) -> None:
    seen = look(well=well, odd=made)
    assert seen.objects == {"well": Preview()}
    assert seen.unseen.keys() == {"odd"}
    assert seen.unseen["odd"].startswith(why)
    assert "Léa" not in seen.unseen["odd"]


def test_a_connector_that_hangs_is_waited_for_as_long_as_all_are() -> None:
    let_go = threading.Event()
    try:
        seen = look(well=well, odd=lambda: Odd(let_go.wait), look_s_max=1.0)
    finally:
        let_go.set()
    assert seen.objects == {"well": Preview()}
    assert seen.unseen == {"odd": "no answer within 1 s"}


def test_looks_at_a_connector_that_hangs_do_not_collect_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOOKS_MAX", 3)
    let_go, begun = threading.Event(), []

    def hang() -> None:
        begun.append("a look")
        let_go.wait()

    try:
        seen = [look(well=well, odd=lambda: Odd(hang), look_s_max=0.05) for _ in range(5)]
    finally:
        let_go.set()
    late, many = "no answer within 0.05 s", "3 earlier looks have not come back"
    assert [each.unseen["odd"] for each in seen] == [late, late, late, many, many]
    wait_until(lambda: look(well=well, odd=lambda: Odd(says([THERE]))).unseen == {}, "them to come back")
    assert len(begun) == 3


@pytest.mark.parametrize(
    "reason", ["timetable_not_scheduled", "program_waits", "pedagogical_enrolment_pending"]
)
def test_a_target_that_is_not_ready_has_said_so(reason: str) -> None:
    seen = look(odd=lambda: Odd(says(Held(reason))))
    assert (seen.objects, seen.unseen) == ({"odd": Preview(obstacle=reason)}, {})


# --- what is there beside what is wanted ------------------------------------------------------------------


def beside(made: Callable[[], Anything], account: Account = LEA) -> TargetLook:
    class Site:
        @contextmanager
        def connector(self, _target: str) -> Iterator[Anything]:
            yield made()

    [found] = look_at(
        cast("HasConnectors", Site()), ["odd"], account.model_copy(update={"credential_ref": "v1"})
    )
    return found


def test_a_look_has_each_field_there_beside_what_is_wanted_and_nothing_of_a_password() -> None:
    there = TargetObject("a", "", {"name": ("Lea",), "ref": ("v0",), "userPassword": ("x",), "more": ("y",)})
    found = beside(lambda: Odd(says([there])))
    rows = [(row.name, row.there, row.wanted, row.differs) for row in found.beside(found.objects[0])]
    assert rows == [("more", ("y",), None, False), ("name", ("Lea",), ("Léa",), True)]
    none_there = [(row.name, row.differs) for row in beside(lambda: Odd(says([]))).beside(None)]
    assert none_there == [("name", True)]


@pytest.mark.parametrize(
    ("said", "obstacle", "unseen"),
    [
        (says(Held("pedagogical_enrolment_pending")), "pedagogical_enrolment_pending", ""),
        (says(Refused("odd_failed", "Léa Martin")), "odd_failed", ""),
        (fails(TargetDown("it is away")), "", "it is away"),
        (fails(KeyError("Léa Martin")), "", "KeyError in test_looks.py"),
    ],
)
def test_a_look_says_what_is_in_the_way(said: Callable[[], Any], obstacle: str, unseen: str) -> None:
    found = beside(lambda: Odd(said))
    assert (found.obstacle, found.objects) == (obstacle, ())
    assert found.unseen.startswith(unseen)
    assert "Léa" not in found.unseen


SHUT: Final = Refused("odd_behind", "access is to be shut, and the server still finds the user")


@pytest.mark.parametrize(
    ("wanted", "there", "holds", "conforms", "obstacle"),
    [
        (Wanted({}, SHUT), [], [Hold.SUSPENDED], True, ""),
        (Wanted({}, SHUT), [THERE], [Hold.SUSPENDED], False, "odd_behind"),
        (Wanted({}), [], [Hold.SUSPENDED], True, ""),
        (Wanted({"open": ("no",)}), [replace(THERE, fields={"open": ("no",)})], [Hold.SUSPENDED], True, ""),
        (Wanted({"open": ("no",)}), [replace(THERE, fields={"open": ("yes",)})], [Hold.SUSPENDED], False, ""),
        (Wanted({"open": ("no",)}), [], [Hold.SUSPENDED], True, ""),
        (Wanted({"name": ("Léa",)}), [THERE], [], True, ""),
        (Wanted({"name": ("Léa",)}), [THERE, THERE], [], False, ""),
        (Wanted({"name": ("Léa",)}), [], [], False, ""),
        (Wanted({"name": ("Léa",)}, SHUT), [], [], False, "odd_behind"),
    ],
)
def test_a_look_conforms_where_a_shut_access_leaves_nothing_to_be_seen(
    wanted: Wanted, there: list[TargetObject], holds: list[Hold], conforms: bool, obstacle: str
) -> None:
    class Mailbox(Odd):
        def wanted(self, account: Account) -> Wanted:
            return wanted

    account = LEA.model_copy(update={"holds": tuple(holds)})
    found = beside(lambda: Mailbox(says(there)), account)
    assert (found.conforms, found.obstacle) == (conforms, obstacle)


# --- the rules ----------------------------------------------------------------------------------------


def rules(seen: Live, state: str = "provisioned", reason: str | None = None, **changes: Any) -> list[str]:
    """What is concluded of a student whose target is said to be in this state."""
    target = TargetStatus("odd", state, NOW, 2, reason)
    status = PersonStatus(
        student_number=LEA.student_number,
        version=2,
        stage="active",
        holds=(),
        login=LEA.login,
        mail=LEA.mail,
        state="completed",
        activated_at=NOW,
        opened_at=NOW,
        completed_at=NOW,
        elapsed_s=1.0,
        targets=(target,),
    )
    account = LEA.model_copy(update=changes)
    situation = Situation(LEA.student_number, NOW, account=account, status=status, live=seen)
    about = ("object_", "password_")
    return [each.rule for each in judge(situation, live=True) if each.rule.startswith(about)]


MEDDLED = [
    ([], "object_missing"),
    ([THERE, TargetObject("b", LEA.student_number)], "object_ambiguous"),
    ([THERE, TargetObject("b")], "object_ambiguous"),
    ([TargetObject("a", LEA.student_number, {"name": ("Léa",)}, open=False)], "object_shut"),
    ([TargetObject("a", LEA.student_number, {"name": ("Max",)}, open=True)], "object_changed"),
]


@pytest.mark.parametrize(("found", "rule"), MEDDLED)
def test_a_difference_speaks_only_where_the_target_is_said_to_have_the_account(found: Any, rule: str) -> None:
    seen = look(odd=lambda: Odd(says(found)))
    assert rules(seen) == [rule]
    assert rules(seen, "waiting", "pedagogical_enrolment_pending") == [rule]
    for state, reason in (("queued", None), ("failed", "identity_collision"), ("waiting", "observed_only")):
        assert rules(seen, state, reason) == []


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        ("queued", None, ["password_on_its_way"]),
        ("down", "down", ["password_on_its_way"]),
        ("provisioned", None, ["password_needed"]),
        ("waiting", "pedagogical_enrolment_pending", ["password_needed"]),
        ("waiting", "credential_needed", ["password_needed"]),
        ("waiting", "observed_only", []),
        ("failed", "identity_collision", []),
    ],
)
def test_another_password_is_no_change_by_hand(state: str, reason: str | None, said: list[str]) -> None:
    older = TargetObject("a", LEA.student_number, {"name": ("Léa",), "ref": ("r1",)}, open=True)
    seen = look(LEA.model_copy(update={"credential_ref": "r2"}), odd=lambda: Odd(says([older])))
    assert rules(seen, state, reason, credential_ref="r2") == said


def test_an_object_that_is_gone_has_no_other_password() -> None:
    seen = look(LEA.model_copy(update={"credential_ref": "r2"}), odd=lambda: Odd(says([])))
    assert rules(seen, credential_ref="r2") == ["object_missing"]
    assert rules(seen, "queued", credential_ref="r2") == []
