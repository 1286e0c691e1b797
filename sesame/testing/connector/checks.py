"""A connector's duties: one check each, named so. A check raises AssertionError or Skipped."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from consumers.kit.connector import AdoptedRef, Anything, Held, TargetObject
from consumers.kit.deadline import Deadline
from pipeline.errors import Misconfigured, SesameError, TargetDown, Throttled, WriteForbidden
from pipeline.target import Closed, Dead, Done, Handler, HandlerOutcome, Retry, Task, Waiting
from schemas.account import Account, Person, Stage
from schemas.language import LANGUAGES
from sesame.operations.people.diagnosis.reasons import explanations
from sesame.testing.connector.bench import READ_S_MAX, ConnectorBench, Skipped, renamed, shut
from sesame.testing.connector.faults import RETRY_AFTER_S, Fault, FaultProxy, impostor

Check = Callable[[ConnectorBench], None]

CHECKS: Final[dict[str, Check]] = {}
"""Every check by its name, in the order in which they build on one another."""

_QUICK: Final[dict[str, Any]] = {"connect_timeout_s": 5.0, "timeout_s": 5.0}
_FIFTY: Final = 50
_MANY: Final = 60
_NAMES: Final = (
    "L'Éçoï",
    "Dupont (Martin)*",
    "a\\b",
    "Müller & Söhne; #1, +x=y",
    "Αλέξης",
    "李",
    "Żółć-İnan",
)
_MEMORY_BYTES_MAX: Final = 4_000_000


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


# --- writing, and reading back ---


@check
def the_probe_succeeds(bench: ConnectorBench) -> None:
    """The whole path works before anything is tried."""
    with bench.handler() as (_, handler):
        handler.probe()


@check
def a_new_student_is_there_when_it_is_said(bench: ConnectorBench) -> None:
    """An announced student is visible to a reader on another connection."""
    bench.needs("apply")
    account = bench.account()
    with bench.handler() as (connector, handler):
        outcome = _handle(handler, account)
        assert isinstance(outcome, Done), outcome
        assert outcome.changed, "something was written, and `changed` is false"
        wanted = connector.wanted(account).fields
    found = _only(bench.seen(account))
    assert found.student_number == account.student_number
    assert {name: found.fields.get(name) for name in wanted} == dict(wanted)
    assert found.open in (True, None), "access is shut"


@check
def the_second_run_plans_nothing_and_writes_nothing(bench: ConnectorBench) -> None:
    """Idempotent: the second run finds nothing to do, and the same digest."""
    account = bench.account()
    with bench.handler() as (connector, handler):
        first = _handle(handler, account)
        preview = handler.preview([account])[account.student_number]
        assert not preview.differs, f"the second run would write {', '.join(preview.differs)}"
        with _writes(connector) as written:
            second = _handle(handler, account)
        assert not written, f"the second run wrote by {', '.join(written)}"
        if isinstance(first, Done) or isinstance(second, Done):
            assert isinstance(first, Done), first
            assert isinstance(second, Done), second
            assert not second.changed, "nothing was written, and `changed` is true"
            assert first.digest == second.digest, "the same state has two digests"


@check
def only_what_differs_is_written(bench: ConnectorBench) -> None:
    """A new name is written, and nothing else; the object stays the same one."""
    bench.needs("apply")
    with _known(bench) as (account, connector, handler):
        before = _only(bench.seen(account))
        later = renamed(account)
        old, new = connector.wanted(account).fields, connector.wanted(later).fields
        differing = {name for name in new if new[name] != old.get(name)}
        if not differing:
            raise Skipped("the connector owns no name")
        asked: list[Any] = []
        connector.apply = _recording(connector.apply, asked)
        _done(_handle(handler, later))
        assert [set(change.fields) for change in asked] == [differing]
    after = _only(bench.seen(later))
    assert after.ref == before.ref, "a new object was made for a known student"
    assert {name: after.fields.get(name) for name in new} == dict(new)


@check
def nothing_is_announced_that_was_not_read_back(bench: ConnectorBench) -> None:
    """A write that neither does anything nor fails is not announced."""
    bench.needs("apply")
    account = bench.account()
    with bench.handler() as (connector, handler):
        connector.apply = lambda _changes, _deadline: {}
        outcome = _handle(handler, account)
    assert not isinstance(outcome, Done | Waiting), f"{outcome} was said of a student who is not there"


@check
def a_wrong_address_fails_the_probe(bench: ConnectorBench) -> None:
    """An answer from the wrong service fails the probe."""
    _http(bench)
    with bench.handler(f"{_server(bench)}/no-such-place", **_QUICK) as (_, handler):
        error = _raises(handler.probe)
    assert isinstance(error, Misconfigured | TargetDown), error


# --- access ---


@check
def access_is_shut_first_and_alone(bench: ConnectorBench) -> None:
    """Shutting comes before anything else is written, and is read back."""
    bench.needs("apply", "close")
    with _known(bench) as (account, connector, handler):
        _knows_shut_access(bench, account)
        with _writes(connector) as written:
            outcome = _handle(handler, shut(renamed(account)))
        assert written[:1] == ["close"], f"written in the order {written}"
        assert isinstance(outcome, Done), outcome
    found = _only(bench.seen(account))
    assert found.open is False, "access is still open"


@check
def a_shut_that_did_not_happen_is_not_announced(bench: ConnectorBench) -> None:
    """The connector reports access shut, and it is not."""
    bench.needs("apply", "close")
    with _known(bench) as (account, connector, handler):
        _knows_shut_access(bench, account)
        connector.close = lambda _changes, _deadline: {}
        connector.apply = lambda _changes, _deadline: {}
        outcome = _handle(handler, shut(account))
    assert not isinstance(outcome, Done | Closed | Waiting), f"{outcome} was said of access that is open"


@check
def shut_access_opens_again(bench: ConnectorBench) -> None:
    """A lifted hold gives everything back."""
    bench.needs("apply", "close")
    with _known(bench) as (account, _, handler):
        _done(_handle(handler, shut(account)))
        again = account.model_copy(update={"version": account.version + 2})
        _done(_handle(handler, again))
    assert _only(bench.seen(account)).open in (True, None), "access stayed shut"


@check
def closing_only_shuts_and_does_nothing_else(bench: ConnectorBench) -> None:
    """While the leader is behind, shut access and write no field but the closing's."""
    bench.needs("apply", "close")
    with _known(bench) as (account, connector, handler):
        before = _only(bench.seen(account))
        later = shut(renamed(account))
        outcome = handler.handle([Task(later, close_only=True)])[account.student_number]
        assert isinstance(outcome, Closed), outcome
        open_, closed = connector.wanted(account).fields, connector.wanted(shut(account)).fields
    says = {name: values for name, values in closed.items() if values != open_.get(name)}
    after = _only(bench.seen(account))
    written = {name for name, values in after.fields.items() if values != before.fields.get(name)}
    wrong = {name for name in written if after.fields[name] != says.get(name)}
    assert not wrong, f"written while access was to be shut only: {', '.join(sorted(wrong))}"
    assert before.fields.keys() <= after.fields.keys(), "a field is gone while access was to be shut only"
    assert after.open in (False, None), "access is still open"


