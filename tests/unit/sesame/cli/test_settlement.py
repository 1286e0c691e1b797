"""`sesame identities settle`: what is shown before, what is decided, what is left to one by one."""

from __future__ import annotations

import json
import os
import pwd
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from consumers.registry.doubt_rules import RULES
from pipeline import audit
from pipeline.audit import operator_notes
from pipeline.eventlog.port import LogUnavailable
from pipeline.eventlog.sqlite import SqliteEventLog
from producers.identities import DecisionRequest
from producers.identities import decide as say
from schemas import catalogue
from schemas.account import Hold
from schemas.envelope import from_record
from schemas.events import HoldPlaced, IdentityDecided, IdentityDecision
from sesame.acts.acts import Actor, Role
from sesame.app.wiring import Application, build
from sesame.cli.errors import ExitCode
from sesame.operations.identities import settlement
from sesame.operations.identities.settlement import LeftCause, SettleAgreedRequest, SettleRequest
from sesame.settings import load
from sesame.testing.servers.command import sesame
from sesame.testing.servers.registry_kit import RegistryHarness, activation, enrolled

ME = pwd.getpwuid(os.getuid()).pw_name
RULE = "same-ine-and-birth"
SETTLE = ("--rule", RULE)
BORN = date(2005, 1, 2)


def settle(*words: str, answer: str | None = None) -> Result:
    return sesame("identities", "settle", *words, answer=answer)


def published(folder: Path) -> list[IdentityDecided]:
    log = SqliteEventLog(folder / "data" / "events.db")
    with closing(log), closing(log.consumer("test", (catalogue.ACTIVATIONS,), member="test")) as consumer:
        records = consumer.poll(100, 1.0)
    found = [from_record(record.key, record.headers, record.value) for record in records]
    found.sort(key=lambda message: message.time)  # each partition is read by itself
    events = [message.event for message in found]
    return [event for event in events if isinstance(event, IdentityDecided)]


def pairs(folder: Path) -> list[tuple[str, str | None]]:
    return [(event.student_number, event.other) for event in published(folder)]


def audited(desk: RegistryHarness, action: str) -> list[tuple[str, dict[str, str]]]:
    with desk.database.read() as connection:
        found = audit.entries(connection, action=action, limit=100)
    return [(entry.actor, dict(entry.detail)) for entry in reversed(found)]


def ine(n: int) -> str:
    return f"{n:010d}A"


def twice(desk: RegistryHarness, n: int, **second: Any) -> tuple[str, str]:
    """A person of their own, known under two numbers: the one in doubt, the one with the account."""
    first, again = f"2600{n:02d}01", f"2600{n:02d}02"
    person: dict[str, Any] = {
        "birth_name": f"Nom{'abcdefghij'[n]}",
        "given_name": "Maëlle",
        "birth_date": BORN + timedelta(days=40 * n),
        "ine": ine(n),
    }
    desk.apply(enrolled(first, 1, **person))
    desk.apply(enrolled(again, 1, **{**person, "step": "M1DROIT", "component": "DRT", **second}))
    desk.clock.now += 1
    return again, first


def test_both_sides_are_shown_and_counted_before_anything_is_asked(
    desk: RegistryHarness, tmp_path: Path
) -> None:
    one, two = twice(desk, 1), twice(desk, 2)
    twice(desk, 3, ine=None)
    result = settle(*SETTLE, answer="n\n")
    assert result.exit_code == ExitCode.INTERRUPTED
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    shown = [next(word for word in line.split() if word.startswith("2600")) for line in lines[1:]]
    assert shown == [*one, *two]
    assert [line.split()[0] for line in lines[1:]] == ["ends", "goes", "ends", "goes"]
    ends, goes_on = lines[1], lines[2]
    for word in ("Nomb", "Maëlle", "2005-02-11", ine(1)):
        assert word in ends
        assert word in goes_on
    assert "M1DROIT" in ends
    assert "maelle.nomb (precreated)" in goes_on
    assert "2 doubts to merge, 1 that the rule does not fit" in result.stderr
    assert "Merge 2 pairs of numbers, each into one person? [y/N]: " in result.stderr
    assert published(tmp_path) == []


