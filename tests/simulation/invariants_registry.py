"""The invariants of accounts, in any order and number of deliveries of the facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from sqlalchemy import select

from consumers.registry.pending_facts import pending_facts
from pipeline.accounts import accounts as accounts_table
from schemas.account import Account, Lane
from schemas.events import AccountChanged
from tests.simulation import oracle
from tests.simulation.people import Expected
from tests.simulation.world import World


def every_fact_counts(world: World) -> Iterator[str]:
    """Each account follows from all acknowledged facts."""
    with world.site.database.read() as connection:
        rows = connection.execute(select(accounts_table.c.student_number, accounts_table.c.document)).all()
        kept = Counter(connection.execute(select(pending_facts.c.student_number)).scalars())
    accounts = {row.student_number: Account.model_validate_json(row.document) for row in rows}
    for expected in world.people.students:
        account = accounts.get(expected.number)
        if expected.enrolments:
            yield from _against(expected, account)
        elif account is not None or (expected.activated and not kept[expected.number]):
            yield f"{expected.number}: what is asked for before the enrolment is neither kept nor refused"


def _against(expected: Expected, account: Account | None) -> Iterator[str]:
    steps = expected.steps
    if account is None:
        if steps or expected.activated:
            yield f"{expected.number}: no account"
        return
    has: dict[str, tuple[object, object]] = {
        "activated": (account.activated_at is not None, expected.activated),
        "credential": (account.credential_ref, expected.credential),
        "holds": (set(account.holds), expected.holds),
        "language": (account.person.language, expected.language or "fr"),
        "name": (account.person.birth_name, expected.name[0]),
        "enrolments": (
            {each.step: (each.administrative, each.pedagogical) for each in account.enrolments},
            steps,
        ),
        "redirection": (account.mail_redirect, expected.redirect),
        "stage": (account.stage in _stages(expected), True),
        "end": (account.valid_until == oracle.YEAR_ENDS_ON, bool(oracle.in_force(steps))),
        "cohorts": ({each.key: each.met for each in account.cohorts}, oracle.cohorts(steps)),
        "groups": ({each.key: each.met for each in account.groups}, oracle.groups(steps)),
    }
    for what, (found, wanted) in has.items():
        if found != wanted:
            yield f"{expected.number} version {account.version}: {what} is {found}, and should be {wanted}"


def _stages(expected: Expected) -> tuple[str, ...]:
    """The allowed stages. Without an enrolment in force they depend on the reading order."""
    if oracle.in_force(expected.steps):
        return ("active",) if expected.activated else ("precreated",)
    return ("precreated", "grace") if expected.activated else ("precreated",)


def versions_only_grow(world: World) -> Iterator[str]:
    """Each version is minted once, in order, and because something has changed."""
    last: Counter[str] = Counter()
    for account, before, _ in world.versions():
        who = f"{account.student_number} version {account.version}"
        if account.version != last[account.student_number] + 1:
            yield f"{who} came after version {last[account.student_number]}"
        if before is not None and _wants(account) == _wants(before):
            yield f"{who} was minted though nothing has changed"
        last[account.student_number] = account.version


def _wants(account: Account) -> dict[str, object]:
    """The account's part for targets. The shipped comparison may be the fault."""
    return account.model_dump(exclude={"version", "lane", "opened_at"})


def every_version_is_announced(world: World) -> Iterator[str]:
    """Each version is announced under one id, and only minted ones are."""
    said: dict[tuple[str, int], set[str]] = {}
    for message, event in world.said():
        if isinstance(event, AccountChanged):
            said.setdefault((event.student_number, event.version), set()).add(message.id)
    minted = {(account.student_number, account.version) for account, _, _ in world.versions()}
    for who in sorted(minted | said.keys()):
        if who not in minted:
            yield f"{who} is announced, and was never minted"
        elif len(said.get(who, ())) != 1:
            yield f"{who} is announced under {len(said.get(who, ()))} ids"


def a_start_is_inherited(world: World) -> Iterator[str]:
    """The next version inherits start and priority of one under way.

    Under way: neither complete nor waiting. Otherwise it starts when its fact happened.
    """
    for account, before, (waiting, completed) in world.versions():
        if before is None or before.opened_at is None or account.activated_at is None:
            continue
        rests = (waiting or 0) >= before.version or (completed or 0) >= before.version
        who = f"{account.student_number} version {account.version}"
        if not rests and account.opened_at != before.opened_at:
            yield f"{who} starts at {account.opened_at}, the one under way at {before.opened_at}"
        if not rests and before.lane is Lane.PERSONAL and account.lane is not Lane.PERSONAL:
            yield f"{who} is bulk work, and a person waits for the version before"
        if rests and account.opened_at == before.opened_at:
            yield f"{who} starts when the one before did, which is at rest"


def no_name_is_given_twice(world: World) -> Iterator[str]:
    """A login or address is never another student's. No activated account gets another login."""
    held: dict[str, str] = {}
    for account, before, _ in world.versions():
        for name in (account.login, account.mail, *account.aliases):
            if held.setdefault(name, account.student_number) != account.student_number:
                yield f"{account.student_number} has a name of {held[name]}"
        seen = before is not None and before.activated_at is not None
        if before is not None and seen and before.login != account.login:
            yield f"{account.student_number} has another login since version {account.version}"


REGISTRY: dict[str, Callable[[World], Iterator[str]]] = {
    "every fact counts": every_fact_counts,
    "versions only grow": versions_only_grow,
    "every version is announced": every_version_is_announced,
    "a start is inherited": a_start_is_inherited,
    "no name is given twice": no_name_is_given_twice,
}