@check
def nobody_without_access_gets_an_object(bench: ConnectorBench) -> None:
    """A student without access gets no object in the target."""
    account = shut(bench.account())
    with bench.handler() as (_, handler):
        outcome = _handle(handler, account)
        assert isinstance(outcome, Done), outcome
    assert not bench.seen(account), "an object was made for somebody without access"


# --- each student on their own ---


@check
def only_who_was_asked_for_is_answered(bench: ConnectorBench) -> None:
    """One outcome for each student, and none for others."""
    accounts = [bench.account() for _ in range(3)]
    with bench.handler() as (_, handler):
        outcomes = handler.handle([Task(account) for account in accounts])
    assert set(outcomes) == {account.student_number for account in accounts}


@check
def one_refused_student_is_found_among_fifty(bench: ConnectorBench) -> None:
    """The others are done, and the refused one is identified."""
    bench.needs("apply")
    if bench.refuse is None:
        raise Skipped("the bench makes nobody whom the target refuses (`refuse`)", "refuse")
    accounts = [bench.account() for _ in range(_FIFTY)]
    accounts[17] = bench.refuse(accounts[17])
    with bench.handler() as (_, handler):
        outcomes: dict[str, HandlerOutcome] = {}
        for page in _pages(accounts, handler.batch_size):
            outcomes |= handler.handle([Task(account) for account in page])
    bad = {number for number, outcome in outcomes.items() if not isinstance(outcome, Done)}
    assert bad == {accounts[17].student_number}, f"not done: {sorted(map(str, (outcomes[n] for n in bad)))}"
    refused = outcomes[accounts[17].student_number]
    assert isinstance(refused, Dead | Retry), refused