def test_who_was_shown_stands_in_the_audit(desk: RegistryHarness) -> None:
    ends, goes_on = twice(desk, 1)
    twice(desk, 2)
    settle(*SETTLE, "--limit", "1", "--dry-run")
    assert audited(desk, "identity.show") == [(ME, {"student_number": ends, "other": goes_on, "rule": RULE})]


def test_each_decision_is_one_of_its_own_under_the_real_user_with_the_rule_for_a_reason(
    desk: RegistryHarness, tmp_path: Path
) -> None:
    one, two = twice(desk, 1), twice(desk, 2)
    result = settle(*SETTLE, "--yes")
    assert result.exit_code == 0, result.output
    events = published(tmp_path)
    assert [(event.student_number, event.other) for event in events] == [one, two]
    assert {(event.decision, event.rule) for event in events} == {(IdentityDecision.MERGE, RULE)}
    entries = audited(desk, "identity.merge")
    assert [actor for actor, _ in entries] == [ME, ME]
    assert [(each["student_number"], each["other"], each["rule"]) for _, each in entries] == [
        (*one, RULE),
        (*two, RULE),
    ]
    assert [each["reason_ref"] for _, each in entries] == [event.reason_ref for event in events]
    with desk.database.read() as connection:
        [remark] = operator_notes.of_student(connection, one[0])
    assert remark.words.startswith(f"{RULE}: ")
    assert result.stdout.splitlines() == [
        f"decided: {ends} and {goes_on} are one person, who goes on as {goes_on}"
        for ends, goes_on in (one, two)
    ]
    assert "2 doubts were decided" in result.stderr


def test_done_again_it_finds_nothing_to_do(desk: RegistryHarness, tmp_path: Path) -> None:
    twice(desk, 1)
    settle(*SETTLE, "--yes")
    for event in published(tmp_path):
        desk.apply(event)
    before = audited(desk, "identity.merge")
    result = settle(*SETTLE, "--yes")
    assert result.exit_code == 0
    assert "0 doubts to merge" in result.stderr
    assert len(published(tmp_path)) == 1
    assert audited(desk, "identity.merge") == before


def test_said_twice_before_the_registry_reads_it_means_the_same(
    desk: RegistryHarness, tmp_path: Path
) -> None:
    ends, goes_on = twice(desk, 1)
    settle(*SETTLE, "--yes")
    settle(*SETTLE, "--yes")
    first, *rest = published(tmp_path)
    desk.apply(first)
    account = desk.account(goes_on)
    for event in rest:
        desk.apply(event)
    assert desk.account(goes_on) == account
    assert desk.person(ends).merged_into == goes_on


def test_no_more_than_the_limit_are_shown_and_settled_the_oldest_first(
    desk: RegistryHarness, tmp_path: Path
) -> None:
    oldest = twice(desk, 3)
    twice(desk, 1)
    twice(desk, 2)
    result = settle(*SETTLE, "--limit", "1", answer="y\n")
    assert result.exit_code == 0, result.output
    assert "1 doubt to merge, 2 more beyond --limit" in result.stderr
    assert pairs(tmp_path) == [oldest]


def test_a_rule_that_there_is_not_is_told_with_those_that_there_are(desk: RegistryHarness) -> None:
    result = settle("--rule", "same-shoe-size", "--yes")
    assert result.exit_code == ExitCode.USAGE
    assert all(name in result.stderr for name in RULES)


def test_two_people_are_told_apart_by_rule(desk: RegistryHarness, tmp_path: Path) -> None:
    again, first = twice(desk, 1, ine=ine(9))
    result = settle("--rule", "different-ine", answer="y\n")
    assert "provisional" in result.stderr
    assert f"decided: {again} and {first} are two people" in result.stdout
    [event] = published(tmp_path)
    assert (event.decision, event.rule) == (IdentityDecision.SEPARATE, "different-ine")
    desk.apply(event)
    assert desk.account(again).login == "maelle.nomb2"


# --- what stays for one by one --------------------------------------------------------------------------


