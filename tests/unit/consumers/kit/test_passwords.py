"""The kit's handler gives passwords as they were typed, once, to who may use the account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from consumers.kit.connector import Change, Connector, ConnectorContext, Refused, Seen, TargetObject, Wanted
from consumers.kit.deadline import Deadline
from consumers.kit.passwords import NoPasswords
from consumers.kit.settings import PlainPasswordSettings
from pipeline.target import Dead, Done, HandlerOutcome, Preview, Retry, Task, Waiting
from pipeline.vault import HandedOver, SealBroken
from schemas.account import Account, Hold
from sesame.testing.servers.narrowing import expect
from tests.unit.consumers.kit.test_handler import HELD, account, no_secret

OUR_CLOCK = 1_700_000_000.0


class Drawer(NoPasswords):
    """The passwords that wait."""

    def __init__(self) -> None:
        self.kept = {"r1": "secret un", "r2": "secret deux"}
        self.broken = False
        self.opened: list[str] = []
        self.given: dict[str, HandedOver] = {}
        self.last: dict[str, str] = {}
        self.unkept: list[str] = []

    def open(self, ref: str) -> str | None:
        self.opened.append(ref)
        if self.broken:
            raise SealBroken
        return self.kept.get(ref)

    def consume(self, shown: Mapping[str, float | None]) -> None:
        for ref in shown.keys() & self.kept.keys():
            del self.kept[ref]
            self.given[ref] = HandedOver(shown[ref], OUR_CLOCK)

    def handed_over(self, refs: Sequence[str]) -> Mapping[str, HandedOver]:
        return {ref: self.given[ref] for ref in refs if ref in self.given}

    def open_kept(self, ref: str) -> str | None:
        self.unkept.append(ref)
        self.given.pop(ref, None)
        return self.last.get(ref)

    def forget_kept(self, refs: Sequence[str]) -> None:
        for ref in refs:
            self.last.pop(ref, None)


class Safe(Connector[PlainPasswordSettings]):
    """A target that wants passwords."""

    section = PlainPasswordSettings
    title = {"fr": "Le coffre", "en": "The safe"}  # noqa: RUF012
    owns = ("name", "mark")
    credential = "mark"

    def __init__(self) -> None:
        self.drawer = Drawer()
        self.there: dict[str, TargetObject] = {}
        self.passwords: dict[str, str] = {}
        self.forgets_mark = False
        self.refuses = False
        self.sets_at: float | None = None
        self.changes: list[Change] = []
        super().__init__(ConnectorContext("safe", PlainPasswordSettings(), no_secret, passwords=self.drawer))

    def wanted(self, account: Account) -> Wanted:
        mark = {"mark": (account.credential_ref,)} if account.credential_ref else {}
        return Wanted({"name": (account.person.display_name,), **mark})

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> dict[str, Seen]:
        deadline.left_s()
        numbers = [each.student_number for each in accounts]
        return {number: [self.there[number]] if number in self.there else [] for number in numbers}

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> dict[str, Refused]:
        deadline.left_s()
        self.changes += changes
        if self.refuses:
            return {each.account.student_number: Refused("too_weak", "no", lasting=True) for each in changes}
        for each in changes:
            number = each.account.student_number
            fields = {**(each.found.fields if each.found else {}), **each.fields}
            if self.forgets_mark:
                fields.pop("mark", None)
            if each.password is not None:
                self.passwords[number] = each.password
            before = each.found or TargetObject(number, number, {}, True)
            self.there[number] = replace(
                before,
                fields=fields,
                open=before.open if each.open is None else each.open,
                password_at=before.password_at if each.password is None else self.sets_at,
            )
        return {}

    def close(self, changes: Sequence[Change], deadline: Deadline) -> dict[str, Refused]:
        return self.apply(changes, deadline)

    def probe(self) -> None:
        pass


@pytest.fixture
def safe() -> Safe:
    return Safe()


def turn(safe: Safe, **changes: Any) -> HandlerOutcome:
    return safe.handler().handle([Task(account(**changes))])["1"]


def test_a_password_is_given_with_its_mark_and_then_forgotten(safe: Safe) -> None:
    assert isinstance(turn(safe, credential_ref="r1"), Done)
    assert safe.passwords == {"1": "secret un"}
    assert safe.there["1"].fields["mark"] == ("r1",)
    assert safe.drawer.kept == {"r2": "secret deux"}


def test_nobody_opens_a_password_that_the_target_has(safe: Safe) -> None:
    turn(safe, credential_ref="r1")
    safe.drawer.opened.clear()
    safe.drawer.kept["r1"] = "left over from a crash before it was forgotten"
    assert not expect(Done, turn(safe, credential_ref="r1", version=2)).changed
    assert safe.drawer.opened == []
    assert "r1" not in safe.drawer.kept


def test_a_newer_password_takes_the_place_of_the_older(safe: Safe) -> None:
    turn(safe, credential_ref="r1")
    assert isinstance(turn(safe, credential_ref="r2", version=2), Done)
    assert safe.passwords == {"1": "secret deux"}
    assert [set(change.fields) for change in safe.changes] == [{"name", "mark"}, {"mark"}]


def test_without_the_password_the_rest_is_written_and_the_student_waits(safe: Safe) -> None:
    safe.drawer.kept.clear()
    assert turn(safe, credential_ref="r1") == Waiting("credential_needed")
    assert safe.there["1"].fields == {"name": ("Léa Martin",)}
    assert turn(safe, credential_ref="r1") == Waiting("credential_needed")
    assert len(safe.changes) == 1
    preview = safe.handler().preview([account(credential_ref="r1")])["1"]
    assert preview == Preview((), "credential_needed")


def test_a_password_that_no_key_opens_is_a_dead_letter_and_the_rest_is_written(safe: Safe) -> None:
    safe.drawer.broken = True
    assert expect(Dead, turn(safe, credential_ref="r1")).cause == "seal_broken"
    assert safe.there["1"].fields == {"name": ("Léa Martin",)}
    assert safe.handler().preview([account(credential_ref="r1")])["1"].obstacle == "seal_broken"


def test_a_mark_that_was_not_read_back_keeps_the_password(safe: Safe) -> None:
    safe.forgets_mark = True
    assert expect(Retry, turn(safe, credential_ref="r1")).cause == "read_back_differs"
    assert safe.drawer.kept["r1"] == "secret un"


def test_a_refused_password_is_kept_and_its_cause_is_told(safe: Safe) -> None:
    safe.refuses = True
    assert expect(Dead, turn(safe, credential_ref="r1")).cause == "too_weak"
    assert "r1" in safe.drawer.kept


def test_who_may_not_use_the_account_is_given_no_password(safe: Safe) -> None:
    turn(safe, credential_ref="r1")
    assert isinstance(turn(safe, credential_ref="r2", version=2, **HELD), Done)
    assert safe.passwords == {"1": "secret un"}
    assert safe.there["1"].open is False
    assert safe.drawer.kept == {"r2": "secret deux"}
    assert isinstance(turn(safe, credential_ref="r2", version=3), Done)
    assert safe.passwords == {"1": "secret deux"}


def test_an_account_without_a_password_needs_none(safe: Safe) -> None:
    assert isinstance(turn(safe), Done)
    assert safe.drawer.opened == []


def test_a_password_stands_in_no_text_of_a_change(safe: Safe) -> None:
    turn(safe, credential_ref="r1")
    assert safe.changes[0].password == "secret un"
    assert "secret" not in repr(safe.changes)


AN_HOUR = 3600.0


@pytest.mark.parametrize(
    ("said_then", "said_now", "replaced"),
    [
        (100.0, 100.0, False),
        (100.0, 100.5, True),
        (100.0, 99.0, True),  # a server that went back in time
        (100.0, 0.0, True),  # it was deleted
        (100.0, None, False),  # it tells no more
        (None, None, False),
        (None, 0.0, True),
        (None, OUR_CLOCK, False),
        (None, OUR_CLOCK + 299.0, False),  # the clocks may differ by so much
        (None, OUR_CLOCK + AN_HOUR, True),
    ],
)
def test_a_password_that_was_set_at_another_time_than_we_set_it_is_somebody_else_s(
    safe: Safe, said_then: float | None, said_now: float | None, *, replaced: bool
) -> None:
    safe.sets_at = said_then
    assert isinstance(turn(safe, credential_ref="r1"), Done)
    safe.there["1"] = replace(safe.there["1"], password_at=said_now)
    changes = len(safe.changes)
    said = turn(safe, credential_ref="r1", version=2)
    assert said == Waiting("password_replaced") if replaced else isinstance(said, Done)
    preview = safe.handler().preview([account(credential_ref="r1")])["1"]
    assert preview == Preview((), "password_replaced" if replaced else "")
    assert len(safe.changes) == changes, "nothing is written"


def test_a_replaced_password_is_never_written_over_by_one_that_is_left(safe: Safe) -> None:
    safe.sets_at = 100.0
    turn(safe, credential_ref="r1")
    safe.there["1"] = replace(safe.there["1"], password_at=200.0)
    safe.drawer.kept["r1"] = "left over"
    safe.drawer.opened.clear()
    assert turn(safe, credential_ref="r1") == Waiting("password_replaced")
    assert safe.drawer.opened == []


def test_another_password_of_the_student_s_ends_it(safe: Safe) -> None:
    safe.sets_at = 100.0
    turn(safe, credential_ref="r1")
    safe.there["1"] = replace(safe.there["1"], password_at=200.0)
    safe.sets_at = 300.0
    assert isinstance(turn(safe, credential_ref="r2", version=2), Done)
    assert safe.passwords == {"1": "secret deux"}
    assert isinstance(turn(safe, credential_ref="r2", version=2), Done)


# --- the last one, where the site keeps it ------------------------------------------------------------


def remade(safe: Safe, **changes: Any) -> HandlerOutcome:
    """A turn after the object was deleted by a hand."""
    safe.sets_at = 100.0
    assert isinstance(turn(safe, credential_ref="r1"), Done)
    safe.drawer.last["r1"] = "secret un"
    safe.passwords.clear()
    del safe.there["1"]
    return turn(safe, **{"credential_ref": "r1", "version": 2, **changes})


def test_what_is_gone_is_made_again_with_its_last_password(safe: Safe) -> None:
    assert isinstance(remade(safe), Done)
    assert safe.passwords == {"1": "secret un"}


def test_without_a_kept_password_what_is_gone_waits_for_another(safe: Safe) -> None:
    turn(safe, credential_ref="r1")
    safe.there.clear()
    assert turn(safe, credential_ref="r1") == Waiting("credential_needed")


def test_a_preview_of_what_is_gone_opens_nothing(safe: Safe) -> None:
    turn(safe, credential_ref="r1")
    safe.there.clear()
    safe.drawer.last["r1"] = "secret un"
    safe.drawer.given["r1"] = HandedOver(None, OUR_CLOCK, kept=True)
    preview = safe.handler().preview([account(credential_ref="r1")])["1"]
    assert preview == Preview(("object", "name", "mark"), "")
    assert safe.drawer.unkept == []


def test_a_kept_password_is_never_written_where_another_one_is(safe: Safe) -> None:
    turn(safe, credential_ref="r1")
    safe.drawer.last["r1"] = "secret un"
    safe.there["1"] = replace(safe.there["1"], fields={**safe.there["1"].fields, "mark": ("other",)})
    safe.passwords.clear()
    assert turn(safe, credential_ref="r1") == Waiting("credential_needed")
    assert safe.passwords == {}


def test_a_replaced_password_and_stolen_ones_destroy_what_is_kept(safe: Safe) -> None:
    safe.sets_at = 100.0
    turn(safe, credential_ref="r1")
    safe.drawer.last["r1"] = "secret un"
    turn(safe, credential_ref="r1", holds=frozenset({Hold.SUSPENDED}), version=2)
    assert safe.drawer.last == {"r1": "secret un"}, "a hold of another kind tells of no theft"
    turn(safe, credential_ref="r1", holds=frozenset({Hold.STOLEN_PASSWORDS}), version=3)
    assert safe.drawer.last == {}
    safe.drawer.last["r1"] = "secret un"
    safe.there["1"] = replace(safe.there["1"], password_at=200.0)
    turn(safe, credential_ref="r1", version=4)
    assert safe.drawer.last == {}