@check
def foreign_objects_are_never_taken_over(bench: ConnectorBench) -> None:
    """An object with the login and none of our numbers is foreign: it stays as it is."""
    bench.needs("apply")
    account = bench.account()
    _put_stranger(bench, account)
    with bench.handler() as (connector, handler):
        before = _others(bench, connector, account)
        preview = handler.preview([account])[account.student_number]
        outcome = _handle(handler, account)
        after = _others(bench, connector, account)
    assert before, "the stranger is not seen"
    assert preview.obstacle, "the stranger is not foreseen"
    assert isinstance(outcome, Dead | Waiting), f"{outcome} was said though somebody else holds the login"
    assert before == after, "a stranger's object was changed"


@check
def a_foreign_object_in_other_letters_stays_as_it_is(bench: ConnectorBench) -> None:
    """An object with the login in capitals is foreign, too. Some targets tell them apart."""
    bench.needs("apply", "objects")
    account = bench.account()
    names = {name: getattr(account, name).upper() for name in ("login", "mail", "principal")}
    _put_stranger(bench, account.model_copy(update=names))
    with bench.handler() as (connector, handler):
        before = _alike(connector, account)
        _handle(handler, account)
        assert _alike(connector, account) == before, "a stranger's object was changed"
    assert before, "the stranger is not listed"


@check
def a_number_in_other_letters_is_another_students(bench: ConnectorBench) -> None:
    """A student is not found by a number that differs by case alone."""
    bench.needs("apply")
    with _known(bench) as (account, _, handler):
        number = account.student_number.upper()
        names = {name: f"x{getattr(account, name)}" for name in ("login", "mail", "principal")}
        other = account.model_copy(update={"student_number": number, **names})
        assert not bench.seen(other), "it is found by another student's number"
        preview = handler.preview([other])[number]
        assert preview.differs or preview.obstacle, "nothing would be written for who is not there"
    _only(bench.seen(account))


@check
def names_of_any_letters_are_written_as_they_are(bench: ConnectorBench) -> None:
    """Names stay as they are where a filter, an address or a path knows a letter, too."""
    bench.needs("apply")
    accounts = [
        bench.account(person=Person(birth_name=name, given_name=given))
        for name in _NAMES
        for given in ("Zoé", name)
    ]
    with bench.handler() as (connector, handler):
        for page in _pages(accounts, handler.batch_size):
            for outcome in handler.handle([Task(account) for account in page]).values():
                _done(outcome)
            for preview in handler.preview(page).values():
                assert not preview.differs, f"the second run would write {', '.join(preview.differs)}"
        wanted = {each.student_number: dict(connector.wanted(each).fields) for each in accounts}
    for each in accounts:
        found = _only(bench.seen(each)).fields
        assert {name: found.get(name) for name in wanted[each.student_number]} == wanted[each.student_number]