def left(desk: RegistryHarness, *words: str) -> dict[tuple[str, str], str]:
    report = json.loads(settle(*SETTLE, *words, "--json", "--dry-run").stdout)
    return {(each["student_number"], each["other"]): each["cause"] for each in report["left"]}


def in_use(desk: RegistryHarness, n: int, *, first_in_use: bool = True) -> tuple[str, str]:
    """Two accounts of one person: the match shows only after both were made."""
    again, first = twice(desk, n, ine=ine(50 + n), birth_name=f"Autre{n}")
    for number in (first, again) if first_in_use else (again,):
        desk.clock.now += 10
        desk.apply(activation(number))
    person = {"birth_name": f"Nom{'abcdefghij'[n]}", "given_name": "Maëlle", "ine": ine(n)}
    desk.apply(
        enrolled(
            again,
            2,
            **{**person, "birth_date": BORN + timedelta(days=40 * n), "step": "M1DROIT", "component": "DRT"},
        )
    )
    return again, first


def test_two_accounts_in_use_are_left_unless_it_is_said_which_goes_on(
    desk: RegistryHarness, tmp_path: Path
) -> None:
    later, earlier = in_use(desk, 1)
    assert left(desk) == {(later, earlier): "two_accounts"}
    assert settle(*SETTLE, "--yes").exit_code == 0
    assert published(tmp_path) == []
    settle(*SETTLE, "--keep", "earlier", "--yes")
    settle(*SETTLE, "--keep", "later", "--yes")
    assert pairs(tmp_path) == [(later, earlier), (earlier, later)]


def test_of_two_accounts_the_one_that_somebody_uses_goes_on(desk: RegistryHarness, tmp_path: Path) -> None:
    used, idle = in_use(desk, 1, first_in_use=False)
    settle(*SETTLE, "--yes")
    assert pairs(tmp_path) == [(idle, used)]


@pytest.mark.parametrize("words", [(), ("--keep", "earlier")])
def test_two_accounts_that_nobody_uses_are_left(desk: RegistryHarness, words: tuple[str, ...]) -> None:
    again, first = twice(desk, 1, ine=ine(51), birth_name="Autre")
    desk.apply(
        enrolled(
            again,
            2,
            birth_name="Nomb",
            given_name="Maëlle",
            birth_date=BORN + timedelta(days=40),
            ine=ine(1),
            step="M1DROIT",
        )
    )
    assert left(desk, *words) == {(again, first): "two_accounts"}


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("hold", [Hold.SUSPENDED, Hold.ADMINISTRATIVE, Hold.STOLEN_PASSWORDS])
def test_who_is_shut_out_is_left(desk: RegistryHarness, side: int, hold: Hold) -> None:
    pair = twice(desk, 1)
    desk.apply(HoldPlaced(student_number=pair[side], hold=hold))
    assert left(desk) == {pair: "access_shut"}


def test_three_numbers_of_one_person_are_left(desk: RegistryHarness) -> None:
    again, first = twice(desk, 1)
    third = "26000103"
    desk.apply(
        enrolled(
            third, 9, birth_name="Nomb", given_name="Maëlle", birth_date=BORN + timedelta(days=40), ine=ine(1)
        )
    )
    assert left(desk) == {
        (again, first): "several_doubts",
        (third, first): "several_doubts",
        (third, again): "several_doubts",
    }


def test_who_may_have_changed_hands_as_well_is_left(desk: RegistryHarness) -> None:
    again, first = twice(desk, 1)
    desk.apply(
        enrolled(first, 7, birth_name="Benali", given_name="Karim", birth_date=date(2001, 5, 6), ine=ine(77))
    )
    assert left(desk) == {(again, first): "several_doubts"}


# --- between the preview and the decision ---------------------------------------------------------------


@contextmanager
def site() -> Iterator[Application]:
    with closing(build(load(None))) as app:
        yield app


