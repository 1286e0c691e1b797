"""The kit's handler over a target in memory: whose an object is, what is shut, and what is said of whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from consumers.kit.connector import (
    AdoptedRef,
    BatchRefused,
    Change,
    Connector,
    ConnectorContext,
    Held,
    Refused,
    Secret,
    Seen,
    TargetObject,
    Wanted,
    one_by_one,
)
from consumers.kit.deadline import Deadline
from consumers.kit.settings import ClientSettings
from pipeline.errors import Misconfigured, TargetDown
from pipeline.target import Closed, Dead, Done, HandlerOutcome, Preview, Retry, Task, Waiting
from schemas.account import Account, Hold, Stage
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.narrowing import expect


class Shelf(Connector[ClientSettings]):
    """A target that is a dictionary."""

    section = ClientSettings
    title = {"fr": "Le rayon", "en": "The shelf"}  # noqa: RUF012
    owns = ("name",)

    def __init__(self, **values: Any) -> None:
        self.now = 0.0
        self.adopted: dict[str, str] = {}
        self.asked: list[list[str]] = []
        self.there: dict[str, TargetObject] = {}
        self.said: dict[str, Seen] = {}
        self.bad: set[str] = set()
        self.calls: list[tuple[str, list[str]]] = []
        self.works = True
        self.refused: dict[str, Held | Refused] = {}
        context = ConnectorContext(
            "shelf", ClientSettings(**values), no_secret, adopted=self.ask, monotonic=lambda: self.now
        )
        super().__init__(context)

    def ask(self, numbers: Sequence[str]) -> Mapping[str, str]:
        self.asked.append(list(numbers))
        return {number: ref for number, ref in self.adopted.items() if number in numbers}

    def put(
        self, ref: str, number: str = "", login: str = "", *, open_: bool | None = True, name: str = "x"
    ) -> None:
        self.there[ref] = TargetObject(ref, number, {"name": (name,)}, open_, (("login", login),))

    def wanted(self, account: Account) -> Wanted:
        return Wanted({"name": (account.person.display_name,)})

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        deadline.left_s()
        return {each.student_number: self.said.get(each.student_number, self.of(each)) for each in accounts}

    def of(self, account: Account) -> list[TargetObject]:
        number, login = account.student_number, account.login
        ref = self.adopted_refs([number]).get(number)
        return [
            each
            for each in self.there.values()
            if each.student_number == number or ("login", login) in each.names or each.ref == ref
        ]

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        deadline.left_s()
        self.calls.append(("apply", [each.account.student_number for each in changes]))
        if self.bad & {each.account.student_number for each in changes}:
            raise BatchRefused(Refused("shelf_refused", "no", lasting=True))
        for each in changes:
            if each.account.student_number in self.refused:
                continue
            before = each.found or TargetObject(
                f"new-{each.account.login}", each.account.student_number, {}, True
            )
            fields = {**before.fields, **each.fields}
            names = (("login", each.account.login),)
            open_ = before.open if each.open is None else each.open
            self.there[before.ref] = replace(before, fields=fields, open=open_, names=names)
        return self.refused

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        self.calls.append(("close", [each.account.student_number for each in changes]))
        for each in changes:
            assert each.found is not None
            self.there[each.found.ref] = replace(each.found, open=False)
        return {}

    def probe(self) -> None:
        self.calls.append(("probe", []))
        if not self.works:
            raise Misconfigured("the shelf refuses us")


def no_secret(_name: str) -> Secret:
    raise AssertionError


def account(number: str = "1", **changes: Any) -> Account:
    return account_of(number, f"login-{number}", **{"mail": f"{number}@etu.univ-exemple.fr", **changes})


HELD: dict[str, Any] = {"holds": frozenset({Hold.SUSPENDED})}


def handle(shelf: Shelf, *accounts: Account, close_only: bool = False) -> Mapping[str, HandlerOutcome]:
    return shelf.handler().handle([Task(each, close_only=close_only) for each in accounts])


def test_somebody_new_is_made_and_read_back() -> None:
    shelf = Shelf()
    assert expect(Done, handle(shelf, account())["1"]).changed
    assert shelf.there["new-login-1"].fields == {"name": ("Léa Martin",)}
    assert not handle(shelf, account())["1"].changed  # type: ignore[union-attr]


def test_an_object_of_somebody_else_is_a_collision_and_stays() -> None:
    shelf = Shelf()
    shelf.put("theirs", login="login-1")
    before = dict(shelf.there)
    assert expect(Dead, handle(shelf, account())["1"]).cause == "identity_collision"
    assert shelf.there == before


def test_what_was_adopted_is_asked_for_once_a_turn_and_again_outside_of_one() -> None:
    shelf = Shelf()
    shelf.put("before")
    shelf.adopted = {"1": "before"}
    assert isinstance(handle(shelf, account())["1"], Done)
    assert [verb for verb, _ in shelf.calls] == ["apply"], "it was read back"
    assert shelf.asked == [["1"]]
    shelf.handler().preview([account()])
    assert shelf.asked == [["1"]] * 2
    shelf.adopted = {}
    assert shelf.adopted_refs(["1"]) == {}
    assert shelf.asked == [["1"]] * 3
    with shelf.adopted_refs.once(["1"]) as known:
        assert known == shelf.adopted_refs(["1"]) == {}
        shelf.adopted_refs(["1", "2"])
    assert shelf.asked[3:] == [["1"], ["1", "2"]], "it knows of nobody else's"


def test_what_was_adopted_is_theirs_though_it_carries_no_number() -> None:
    shelf = Shelf()
    shelf.put("before", login="old")
    shelf.adopted = {"1": "before"}
    assert isinstance(handle(shelf, account())["1"], Done)
    assert shelf.there["before"].fields == {"name": ("Léa Martin",)}


@pytest.mark.parametrize(("number", "theirs"), [("HR 42", True), ("1", True), ("2", False)])
def test_what_was_adopted_is_not_taken_back_from_who_it_was_given_to(number: str, *, theirs: bool) -> None:
    shelf = Shelf()
    shelf.put("before", number, login="login-1")
    shelf.adopted = {"1": AdoptedRef("before", "HR 42")}
    assert isinstance(handle(shelf, account())["1"], Done) is theirs
    assert shelf.there["before"].fields["name"] == ("Léa Martin" if theirs else "x",)


def test_of_two_that_carry_the_number_neither_is_written_and_both_are_shut() -> None:
    shelf = Shelf()
    shelf.put("a", "1")
    shelf.put("b", "1")
    assert expect(Dead, handle(shelf, account())["1"]).cause == "student_number_ambiguous"
    assert {each.fields["name"] for each in shelf.there.values()} == {("x",)}
    expect(Dead, handle(shelf, account(**HELD))["1"])
    assert [each.open for each in shelf.there.values()] == [False, False]
    assert [verb for verb, _ in shelf.calls] == ["close"]


def test_access_is_shut_though_somebody_else_holds_the_login() -> None:
    shelf = Shelf()
    shelf.put("mine", "1")
    shelf.put("theirs", login="login-1")
    assert isinstance(handle(shelf, account(**HELD))["1"], Dead)
    assert shelf.there["mine"].open is False
    assert shelf.there["theirs"].open is True


def test_a_collision_is_told_of_somebody_without_access_too() -> None:
    shelf = Shelf()
    shelf.put("theirs", login="login-1")
    assert expect(Dead, handle(shelf, account(**HELD))["1"]).cause == "identity_collision"
    assert shelf.calls == []


def test_while_the_leader_is_behind_access_is_shut_and_nothing_else() -> None:
    shelf = Shelf()
    shelf.put("mine", "1", "login-1")
    outcomes = handle(shelf, account(**HELD), account("2", **HELD), close_only=True)
    assert outcomes == {"1": Closed(), "2": Closed()}
    assert shelf.there["mine"] == TargetObject("mine", "1", {"name": ("x",)}, False, (("login", "login-1"),))


class Sessions(Shelf):
    """A target where people stay logged in though another one says that they may not log in."""

    sessions = True

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        deadline.left_s()
        self.calls.append(("close", [each.account.student_number for each in changes]))
        assert {(each.found, each.open) for each in changes} == {(None, False)}
        return {n: each for n, each in self.refused.items() if isinstance(each, Refused)}

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        self.calls.append(("read", [each.student_number for each in accounts]))
        return super().read(accounts, deadline)


def test_sessions_are_ended_before_anything_is_read_whatever_is_there() -> None:
    shelf = Sessions()
    shelf.put("mine", "1", open_=None)
    outcomes = handle(shelf, account(**HELD), account("2", **HELD), account("3"))
    assert shelf.calls[:2] == [("close", ["1", "2"]), ("read", ["1", "2", "3"])]
    assert isinstance(outcomes["2"], Done)
    assert not outcomes["2"].changed
    assert isinstance(outcomes["3"], Done)


def test_where_sessions_are_to_be_ended_only_nothing_is_read() -> None:
    shelf = Sessions()
    shelf.refused = {"2": Refused("shelf_refused", "no")}
    outcomes = handle(shelf, account(**HELD), account("2", **HELD), close_only=True)
    assert outcomes == {"1": Closed(), "2": Retry("shelf_refused", "no")}
    assert shelf.calls == [("close", ["1", "2"]), ("probe", [])]


def test_one_refused_student_is_found_by_halves() -> None:
    shelf = Shelf()
    shelf.bad = {"5"}
    outcomes = handle(shelf, *(account(str(number)) for number in range(8)))
    assert [n for n, each in outcomes.items() if not isinstance(each, Done)] == ["5"]
    assert outcomes["5"] == Dead("shelf_refused", "no")
    assert shelf.calls.count(("apply", ["5"])) == 1
    assert len([1 for verb, _ in shelf.calls if verb == "apply"]) == 7
    assert [verb for verb, _ in shelf.calls].count("probe") == 1, "asked once whether it is the target's"


def test_if_the_target_refuses_everybody_nobody_is_charged() -> None:
    shelf = Shelf()
    shelf.works = False
    shelf.said = {"1": Refused("shelf_odd", "what?")}
    with pytest.raises(Misconfigured):
        handle(shelf, account(), account("2"))


@pytest.mark.parametrize("unknown", [True, False])
def test_a_target_that_goes_away_leaves_open_what_had_no_answer(*, unknown: bool) -> None:
    shelf = Shelf()
    shelf.works = False
    shelf.apply = lambda *_: {"1": Refused("shelf_odd", "what?", unknown=unknown)}  # type: ignore[method-assign]
    with pytest.raises(Misconfigured) as away:
        handle(shelf, account())
    assert away.value.unknown is unknown


def test_what_says_nothing_of_the_state_is_written_and_changes_no_digest() -> None:
    shelf = Shelf()

    def wanted(account: Account) -> Wanted:
        return Wanted({"name": ("x",), "version": (str(account.version),)}, undigested=("version",))

    shelf.wanted = wanted  # type: ignore[method-assign]
    first, second = handle(shelf, account())["1"], handle(shelf, account(version=2))["1"]
    assert isinstance(first, Done)
    assert second == first
    assert shelf.there["new-login-1"].fields["version"] == ("2",)
    shelf.wanted = lambda account: replace(wanted(account), undigested=())  # type: ignore[method-assign]
    assert expect(Done, handle(shelf, account(version=2))["1"]).digest != first.digest


def test_who_waits_waits_and_who_is_shut_is_no_matter_of_waiting() -> None:
    shelf = Shelf()
    shelf.said = {"1": Held("shelf_not_yet", ("a",), 60.0), "2": Held("shelf_not_yet")}
    outcomes = handle(shelf, account(), account("2", **HELD))
    assert outcomes["1"] == Waiting("shelf_not_yet", ("a",), 60.0)
    assert isinstance(outcomes["2"], Done)


def test_what_cannot_be_given_is_written_by_nobody_and_said_when_all_else_is_there() -> None:
    shelf = Shelf()
    shelf.put("mine", "1", "login-1", open_=False)
    shelf.there["mine"] = replace(shelf.there["mine"], held=Held("taken", ("a",), 60.0, fields=("name",)))
    assert shelf.handler().preview([account()])["1"] == Preview(("access",), "taken")
    for _ in range(2):
        assert handle(shelf, account())["1"] == Waiting("taken", ("a",), 60.0)
    assert [verb for verb, _ in shelf.calls] == ["apply"], "the access alone, once"
    assert shelf.there["mine"].fields == {"name": ("x",)}
    shelf.there["mine"] = replace(shelf.there["mine"], held=None, note="as it was")
    outcome = expect(Done, handle(shelf, account())["1"])
    assert (outcome.note, shelf.there["mine"].fields) == ("as it was", {"name": ("Léa Martin",)})


def test_nothing_is_in_the_way_of_somebody_who_may_use_nothing_and_has_nothing() -> None:
    shelf = Shelf()
    never = Wanted({}, Refused("never", "no", lasting=True))
    shelf.wanted = lambda account: never  # type: ignore[method-assign]  # noqa: ARG005
    previews = shelf.handler().preview([account(**HELD), account("2")])
    assert previews == {"1": Preview(), "2": Preview(("object",), "never")}
    assert isinstance(handle(shelf, account(**HELD))["1"], Done)


def test_what_can_never_be_given_is_a_dead_letter_when_all_else_is_there() -> None:
    shelf = Shelf()
    never = Refused("shelf_name_odd", "no", lasting=True)
    shelf.wanted = lambda account: Wanted({"name": (account.login,)}, never)  # type: ignore[method-assign]
    assert shelf.handler().preview([account()])["1"] == Preview(("object", "name"), "shelf_name_odd")
    assert handle(shelf, account())["1"] == Dead("shelf_name_odd", "no")
    assert shelf.there["new-login-1"].fields == {"name": ("login-1",)}


def test_a_student_of_whom_nothing_is_said_is_tried_again() -> None:
    shelf = Shelf()
    shelf.read = lambda *_: {}  # type: ignore[method-assign]
    assert expect(Retry, handle(shelf, account())["1"]).cause == "internal_error"


@pytest.mark.parametrize("unknown", [True, False])
def test_an_earlier_step_of_the_batch_leaves_open_what_had_no_answer(*, unknown: bool) -> None:
    earlier = {"1": Refused("shelf_odd", "what?", unknown=unknown)}
    after = {"2": Refused("shelf_name_odd", "no")}
    deadline = Deadline.after(60.0)
    assert one_by_one([account("2")], deadline, lambda _: after["2"], earlier) == {**earlier, **after}
    assert one_by_one([account("1")], deadline, lambda _: after["2"], earlier) == {"1": after["2"]}

    def away(_: Account) -> None:
        raise TargetDown("gone", unknown=False)

    with pytest.raises(TargetDown) as gone:
        one_by_one([account("2")], deadline, away, earlier)
    assert gone.value.unknown is unknown


def test_whom_the_time_does_not_reach_is_tried_again_and_the_others_are_done() -> None:
    shelf = Shelf(call_s_max=10.0)

    def look(each: Account) -> Seen:
        shelf.now += 6.0
        return shelf.of(each)

    for number in ("1", "2", "3"):
        shelf.put(number, number, f"login-{number}", name="Léa Martin")
    shelf.read = lambda accounts, deadline: one_by_one(accounts, deadline, look)  # type: ignore[method-assign]
    outcomes = handle(shelf, account("1"), account("2"), account("3"))
    assert [type(each) for each in outcomes.values()] == [Done, Done, Retry]
    assert expect(Retry, outcomes["3"]).cause == "target_slow"
    assert ("probe", []) not in shelf.calls, "slowness is no doubt"


class Slow(Shelf):
    """Begins everything at the last moment that is allowed, and takes all the time that a verb has."""

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        seen = super().read(accounts, deadline)
        self.now += self.settings.verb_s_max if self.calls else deadline.left_s() - 0.1
        return seen

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        refused = super().apply(changes, deadline)
        self.now += self.settings.verb_s_max
        return refused


def test_the_longest_call_is_as_told_though_all_is_begun_at_the_last_moment() -> None:
    shelf = Slow(call_s_max=10.0)
    handler = shelf.handler()
    assert isinstance(handler.handle([Task(account())])["1"], Done)
    assert handler.call_s_max - 0.2 < shelf.now <= handler.call_s_max


def test_nobody_is_charged_with_a_refusal_when_no_time_is_left_to_ask_whether_it_is_the_target() -> None:
    shelf = Shelf(call_s_max=10.0)

    def late(changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        shelf.now = 10.0 + shelf.settings.verb_s_max
        return {
            "1": Refused("shelf_refused", "no", lasting=True),
            "2": Refused("outcome_unknown", "cut off", unknown=True),
        }

    shelf.apply = late  # type: ignore[method-assign]
    outcomes = handle(shelf, account(), account("2"))
    said = {number: (type(each), each.cause, each.unknown) for number, each in outcomes.items()}  # type: ignore[union-attr]
    assert said == {"1": (Retry, "target_slow", False), "2": (Retry, "target_slow", True)}
    assert ("probe", []) not in shelf.calls


class Eraser(Shelf):
    """A shelf from which something can be taken."""

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Refused]:
        deadline.left_s()
        self.calls.append(("erase", [each.ref for each in found]))
        for each in found:
            if each.ref not in self.bad:
                del self.there[each.ref]
        return {ref: each for ref, each in self.refused.items() if isinstance(each, Refused)}


GONE: dict[str, Any] = {"stage": Stage.ERASED}


def test_who_is_erased_is_shut_then_erased_and_read_back_as_gone_and_nobody_else_is() -> None:
    shelf = Eraser()
    shelf.put("mine", "1", "login-1")
    shelf.put("another", "2", "login-2", name="Léa Martin")
    outcomes = handle(shelf, account(**GONE), account("2"))
    assert [verb for verb, _ in shelf.calls] == ["close", "erase"]
    assert (shelf.calls[1], list(shelf.there)) == (("erase", ["mine"]), ["another"])
    assert [(type(each), each.changed) for each in outcomes.values()] == [(Done, True), (Done, False)]  # type: ignore[union-attr]
    assert not expect(Done, handle(shelf, account(**GONE))["1"]).changed
    assert shelf.calls[-1] == ("erase", ["mine"]), "nothing was erased a second time"


def test_gone_is_said_of_nothing_that_is_still_there() -> None:
    shelf = Eraser()
    shelf.put("mine", "1", "login-1")
    shelf.bad = {"mine"}
    assert expect(Retry, handle(shelf, account(**GONE))["1"]).cause == "read_back_differs"


def test_a_refusal_to_erase_is_that_student_s_once_the_target_is_known_to_work() -> None:
    shelf = Eraser()
    shelf.put("mine", "1", "login-1")
    shelf.bad, shelf.refused = {"mine"}, {"mine": Refused("shelf_nailed", "no", lasting=True)}
    assert handle(shelf, account(**GONE))["1"] == Dead("shelf_nailed", "no")
    assert ("probe", []) in shelf.calls


def test_what_others_have_is_never_erased_and_of_two_objects_none() -> None:
    shelf = Eraser()
    shelf.put("theirs", "", "login-1")
    shelf.put("a", "2")
    shelf.put("b", "2")
    outcomes = handle(shelf, account(**GONE), account("2", **GONE))
    assert isinstance(outcomes["1"], Done)
    assert isinstance(outcomes["2"], Dead)
    assert outcomes["2"].cause == "student_number_ambiguous"
    assert list(shelf.there) == ["theirs", "a", "b"]
    assert "erase" not in [verb for verb, _ in shelf.calls]


def test_what_lost_the_number_of_who_was_there_is_not_said_to_be_erased() -> None:
    shelf = Eraser()
    for number in "12":
        shelf.put(f"marked by hand {number}", "", f"login-{number}")
    erased = account(**GONE), account("2", **GONE)
    outcomes = shelf.handler().handle([Task(erased[0], was_there=True), Task(erased[1])])
    assert expect(Dead, outcomes["1"]).cause == "identity_collision"
    assert not expect(Done, outcomes["2"]).changed, "what was never seen as the student's blocks it"
    assert (len(shelf.there), shelf.calls) == (2, [])
    shelf.put("marked by hand 1", "1", "login-1")  # its number is given back
    assert isinstance(shelf.handler().handle([Task(erased[0], was_there=True)])["1"], Done)
    assert list(shelf.there) == ["marked by hand 2"]


def test_who_was_there_is_erased_beside_another_s_object_of_the_same_name() -> None:
    shelf = Eraser()
    shelf.put("mine", "1", "login-1")
    shelf.put("another's", "", "login-1")
    outcomes = shelf.handler().handle([Task(account(**GONE), was_there=True)])
    assert isinstance(outcomes["1"], Done)
    assert list(shelf.there) == ["another's"]


def test_whose_target_cannot_erase_is_an_operator_s_until_it_is_gone() -> None:
    shelf = Shelf()
    shelf.put("mine", "1", "login-1")
    assert expect(Dead, handle(shelf, account(**GONE))["1"]).cause == "not_erasable"
    shelf.there.clear()
    assert isinstance(handle(shelf, account(**GONE))["1"], Done)


def test_only_shutting_somebody_who_is_erased_erases_nothing() -> None:
    shelf = Eraser()
    shelf.put("mine", "1", "login-1")
    assert handle(shelf, account(**GONE), close_only=True)["1"] == Closed()
    assert [verb for verb, _ in shelf.calls] == ["close"]


def test_a_preview_tells_what_would_be_written_and_what_stands_in_the_way() -> None:
    shelf = Shelf()
    shelf.put("mine", "1", "login-1", open_=False)
    shelf.put("theirs", login="login-2")
    shelf.put("a", "3")
    shelf.put("b", "3")
    shelf.put("last", "5")
    people = [*map(account, ("1", "2", "3", "4")), account("5", **GONE), account("6", **GONE)]
    assert shelf.handler().preview(people) == {
        "1": Preview(("name", "access")),
        "2": Preview(obstacle="identity_collision"),
        "3": Preview(obstacle="student_number_ambiguous"),
        "4": Preview(("object", "name")),
        "5": Preview(("erasure",)),
        "6": Preview(),
    }
    assert shelf.calls == []


def test_who_has_to_wait_for_what_only_writing_shows_waits_and_nobody_doubts_the_target() -> None:
    shelf = Shelf()
    taken = Held("taken", recheck_after_s=60.0)
    shelf.refused = {"1": taken}
    outcomes = handle(shelf, account(), account("2"))
    assert outcomes["1"] == Waiting("taken", (), 60.0)
    assert isinstance(outcomes["2"], Done)
    assert ("probe", []) not in shelf.calls


def test_a_preview_asks_what_writing_would_answer_of_those_alone_who_would_be_written() -> None:
    shelf = Shelf()
    shelf.put("mine", "1", name="Léa Martin")
    asked: list[str] = []

    def foresee(changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        asked.extend(each.account.student_number for each in changes)
        return {"2": Held("taken"), "3": Refused("shelf_refused", "no", lasting=True)}

    shelf.foresee = foresee  # type: ignore[method-assign]
    assert shelf.handler().preview([account(number) for number in ("1", "2", "3", "4")]) == {
        "1": Preview(),
        "2": Preview(("object", "name"), "taken"),
        "3": Preview(("object", "name"), "shelf_refused"),
        "4": Preview(("object", "name")),
    }
    assert asked == ["2", "3", "4"]


def test_what_is_remembered_is_forgotten_before_somebody_is_compared_or_looked_at() -> None:
    shelf = Shelf()
    forgotten: list[str] = []
    shelf.forget = lambda: forgotten.append("forget")  # type: ignore[method-assign]
    handle(shelf, account())
    assert forgotten == []
    shelf.handler().handle([Task(account()), Task(account("2"), compare=True)])
    shelf.handler().preview([account()])
    assert forgotten == ["forget", "forget"]