@check
def read_only_never_writes(bench: ConnectorBench) -> None:
    """A target in observation is compared, and no attempt to write reaches it."""
    bench.needs("apply")
    account = bench.account()
    with bench.connected(read_only=True) as connector:
        handler = connector.handler()
        preview = handler.preview([account])[account.student_number]
        assert preview.differs or preview.obstacle, "nothing would be written for a student who is not there"
        try:
            outcome = _handle(handler, account)
        except WriteForbidden:
            outcome = None
        assert not isinstance(outcome, Done), "a target that is only observed has a new student"
    assert not bench.seen(account), "a write left though the target is only observed"


# --- everybody ---


@check
def objects_shows_everybody_once(bench: ConnectorBench) -> None:
    """Every account made is listed once, in memory independent of their number."""
    bench.needs("apply", "objects")
    accounts = [bench.account() for _ in range(_MANY)]
    with bench.handler() as (connector, handler):
        for page in _pages(accounts, handler.batch_size):
            for outcome in handler.handle([Task(account) for account in page]).values():
                _done(outcome)
        shown = connector.objects()
        assert isinstance(shown, Iterator), "objects() is no iterator: it holds everybody at once"
        tracemalloc.start()
        try:
            whose: list[str] = [_whose(bench.connector, each) for each in shown]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < _MEMORY_BYTES_MAX + 200 * len(whose), f"{len(whose)} objects took {peak} bytes"
    for account in accounts:
        by_mail = bench.connector.known_by == "mail"
        times = whose.count(account.mail if by_mail else account.student_number)
        assert times == 1, f"shown {times} times"


@check
def what_others_change_is_told_since_a_mark(bench: ConnectorBench) -> None:
    """A foreign object, made after the mark, is among the changes since then."""
    bench.needs("changes_since")
    account = bench.account()
    with bench.connected() as connector:
        begun = connector.changes_since("")
        if begun is None:
            raise Skipped("this server reports no changes", "changes_since")
        assert not list(begun.objects), "changes are told without a mark"
        _put_stranger(bench, account)
        told = connector.changes_since(begun.mark)
        names = {name.lower() for each in told.objects for _, name in each.names}
        assert account.login.lower() in names or told.gone, "a foreign object is not told"
        assert told.mark != begun.mark, "the mark stays"


@check
def an_adopted_object_is_the_students(bench: ConnectorBench) -> None:
    """An object from before, without a number, is written, shut and erased as the student's."""
    bench.needs("apply", "objects")
    account, other = bench.account(), bench.account()
    _put_stranger(bench, account)
    with bench.handler() as (connector, handler):
        _done(_handle(handler, other))
        [found] = _alike(connector, account)
        bench.adopted[account.student_number] = AdoptedRef(found.ref, found.student_number)
        try:
            _done(_handle(handler, account))
            assert _only(bench.seen(account)).ref == found.ref, "another object was made"
            _done(_handle(handler, shut(account)))
            assert not _only(bench.seen(account)).open, "its access is open"
            if "erase" in connector.verbs():
                refused = connector.erase(bench.seen(account), Deadline.after(READ_S_MAX))
                assert not refused, refused
                assert not bench.seen(account), "it is still found"
            _only(bench.seen(other))
        finally:
            del bench.adopted[account.student_number]


@check
def erased_means_not_found(bench: ConnectorBench) -> None:
    """Nothing is found of an erased student, and no other is gone."""
    bench.needs("apply", "erase")
    account, other = bench.account(), bench.account()
    with bench.handler() as (connector, handler):
        _done(_handle(handler, account))
        _done(_handle(handler, other))
        refused = connector.erase(bench.seen(account), Deadline.after(READ_S_MAX))
        assert not refused, refused
    if bench.leader is not None:  # a follower of the leader finds those that it has
        bench.leader([account.model_copy(update={"stage": Stage.ERASED})])
    assert not bench.seen(account), "it is still found"
    _only(bench.seen(other))