ACTOR = Actor("camille", frozenset(Role))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda desk, one: desk.apply(enrolled(one[0], 5, step="L3BIO", **_person(1))), id="step"
        ),
        pytest.param(lambda desk, one: desk.apply(activation(one[1])), id="activated"),
        pytest.param(
            lambda desk, one: desk.apply(
                IdentityDecided(student_number=one[0], other=one[1], decision=IdentityDecision.SEPARATE)
            ),
            id="decided",
        ),
        pytest.param(
            lambda desk, one: desk.apply(
                enrolled(one[0], 5, **{**_person(1), "ine": ine(8), "birth_date": date(2001, 1, 1)})
            ),
            id="withdrawn",
        ),
        pytest.param(
            lambda desk, one: desk.apply(HoldPlaced(student_number=one[0], hold=Hold.SUSPENDED)), id="shut"
        ),
    ],
)
def test_a_doubt_that_changed_after_it_was_shown_is_left_out_and_told(
    desk: RegistryHarness, tmp_path: Path, change: Callable[[RegistryHarness, tuple[str, str]], object]
) -> None:
    one, two = twice(desk, 1), twice(desk, 2)
    request = SettleRequest(rule=RULE)
    with site() as app:
        shown = settlement.preview(app, ACTOR, request)
        assert len(shown.settled) == 2
        change(desk, one)
        agreed = SettleAgreedRequest(settlement=request, shown=shown)
        done = settlement.settle(app, ACTOR, agreed, clock=lambda: datetime.now(UTC))
    assert [(each.student_number, each.other) for each in done.settled] == [two]
    assert [(each.student_number, each.other, each.cause) for each in done.left] == [
        (*one, LeftCause.CHANGED)
    ]
    assert pairs(tmp_path) == [two]


def _person(n: int) -> dict[str, Any]:
    return {
        "birth_name": f"Nom{'abcdefghij'[n]}",
        "given_name": "Maëlle",
        "birth_date": BORN + timedelta(days=40 * n),
        "ine": ine(n),
    }


def test_what_changed_meanwhile_ends_the_command_with_partly_done(
    desk: RegistryHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = twice(desk, 1), twice(desk, 2)

    def said(request: DecisionRequest, **more: Any) -> None:
        say(request, **more)
        if request.student_number == one[0]:
            desk.apply(HoldPlaced(student_number=two[1], hold=Hold.SUSPENDED))

    monkeypatch.setattr(settlement, "decide", said)
    result = settle(*SETTLE, "--yes")
    assert result.exit_code == ExitCode.PARTLY
    assert f"left out: {two[0]} and {two[1]}: changed since it was shown" in result.stderr
    assert pairs(tmp_path) == [one]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_it_after_the_decision_under_way_and_it_goes_on_later(
    desk: RegistryHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    three = [twice(desk, n) for n in (1, 2, 3)]

    def said(request: DecisionRequest, **more: Any) -> None:
        if request.student_number == three[1][0]:
            signal.raise_signal(number)
        say(request, **more)

    before = signal.getsignal(number)
    with monkeypatch.context() as patched:
        patched.setattr(settlement, "decide", said)
        result = settle(*SETTLE, "--yes")
    assert result.exit_code == ExitCode.INTERRUPTED
    assert "Ended early: 2 of 3 were decided" in result.stderr
    assert pairs(tmp_path) == three[:2]
    assert signal.getsignal(number) == before
    for event in published(tmp_path):
        desk.apply(event)
    assert settle(*SETTLE, "--yes").exit_code == 0
    assert pairs(tmp_path) == three


def test_a_log_that_is_away_ends_it_and_says_how_far_it_came(
    desk: RegistryHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = twice(desk, 1), twice(desk, 2)

    def said(request: DecisionRequest, **more: Any) -> None:
        if request.student_number == two[0]:
            raise LogUnavailable("away")
        say(request, **more)

    monkeypatch.setattr(settlement, "decide", said)
    result = settle(*SETTLE, "--yes")
    assert result.exit_code == ExitCode.DEPENDENCY_DOWN
    assert "Ended early: 1 of 2 were decided" in result.stderr
    assert pairs(tmp_path) == [one]


def test_who_is_no_registrar_may_not_settle(desk: RegistryHarness) -> None:
    with site() as app, pytest.raises(Exception, match="may not do"):
        settlement.preview(app, Actor("nobody", frozenset({Role.SUPPORT})), SettleRequest(rule=RULE))
