"""The measures: each a function of a look that gives figures and exceptions.

Their rules, in words, and the articles that ask for them are in `frameworks.toml`, by the function's name.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from operator import ne
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select

from consumers.propagation.rows import propagation
from consumers.registry import teachings
from consumers.registry.account import current_enrolments, memberships
from consumers.registry.erasure.erasures import erasures
from consumers.registry.identity_doubts import identity_doubts
from consumers.registry.ledger import ledger
from consumers.registry.lifecycle.closings import held_closings
from consumers.registry.people import enrolments, people
from pipeline.accounts import COUNTED, accounts
from pipeline.attempts import attempts
from pipeline.audit import verification
from pipeline.audit.trail import audit
from pipeline.dead_letters.rows import dead_letters
from pipeline.target_states import target_states
from pipeline.vault import vault
from producers.activation.mail_proofs import mail_proofs
from schemas.account import STAFF_PREFIX, Enrolment, Lane, Stage, is_students
from sesame.acts.acts import utc
from sesame.login.api_tokens import api_tokens
from sesame.login.cas_sessions import cas_sessions
from sesame.operations.evidence import reviews
from sesame.operations.evidence.look import (
    DAY_S,
    OPEN,
    Deviation,
    Look,
    MeasureResult,
    ReadAccount,
    folded,
    percentiles,
    shared,
)

CLOSED_WITHIN_DAYS: Final = 7
"""Days until an account whose right has ended is shut everywhere (ReCyF 10.A.5's example)."""
HOLD_WITHIN_DAYS: Final = 1
"""The same for a hold, which is placed for a danger."""
CREATED_WITHIN_DAYS: Final = 1
"""Days until an activated account is everywhere, or waits for the registrar."""
FAILURE_DAYS: Final = 7
BACKUP_DAYS: Final = 7
TOKEN_DAYS: Final = 400
UNUSED_DAYS: Final = 90
ERASED_WITHIN_DAYS: Final = 30
"""A month to answer a request (GDPR, art. 12.3)."""
LOG_DAYS_MIN, LOG_DAYS_MAX, LOG_YEARS_MAX = 183, 1096, 3
"""CNIL, 2021-122: six months at least, three years at most for internal control."""
REMOVED_WITHIN_DAYS: Final = 7
"""What has expired is removed once a day; a week allows for a process that was stopped."""
SECRET_DAYS: Final = 30
LENGTH_MIN: Final = 12
"""CNIL, 2022-100: 80 bits with characters of four kinds."""

_OTHERS_MAX: Final = 5

MEASURES: Final[dict[str, Callable[[Look], MeasureResult]]] = {}
"""Every measure by its name."""


def _measure(function: Callable[[Look], MeasureResult]) -> Callable[[Look], MeasureResult]:
    MEASURES[function.__name__] = function
    return function


@_measure
def arrivals(look: Look) -> MeasureResult:
    """Activated accounts that are neither complete nor waiting."""
    p = propagation.c
    query = (
        select(p.student_number, p.lane, p.state, p.opened_at, p.elapsed_s)
        .join(accounts, accounts.c.student_number == p.student_number)
        .where(accounts.c.stage == Stage.ACTIVE.value, COUNTED)
    )
    rows = look.rows(query)
    late = look.now - CREATED_WITHIN_DAYS * DAY_S
    took = [row.elapsed_s for row in rows if row.lane == Lane.PERSONAL.value and row.elapsed_s is not None]
    known = look.accounts
    return MeasureResult(
        {"accounts": len(rows), **percentiles(took, "personal")},
        [
            Deviation(number=row.student_number, since=utc(row.opened_at), data={"state": row.state})
            for row in rows
            if row.state in ("in_progress", "failed")
            and row.opened_at < late
            and known[row.student_number].is_open  # a closing that is late is `closings`
        ],
    )


@_measure
def failures(look: Look) -> MeasureResult:
    """Unresolved dead letters."""
    d = dead_letters.c
    open_ones = select(d.student_number, d.consumer, d.cause, d.recorded_at).where(d.resolved_at.is_(None))
    rows = look.rows(open_ones)
    late = look.now - FAILURE_DAYS * DAY_S
    return MeasureResult(
        {"dead_letters": len(rows)},
        [
            Deviation(
                number=row.student_number,
                since=utc(row.recorded_at),
                data={"consumer": row.consumer, "cause": row.cause},
            )
            for row in rows
            if row.recorded_at < late
        ],
    )


@_measure
def departures(look: Look) -> MeasureResult:
    """Open accounts whose right has ended."""
    held = {row.student_number for row in look.rows(select(held_closings.c.student_number))}
    of_open = [each for each in look.accounts.values() if each.stage in OPEN]
    late = look.today - timedelta(days=CLOSED_WITHIN_DAYS)
    return MeasureResult(
        {"open_accounts": len(of_open)},
        [
            Deviation(
                number=each.number,
                since=_end_of(each),
                data={"stage": each.stage, "valid_until": str(each.valid_until)}
                | ({"held": "guard"} if each.number in held else {}),
            )
            for each in of_open
            if not each.held and each.valid_until is not None and each.valid_until < late
        ],
    )


@_measure
def closings(look: Look) -> MeasureResult:
    """Shut accounts that a target has not shut, and the delays of the others."""
    t, targets = target_states.c, look.settings.targets
    query = select(t.student_number, t.target, t.applied_version).where(
        t.target.in_(targets), t.applied_version > 0
    )
    seen: dict[str, dict[str, int]] = {}
    for row in look.rows(query):
        seen.setdefault(row.student_number, {})[row.target] = row.applied_version
    done_at = {
        row.student_number: row.completed_at
        for row in look.rows(
            select(propagation.c.student_number, propagation.c.completed_at).where(
                propagation.c.state == "completed", propagation.c.completed_at.is_not(None)
            )
        )
    }
    shut = [each for each in look.accounts.values() if not each.is_open and each.activated_at is not None]
    shut = [each for each in shut if each.stage in (*OPEN, Stage.EXPIRED.value)]
    took, found = [], []
    for each in shut:
        days = HOLD_WITHIN_DAYS if each.held else CLOSED_WITHIN_DAYS
        behind = [name for name, version in seen.get(each.number, {}).items() if version < each.version]
        if behind and each.changed_at < look.now - days * DAY_S:
            data = {"stage": each.stage, "held": str(each.held).lower(), "targets": " ".join(sorted(behind))}
            found.append(Deviation(number=each.number, since=utc(each.changed_at), data=data))
        ended = _end_of(each)
        if not behind and not each.held and not each.partly and ended is not None:
            done = done_at.get(each.number)
            took += [] if done is None else [max(0.0, done - ended.timestamp())]
    return MeasureResult({"shut_accounts": len(shut), **percentiles(took, "closing")}, found)


@_measure
def rights(look: Look) -> MeasureResult:
    """Groups and cohorts, and active accounts, that no enrolment explains."""
    registry, today = look.settings.registry, look.today
    e = enrolments.c
    of: dict[str, list[Enrolment]] = {}
    for row in look.rows(select(e.student_number, e.document).where(e.cancelled.is_(False))):
        one = Enrolment.model_validate_json(row.document)
        of.setdefault(look.person(row.student_number), []).append(one)
    numbers: dict[str, list[str]] = {}
    for row in look.rows(select(people.c.student_number)):
        numbers.setdefault(look.person(row.student_number), []).append(row.student_number)
    has_teachings = any(each.of_teachings for each in (*registry.groups, *registry.cohorts))
    found, given = [], 0
    for each in look.accounts.values():
        if not each.is_open:
            continue
        whose = look.person(each.number)
        current = current_enrolments(of.get(whose, ()), registry, today)
        taught = teachings.held(look.connection, *numbers.get(whose, ())) if has_teachings else ()
        allowed = {
            one.key
            for templates in (registry.groups, registry.cohorts)
            for one in memberships(templates, current, taught)
            if one.met
        }
        given += len(each.met)
        since = utc(each.changed_at)
        if each.stage == Stage.ACTIVE.value and not any(one.in_force for one in current):
            found.append(Deviation(number=each.number, since=since, data={"account": "no enrolment"}))
        elif extra := sorted(each.met - allowed):
            found.append(Deviation(number=each.number, since=since, data={"rights": " ".join(extra)}))
    look.read("teachings of each person; settings registry.groups, registry.cohorts")
    return MeasureResult({"rights": given}, found)


@_measure
def persons(look: Look) -> MeasureResult:
    """Persons with several open accounts, by their INE, or by names and birth date.

    A student who is staff or a guest too may have another birth date in the other feed: one part of it wrong.
    """
    separate = {
        frozenset((row.student_number, row.other_number))
        for row in look.rows(
            select(identity_doubts.c.student_number, identity_doubts.c.other_number).where(
                identity_doubts.c.state == "separate"
            )
        )
    }
    rows = [
        row
        for row in look.rows(select(people.c.student_number, people.c.ine, people.c.identity))
        if _is_open(look, row.student_number)
    ]
    known = {row.student_number: json.loads(row.identity) for row in rows}
    found = []
    by_ine = ((folded(row.ine), row.student_number) for row in rows if row.ine)
    by_birth = ((f"{_name(said)} {said['birth_date']}", number) for number, said in known.items())
    for evidence, named in (("ine", by_ine), ("names and birth date", by_birth)):
        for _, numbers in shared(named, look):
            for number in numbers:
                others = [each for each in numbers if each != number and {each, number} not in separate]
                found += [Deviation(number=number, data=_same(evidence, others))] if others else []
    for _, numbers in shared(((_name(said), number) for number, said in known.items()), look):
        for number in numbers:
            alike = [
                each
                for each in numbers
                if is_students(each) is not is_students(number)
                and {each, number} not in separate
                and _differ_in_one_part(known[each]["birth_date"], known[number]["birth_date"])
            ]
            data = _same("names, and nearly the birth date", alike)
            found += [Deviation(number=number, data=data)] if alike else []
    return MeasureResult({"persons": len(rows)}, found)


@_measure
def logins(look: Look) -> MeasureResult:
    """Logins and addresses that several persons hold or use."""
    holders = [each for each in look.accounts.values() if each.stage != Stage.ERASED.value]
    found = []
    for what, of in _NAMES:
        named = ((value, each.number) for each in holders for value in of(each))
        for value, numbers in shared(named, look):
            found += [Deviation(number=number, data={what: value}) for number in numbers]
    entry = ledger.c
    held = {
        folded(row.value): row.student_number
        for row in look.rows(select(entry.value, entry.student_number).where(entry.kind == "login"))
    }
    for each in holders:
        for login in each.logins & held.keys():
            other = held[login]
            if other is None or look.person(other) != look.person(each.number):
                found.append(
                    Deviation(number=each.number, data={"login": login, "ledger": other or "nobody"})
                )
    s = cas_sessions.c
    used = look.rows(select(s.login, s.student_number).where(s.student_number.is_not(None)).distinct())
    for value, numbers in shared(((folded(row.login), row.student_number) for row in used), look):
        found += [Deviation(number=number, data={"session": value}) for number in numbers]
    return MeasureResult({"accounts": len(holders)}, found)


@_measure
def recovery(look: Look) -> MeasureResult:
    """Personal addresses and mobiles that several persons have."""
    rows = [
        row
        for row in look.rows(select(people.c.student_number, people.c.personal_mail, people.c.mobile))
        if _is_open(look, row.student_number)
    ]
    found = []
    mails = ((folded(row.personal_mail), row.student_number) for row in rows if row.personal_mail)
    mobiles = ((folded(row.mobile), row.student_number) for row in rows if row.mobile)
    for what, named in (("personal_mail", mails), ("mobile", mobiles)):
        for _, numbers in shared(named, look):  # the value itself is personal, and left out
            found += [
                Deviation(number=number, data=_same(what, [each for each in numbers if each != number]))
                for number in numbers
            ]
    return MeasureResult({"persons": len(rows)}, found)


@_measure
def review_done(look: Look) -> MeasureResult:
    """The yearly review: opened, and each account decided in time."""
    found = reviews.newest(look)
    if found is None:
        return MeasureResult({"reviewed": 0}, [Deviation(data={"review": "none"})])
    figure = {
        "concerned": len(found.concerned),
        "reviewed": len(found.decided.keys() & found.concerned.keys()),
    }
    if found.opened.at < look.now - reviews.YEAR_DAYS * DAY_S:
        return MeasureResult(
            figure, [Deviation(since=utc(found.opened.at), data={"review": "over a year ago"})]
        )
    if look.today <= found.due_on:
        return MeasureResult(figure, [])
    since = datetime.combine(found.due_on + timedelta(days=1), time(), UTC)
    return MeasureResult(
        figure,
        [
            Deviation(number=each.number, since=since, data={"component": each.component, "decision": "none"})
            for each in found.undecided
        ],
    )


@_measure
def review_followed(look: Look) -> MeasureResult:
    """Accounts that a review wants to end, and that are open."""
    ends, known, late = reviews.ending(look), look.accounts, look.now - CLOSED_WITHIN_DAYS * DAY_S
    return MeasureResult(
        {"to_end": len(ends)},
        [
            Deviation(number=number, since=utc(each.at), data={"decided_by": each.actor})
            for number, each in sorted(ends.items())
            if each.at < late and number in known and _goes_on(known[number], each.at)
        ],
    )


def _goes_on(account: ReadAccount, decided_at: float) -> bool:
    """Whether an account is open as it was when its end was decided: it has not ended and come back."""
    came_back = (
        account.stage == Stage.ACTIVE.value and (account.stage_since or date.min) > utc(decided_at).date()
    )
    return account.is_open and not came_back


@_measure
def administrators(look: Look) -> MeasureResult:
    """Roles at the console that students' accounts hold, or that acted."""
    s = cas_sessions.c
    with_role = look.rows(
        select(s.student_number, func.min(s.opened_at).label("since"), func.max(s.roles).label("roles"))
        .where(s.student_number.is_not(None), s.roles.is_not(None))
        .where(~s.student_number.startswith(STAFF_PREFIX))
        .group_by(s.student_number)
    )
    found = [
        Deviation(number=row.student_number, since=utc(row.since), data={"roles": row.roles})
        for row in with_role
    ]
    actors = look.rows(
        select(audit.c.actor, func.min(audit.c.at).label("since"))
        .where(audit.c.at > look.now - reviews.YEAR_DAYS * DAY_S)
        .group_by(audit.c.actor)
    )
    owners = {login: each.number for each in look.accounts.values() for login in each.logins}
    for row in actors:
        number = owners.get(folded(row.actor.partition(" as ")[0]))
        if number is not None:
            found.append(Deviation(number=number, since=utc(row.since), data={"acted_as": row.actor}))
    return MeasureResult({"actors": len(actors)}, found)


@_measure
def programs(look: Look) -> MeasureResult:
    """Tokens of programs that live long, or are unused."""
    t = api_tokens.c
    rows = look.rows(
        select(t.id, t.name, t.created_at, t.expires_at, t.last_used_at).where(
            t.revoked_at.is_(None), t.expires_at > look.now
        )
    )
    unused = look.now - UNUSED_DAYS * DAY_S
    found = []
    for row in rows:
        days = round((row.expires_at - row.created_at) / DAY_S)
        if days > TOKEN_DAYS:
            data: dict[str, str | int | float] = {"token": row.id, "name": row.name, "days": days}
            found.append(Deviation(since=utc(row.created_at), data=data))
        if (row.last_used_at or row.created_at) < unused:
            found.append(
                Deviation(
                    since=utc(row.last_used_at or row.created_at),
                    data={"token": row.id, "name": row.name, "unused_days": UNUSED_DAYS},
                )
            )
    return MeasureResult({"tokens": len(rows)}, found)


@_measure
def secret_files(look: Look) -> MeasureResult:
    """Files of keys and of persons that others on the machine may read."""
    settings = look.settings
    files = [
        *(settings.vault_key_file, settings.privacy_key_file, settings.data_dir / "person-keys.db"),
        *([settings.store_file] if settings.store_file is not None else []),
        *([settings.log_path] if settings.log.kind == "sqlite" else []),
        *(sorted(settings.key_copies.iterdir()) if settings.key_copies.is_dir() else []),
    ]
    found, there = [], 0
    for path in files:
        look.read(f"mode of {path}")
        if not path.exists():
            continue
        there += 1
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            found.append(Deviation(data={"file": str(path), "mode": f"{mode:04o}"}))
    return MeasureResult({"files": there}, found)


@_measure
def backups(look: Look) -> MeasureResult:
    """Backups of the embedded store and log; a server's are its own tools'."""
    if look.settings.store_file is None:
        look.read("settings: the store is a PostgreSQL server's")
        return MeasureResult({"embedded": 0}, [])
    rows = look.rows(select(audit.c.at, audit.c.detail).where(audit.c.action == "backup"))
    made = [(row.at, json.loads(row.detail)) for row in rows]
    failed = {
        said["folder"] for _, said in made if "unusable" in said
    }  # noted when begun, and when it failed
    return _lately(look, [at for at, said in made if said["folder"] not in failed], BACKUP_DAYS, "backup", {})


@_measure
def rehearsals(look: Look) -> MeasureResult:
    """Restores that were rehearsed, with their reports in the audit."""
    acts = ("backup.verify", "restored.check")
    rows = look.rows(select(audit.c.at, audit.c.detail).where(audit.c.action.in_(acts)))
    reports = [(row.at, json.loads(row.detail)) for row in rows]
    took = [said["seconds"] for _, said in reports if "seconds" in said]
    figure = percentiles(took, "restore")
    found = _lately(
        look, [at for at, said in reports if "unusable" not in said], reviews.YEAR_DAYS, "rehearsal", figure
    )
    return found._replace(reports=[_rehearsal(at, said) for at, said in reports])


def _rehearsal(at: float, said: Mapping[str, Any]) -> dict[str, str | int | float]:
    """When, from what, how long, what was found."""
    given = {
        name: said[name] for name in ("folder", "made_at", "seconds", "accounts", "records") if name in said
    }
    counts = {
        name: n for name in ("erased", "read", "questions") if (n := _total(said.get(name))) is not None
    }
    return {"at": utc(at).isoformat(), **given, **counts, "result": str(said.get("unusable", "usable"))}


def _total(found: Any) -> int | None:
    """A number, or the sum of several."""
    return sum(found.values()) if isinstance(found, dict) else found


@_measure
def key_copies(look: Look) -> MeasureResult:
    """Copies of the keys that open backups, apart from the data."""
    if look.settings.store_file is None:
        look.read("settings: the store is a PostgreSQL server's")
        return MeasureResult({"embedded": 0}, [])
    folder, data_dir = look.settings.key_copies, look.settings.data_dir
    look.read(f"files of {folder}")
    copies = sorted(folder.glob("*")) if folder.is_dir() else []
    found = []
    if folder.resolve().is_relative_to(data_dir.resolve()):
        found.append(Deviation(data={"folder": str(folder), "with": str(data_dir)}))
    newest = max((path.stat().st_mtime for path in copies), default=None)
    if newest is None or newest < look.now - BACKUP_DAYS * DAY_S:
        since = None if newest is None else utc(newest)
        found.append(Deviation(since=since, data={"folder": str(folder), "newest_copy": "too old or none"}))
    return MeasureResult({"copies": len(copies)}, found)


@_measure
def logs_kept(look: Look) -> MeasureResult:
    """How long the audit is kept, in the store and in its archive."""
    days = look.settings.store.audit_days
    look.read(f"setting store.audit_days = {days}")
    found = []
    if not LOG_DAYS_MIN <= days <= LOG_DAYS_MAX:
        found.append(Deviation(data={"store.audit_days": days}))
    first = look.rows(select(func.min(audit.c.at).label("at")))[0].at
    if first is not None and first < look.now - (days + REMOVED_WITHIN_DAYS) * DAY_S:
        found.append(Deviation(since=utc(first), data={"audit": "an entry in the store"}))
    folder = look.settings.data_dir / "audit"
    look.read(f"files of {folder}")
    archived = sorted(folder.glob("audit-*.jsonl")) if folder.is_dir() else []
    oldest = look.today.year - LOG_YEARS_MAX
    found += [Deviation(data={"archive": path.name}) for path in archived if _year_of(path) < oldest]
    return MeasureResult({"days": days, "archived_years": len(archived)}, found)


@_measure
def logs_whole(look: Look) -> MeasureResult:
    """Breaks in the audit's chain of hashes."""
    seen = verification.verify(look.site.database)
    look.read("audit: the chain of hashes, from the first entry to the last")
    broken = [Deviation(data={"entry": each.entry_id, "kind": each.kind}) for each in seen.breaks]
    return MeasureResult({"entries": seen.entries}, broken)


@_measure
def retention(look: Look) -> MeasureResult:
    """Rows that have expired, or were settled long ago, and are still there."""
    over = look.now - REMOVED_WITHIN_DAYS * DAY_S
    history = over - look.settings.store.history_days * DAY_S
    found = []
    for column, before in (
        (cas_sessions.c.expires_at, over),
        (mail_proofs.c.expires_at, over),
        (api_tokens.c.expires_at, over),
        (dead_letters.c.resolved_at, history),
        (attempts.c.at, history),
    ):
        count, since = look.rows(select(func.count(), func.min(column)).where(column < before))[0]
        if count:
            found.append(Deviation(since=utc(since), data={"table": column.table.name, "rows": count}))
    look.read(f"setting store.history_days = {look.settings.store.history_days}")
    return MeasureResult({"tables": 5}, found)


@_measure
def erased_in_time(look: Look) -> MeasureResult:
    """Erasures that were asked for and are not done."""
    e = erasures.c
    rows = look.rows(select(e.pseudonym, e.asked_at, e.ended_at))
    took = [row.ended_at - row.asked_at for row in rows if row.ended_at is not None]
    late = look.now - ERASED_WITHIN_DAYS * DAY_S
    return MeasureResult(
        {"asked": len(rows), **percentiles(took, "erasure")},
        [
            Deviation(number=row.pseudonym, since=utc(row.asked_at), data={"erasure": "not done"})
            for row in rows
            if row.ended_at is None and row.asked_at < late
        ],
    )


@_measure
def password_rule(look: Look) -> MeasureResult:
    """The least length of a password of four kinds."""
    length = look.settings.password.length_min
    look.read(f"setting password.length_min = {length}")
    short = [Deviation(data={"password.length_min": length})] if length < LENGTH_MIN else []
    return MeasureResult({"length_min": length}, short)


@_measure
def passwords_sealed(look: Look) -> MeasureResult:
    """Passwords that are kept after their time, or that no target has taken."""
    v = vault.c
    rows = look.rows(
        select(v.student_number, v.created_at, v.expires_at).where(
            v.sealed.is_not(None), v.consumed_at.is_(None)
        )
    )
    late, over = look.now - SECRET_DAYS * DAY_S, look.now - HOLD_WITHIN_DAYS * DAY_S
    found = []
    for row in rows:
        if row.expires_at is not None and row.expires_at < over:
            found.append(
                Deviation(number=row.student_number, since=utc(row.expires_at), data={"password": "expired"})
            )
        elif row.created_at < late and _is_open(look, row.student_number):
            found.append(
                Deviation(
                    number=row.student_number, since=utc(row.created_at), data={"password": "not taken"}
                )
            )
    return MeasureResult({"sealed": len(rows)}, found)


_NAMES: Final[tuple[tuple[str, Callable[[ReadAccount], Iterable[str]]], ...]] = (
    ("login", lambda each: each.logins),
    ("mail", lambda each: each.mails),
    ("principal", lambda each: (each.principal,)),
)


def _lately(
    look: Look, times: Sequence[float], days: int, what: str, figure: Mapping[str, int | float]
) -> MeasureResult:
    """One exception unless one of these times is within the last days."""
    newest = max(times, default=None)
    since = None if newest is None else utc(newest)
    if newest is not None and newest >= look.now - days * DAY_S:
        return MeasureResult({f"{what}s": len(times), **figure}, [])
    missing = Deviation(since=since, data={what: f"none for {days} days"})
    return MeasureResult({f"{what}s": len(times), **figure}, [missing])


def _same(what: str, others: Sequence[str]) -> dict[str, str | int | float]:
    """What several persons have in common: with how many, and the first of them."""
    return {what: "the same", "others": len(others), "first": " ".join(others[:_OTHERS_MAX])}


def _is_open(look: Look, number: str) -> bool:
    holder = look.accounts.get(number)
    return holder is not None and holder.is_open


def _end_of(each: ReadAccount) -> datetime | None:
    """The moment when an account's right ended: the end of its last day, UTC."""
    if each.valid_until is None:
        return None
    return datetime.combine(each.valid_until + timedelta(days=1), time(), UTC)


def _name(identity: Mapping[str, Any]) -> str:
    return folded(" ".join((identity.get("given_name", ""), identity.get("birth_name", ""))))


def _differ_in_one_part(one: str, other: str) -> bool:
    """Whether day, month or year of two dates (ISO 8601) differs alone, or day and month change places."""
    mine, (year, month, day) = one.split("-"), other.split("-")
    return sum(map(ne, mine, (year, month, day))) == 1 or mine == [year, day, month] != [year, month, day]


def _year_of(path: Path) -> int:
    year = path.stem.removeprefix("audit-")
    return int(year) if year.isascii() and year.isdecimal() else 9999