@check
def an_empty_call_touches_no_student(bench: ConnectorBench) -> None:
    """A call for no student never means all. Nothing is read, written, shut or erased."""
    with _known(bench) as (account, connector, _):
        before = bench.seen(account)
        for verb in ("read", "apply", "close", "erase"):
            if verb in connector.verbs():
                answered = getattr(connector, verb)([], Deadline.after(READ_S_MAX))
                assert not answered, f"{verb} of no student answered {answered}"
    assert bench.seen(account) == before


# --- words ---


@check
def it_describes_what_it_owns(bench: ConnectorBench) -> None:
    """The documentation names every field that is written."""
    account = bench.account()
    with bench.connected() as connector:
        described = connector.describe()
        wanted = set(connector.wanted(account).fields)
    if "apply" in bench.connector.verbs():
        assert wanted <= set(described.owns), f"not described: {sorted(wanted - set(described.owns))}"
    assert described.system, "the system has no name"


@check
def every_reason_has_words(bench: ConnectorBench) -> None:
    """Every reason shown to an operator or a student is explained in each language."""
    known = {**explanations(), **bench.connector.reasons}
    for token in sorted(_tokens(bench.connector)):
        assert token in known, f"{token!r} has no words: add it to `reasons`"
    for token, reason in bench.connector.reasons.items():
        for language in LANGUAGES:
            words = reason.words.get(language)
            assert words is not None, f"{token!r} has no words in {language}"
            assert words.what.strip(), f"{token!r} does not say what it means in {language}"
            assert words.next.strip(), f"{token!r} does not say what happens next in {language}"


# --- faults of the network and of the server ---


@check
def a_target_that_is_away_charges_nobody(bench: ConnectorBench) -> None:
    """A closed port is the target's failure: it charges no attempt and writes nothing."""
    with FaultProxy(_server(bench)) as proxy:
        address = proxy.address
    with bench.handler(address, **_QUICK) as (_, handler):
        for verb in (lambda: _handle(handler, bench.account()), handler.probe):
            error = _raises(verb)
            assert isinstance(error, TargetDown), error
            assert not error.unknown, "nothing was sent, and the outcome is said to be unknown"


@check
def a_reset_after_the_write_is_compared_before_it_is_written_again(bench: ConnectorBench) -> None:
    """The target carried it out; the answer was lost."""
    _lost_answer(bench, Fault.RESET)


@check
def a_time_out_after_the_write_is_compared_before_it_is_written_again(bench: ConnectorBench) -> None:
    """The target carried it out; the answer never came."""
    _lost_answer(bench, Fault.HANG)


@check
def half_an_answer_is_compared_before_it_is_written_again(bench: ConnectorBench) -> None:
    """The target carried it out; the answer breaks off."""
    _lost_answer(bench, Fault.HALF)


@check
def throttling_is_honoured(bench: ConnectorBench) -> None:
    """The consumer gets the target's retry time, and no attempt is charged."""
    bench.needs("apply")
    _http(bench)
    with FaultProxy(_server(bench)) as proxy, bench.handler(proxy.address, **_QUICK) as (connector, handler):
        proxy.watch(connector)
        account = bench.account()
        proxy.armed = Fault.THROTTLE
        error = _raises(lambda: _handle(handler, account))
        assert isinstance(error, Throttled), error
        assert error.retry_after_s == RETRY_AFTER_S, f"{error.retry_after_s} s instead of {RETRY_AFTER_S}"
        assert proxy.struck == 1, f"called {proxy.struck} times though the target asked for fewer calls"
        proxy.armed = None
        _done(_handle(handler, account))


@check
def a_lying_success_is_not_announced(bench: ConnectorBench) -> None:
    """A false answer of success is not announced."""
    bench.needs("apply")
    _http(bench)
    with FaultProxy(_server(bench)) as proxy, bench.handler(proxy.address, **_QUICK) as (connector, handler):
        proxy.watch(connector)
        _done(_handle(handler, bench.account()))  # how a true answer looks
        account = bench.account()
        proxy.armed = Fault.LIE
        outcome: object
        try:
            outcome = _handle(handler, account)
        except SesameError as error:
            outcome = error
        assert proxy.struck, "no write was tried"
        assert not isinstance(outcome, Done | Waiting), f"{outcome} was said of a student who is not there"
        proxy.armed = None
        _done(_handle(handler, account))


@check
def certificates_are_verified(bench: ConnectorBench) -> None:
    """An unverified certificate ends the connection: it carries no token and no name."""
    _server(bench)
    with tempfile.TemporaryDirectory() as folder, impostor(Path(folder)) as (address, told):
        values = {name: _secured(value) for name, value in bench.settings(address).items()}
        with bench.handler(address, **{**values, **_QUICK}) as (_, handler):
            error = _raises(handler.probe)
        assert not told, "something was said to a server that nobody vouches for"
        assert isinstance(error, Misconfigured), f"{error!r} says nothing of the certificate"


@check
def a_call_ends_within_its_time(bench: ConnectorBench) -> None:
    """A target that accepts calls and never answers holds none beyond `call_s_max`."""
    _server(bench)
    with FaultProxy(_server(bench)) as proxy:
        values = {**_QUICK, "call_s_max": 2.0}
        with bench.handler(proxy.address, **values) as (connector, handler):
            proxy.watch(connector)
            if "apply" not in bench.connector.verbs():
                raise Skipped("the connector has no apply", "apply")
            proxy.armed = Fault.HANG
            began = time.monotonic()
            outcome: object = None
            with suppress(SesameError):
                outcome = _handle(handler, bench.account())
            assert time.monotonic() - began < handler.call_s_max + 1, "the call went on beyond its time"
            assert not isinstance(outcome, Done | Waiting), f"{outcome} was said though no answer came"


# --- what the checks share ---


def _handle(handler: Handler, account: Account) -> HandlerOutcome:
    return handler.handle([Task(account)])[account.student_number]


@contextmanager
def _known(bench: ConnectorBench) -> Iterator[tuple[Account, Any, Handler]]:
    """A student that the target has, the connector, and its handler."""
    account = bench.account()
    with bench.handler() as (connector, handler):
        _done(_handle(handler, account))
        yield account, connector, handler


def _done(outcome: HandlerOutcome) -> None:
    assert isinstance(outcome, Done), outcome


def _others(bench: ConnectorBench, connector: Anything, account: Account) -> list[TargetObject]:
    """Objects without a number that hold this account's names.

    As `read` shows them, or as `objects` does if `read` reports them in the way.
    """
    seen = connector.read([account], Deadline.after(READ_S_MAX))[account.student_number]
    if isinstance(seen, Held):
        bench.needs("objects")
        names = {("login", account.login), ("mail", account.mail)}
        seen = [each for each in connector.objects() if names.intersection(each.names)]
    return [each for each in seen if not each.student_number] if isinstance(seen, Sequence) else []


def _put_stranger(bench: ConnectorBench, account: Account) -> None:
    if bench.stranger is None:
        raise Skipped("the bench puts no stranger into the target (`stranger`)", "stranger")
    bench.stranger(account)


def _alike(connector: Anything, account: Account) -> list[TargetObject]:
    """Objects without a number that hold this account's names in whatever letters."""
    names = {account.login, account.mail}
    listed = [each for each in connector.objects() if not each.student_number]
    return [each for each in listed if names.intersection(value.casefold() for _, value in each.names)]


def _only(found: Sequence[TargetObject]) -> TargetObject:
    assert len(found) == 1, f"{len(found)} objects carry the number"
    return found[0]


def _knows_shut_access(bench: ConnectorBench, account: Account) -> None:
    if _only(bench.seen(account)).open is None:
        raise Skipped("the target knows no shut access")


def _raises(call: Callable[[], object]) -> SesameError:
    try:
        said = call()
    except SesameError as error:
        return error
    raise AssertionError(f"{said} was said instead of an error of the target's")


@contextmanager
def _writes(connector: Anything) -> Iterator[list[str]]:
    called: list[str] = []
    verbs: Mapping[str, Callable[..., Any]] = {verb: getattr(connector, verb) for verb in ("apply", "close")}
    for name, verb in verbs.items():
        setattr(connector, name, _noting(name, verb, called))
    try:
        yield called
    finally:
        for name, verb in verbs.items():
            setattr(connector, name, verb)


def _noting(name: str, verb: Callable[..., Any], called: list[str]) -> Callable[..., Any]:
    def noted(*args: Any) -> Any:
        called.append(name)
        return verb(*args)

    return noted


def _recording(verb: Callable[..., Any], asked: list[Any]) -> Callable[..., Any]:
    def recorded(changes: Sequence[Any], deadline: Deadline) -> Any:
        asked.extend(changes)
        return verb(changes, deadline)

    return recorded


def _whose(connector: type[Anything], found: TargetObject) -> str:
    """The number or mail that identifies a listed object's owner."""
    if connector.known_by == "number":
        return found.student_number
    return next((value for kind, value in found.names if kind == "mail"), "")


def _pages(accounts: Sequence[Account], size: int) -> Iterator[Sequence[Account]]:
    for start in range(0, len(accounts), size):
        yield accounts[start : start + size]


def _server(bench: ConnectorBench) -> str:
    if not bench.address:
        raise Skipped(bench.no_faults, "address")
    return bench.address


def _http(bench: ConnectorBench) -> None:
    if bench.protocol != "http":
        raise Skipped("the target does not speak HTTP without TLS")


def _secured(value: object) -> object:
    return (
        value.replace("http://", "https://").replace("ldap://", "ldaps://")
        if isinstance(value, str)
        else value
    )


def _lost_answer(bench: ConnectorBench, fault: Fault) -> None:
    bench.needs("apply")
    with FaultProxy(_server(bench)) as proxy, bench.handler(proxy.address, **_QUICK) as (connector, handler):
        proxy.watch(connector)
        account = bench.account()
        proxy.armed = fault
        error: object
        try:
            error = _handle(handler, account)
        except SesameError as raised:
            error = raised
        assert proxy.struck, "no write was tried"
        unknown = getattr(error, "unknown", False)
        assert not isinstance(error, Done | Waiting), f"{error} was said though no answer came"
        assert unknown, f"{error!r}: the write may have been carried out, and is not said to be unknown"
        proxy.armed = None
        again = handler.handle([Task(account, compare=True)])[account.student_number]
        _done(again)
    _only(bench.seen(account))


def _tokens(connector: type[Anything]) -> set[str]:
    """The tokens that the connector's modules give a Held, a Refused or a reason."""
    package = connector.__module__.rpartition(".")[0]
    modules = [connector.__module__]
    if package and package not in ("consumers", ""):
        modules += [name for name in list(sys.modules) if name.startswith(package + ".")]
    found: set[str] = set()
    for name in modules:
        module = sys.modules.get(name)
        try:
            tree = ast.parse(inspect.getsource(module)) if module is not None else None
        except (OSError, TypeError):
            continue
        found |= _named(tree, vars(module)) if tree is not None else set()
        found |= _prefixed(tree, package.rpartition(".")[2]) if tree is not None and package else set()
    return found


def _prefixed(tree: ast.AST, package: str) -> set[str]:
    """Texts that begin with the package's name, as tokens do: one may be passed by a variable."""
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {each for each in texts if isinstance(each, str) and re.fullmatch(f"{package}_[a-z_]+", each)}


def _named(tree: ast.AST, values: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        if node.func.id in ("Held", "Refused", "Waiting", "Retry", "Dead"):
            first = node.args[0]
            value = first.value if isinstance(first, ast.Constant) else None
            if isinstance(first, ast.Name):
                value = values.get(first.id)
            if isinstance(value, str) and value:
                found.add(value)
    return found
