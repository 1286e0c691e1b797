"""Carry out erasures step by step; each step can be interrupted and repeated.

First the registry has every target erase, last the one by which others are found. Once all are gone and no
work for the person is under way, the store forgets, in one transaction. Then log, archive and backups' keys
forget, and what came in meanwhile; the files are rewritten, and the receipt is signed.

**An enrolment that the registry has not read is never erased.** Before the store forgets, and again before
the log does, the registry reads up to the end that the log had when the step was due; only older records are
removed from the log. If the person is back by then, only what is older than the store's forgetting.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from itertools import permutations, product
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import Connection, MetaData, select

from consumers.propagation import rows as propagated
from consumers.registry import identity_doubts
from consumers.registry.account import current_enrolments
from consumers.registry.erasure import erasures
from consumers.registry.erasure.erasures import GONE, LOG_BEFORE, SEQUENCE, TO_READ, Erasure, ErasureState
from consumers.registry.erasure.privacy_key import PrivacyKey
from consumers.registry.handler import Registry
from consumers.registry.identity_doubts import Verdict
from consumers.registry.ledger import ledger
from consumers.registry.people import KnownPerson, People
from pipeline import accounts, audit, status
from pipeline.db import persons
from pipeline.db.persons import Forgetting
from pipeline.errors import Misconfigured
from pipeline.eventlog.port import EventLog, TopicPartition
from pipeline.locks import LockHeld, SiteLocks
from pipeline.outbox import outbox
from pipeline.parking.rows import parked
from pipeline.target_states import target_states
from schemas.account import Account, Hold, Stage
from schemas.language import gettext
from schemas.receipt import ErasedTarget
from sesame.acts.acts import utc
from sesame.acts.ports import Following
from sesame.operations.keeping import audit_archive
from sesame.operations.keeping.backup.acts import ASIDE, person_keys
from sesame.operations.privacy import receipt_lines, receipts

SESAME: Final = "sesame"
RETENTION: Final = "retention"
_ID_BYTES: Final = 6
_LOCK_S: Final = 120.0  # longer than it takes to go through those that are due
"""Who erases when the time has come, and why."""

HOLD, DOUBT, UNDER_WAY, REGISTRY = "hold", "doubt", "under_way", "registry"
"""What an erasure may wait for, apart from targets: see `awaited`."""


class FilesKeptAside(Misconfigured):
    """A restore has kept the files of before, in clear: nobody who is in them is erased. Look whether they
    are needed still, and remove the folder; receipts are signed by themselves then."""


class Erasing(Following, Protocol):
    """The site that erases."""

    @property
    def log(self) -> EventLog:
        """The log."""

    @property
    def registry(self) -> Registry:
        """The registry, which mints."""

    @property
    def privacy(self) -> PrivacyKey:
        """The site's privacy key."""

    @property
    def privacy_if_any(self) -> PrivacyKey | None:
        """The same; None: there is no key, so no person was ever erased."""

    @property
    def tables(self) -> MetaData:
        """The tables of every room."""

    @property
    def audit_folder(self) -> Path:
        """The folder of the audit's archive."""

    def erase_in_log(self, student_number: str, pseudonym: str, before: float) -> int | None:
        """Replace the number in records older than `before` (Unix time) by a pseudonym.

        Return how many records changed; None: this log cannot rewrite them.
        """

    def rewrite_files(self) -> bool:
        """Rewrite the embedded store and log; False: the store is a server's."""


def advance(site: Erasing, *, retention: bool) -> int:
    """Advance erasures by one step, in one process at a time; return how many remain.

    Args:
        retention: True: those whose retention is over, possibly many: begun here, and not urgent; False:
            those requested.

    Raises:
        PrivacyKeyError: there is a person to erase, and no key.
        StoreUnavailable, LogUnavailable, OSError: the next call resumes there.
    """
    due = _due(site) if retention else []
    if not due and not _under_way(site, retention=retention):
        return 0
    site.registry.recognise_by(site.privacy)
    with suppress(LockHeld), SiteLocks(site.database).hold("erasure", ttl_s=_LOCK_S):
        for number in due:
            site.database.transact(partial(_begin_due, site, number))
        waiting = _under_way(site, retention=retention)
        log = cache(partial(_look_at_log, site))  # once for all erasures that come to it
        for erasure in waiting:
            if erasure.state is ErasureState.ASKED:
                _let_targets_erase(site, erasure, log)
            elif erasure.state is ErasureState.FORGOTTEN:
                _clear(site, erasure, log)
        _attest(site, [each for each in waiting if each.state is ErasureState.CLEARED])
    return len(_under_way(site, retention=retention))


def _under_way(site: Following, *, retention: bool) -> list[Erasure]:
    with site.database.read() as connection:
        found = erasures.all_under_way(connection)
    return [each for each in found if (each.actor == SESAME) is retention]


def enrolled(site: Following, connection: Connection, numbers: Iterable[str], *, above: int = -1) -> bool:
    """Whether the person has an enrolment in force above this source sequence."""
    today = utc(site.database.now(connection)).date()
    found = People(site.database).enrolments(connection, *numbers, above=above)
    return any(each.in_force for each in current_enrolments(found, site.settings.registry, today))


def held(person: KnownPerson | None) -> bool:
    """Whether a hold keeps this person's data; one for a stolen password does not."""
    return person is not None and bool(person.holds - {Hold.STOLEN_PASSWORDS})


def awaited(site: Following, connection: Connection, numbers: Iterable[str]) -> list[str]:
    """An erasure's obstacles: targets, `hold`, `doubt`, or `under_way` (our work)."""
    found: dict[str, None] = {}
    people, now = People(site.database), site.database.now(connection)
    for number in numbers:
        person = people.known(connection, number)
        if held(person):
            found[HOLD] = None
        if identity_doubts.of(connection, number, [Verdict.OPEN]):
            found[DOUBT] = None
        account = accounts.find(connection, number)
        if account is not None and account.activated_at is not None:
            found |= dict.fromkeys(_behind(site, connection, account))
        busy = (
            select(outbox.c.key).where(outbox.c.key == number),
            select(parked.c.consumer).where(parked.c.student_number == number),
            select(target_states.c.target).where(
                target_states.c.student_number == number,
                target_states.c.lease_owner.is_not(None),
                target_states.c.lease_until > now,
            ),
        )
        if any(connection.execute(each.limit(1)).first() is not None for each in busy):
            found[UNDER_WAY] = None
    return list(found)


def causes(connection: Connection, numbers: Iterable[str], targets: Collection[str]) -> dict[str, str]:
    """Why an erasure waits for these targets: the turn's reason, or the consumer's."""
    found = {
        each.consumer: each.reason or each.state
        for each in status.statuses(connection)
        if each.consumer in targets and each.state not in ("running", "stopped")
    }
    for number in numbers:
        for name, seen in propagated.seen_of(connection, number).items():
            if name in targets and seen.state != "provisioned" and seen.reason:
                found[name] = seen.reason
    return found


def _behind(site: Following, connection: Connection, account: Account) -> list[str]:
    number, version = account.student_number, account.version
    if account.stage is Stage.ERASED and propagated.completed(connection, number, version):
        return []
    seen = propagated.seen_of(connection, number)
    behind = [
        name
        for name in site.settings.targets
        if name not in seen or seen[name].version < version or seen[name].state != "provisioned"
    ]
    return behind or [UNDER_WAY]


def _due(site: Following) -> list[str]:
    a = accounts.accounts.c
    with site.database.read() as connection:
        return list(connection.scalars(select(a.student_number).where(a.stage == Stage.ERASED.value)))


def _begin_due(site: Erasing, student_number: str, connection: Connection) -> None:
    """Begin the erasure of a person whose retention is over, under the number kept."""
    people = People(site.database)
    person = people.locked(connection, student_number)
    account = accounts.find(connection, student_number)
    if account is None or account.stage is not Stage.ERASED:  # came back meanwhile
        return
    if person is not None and person.merged_into is not None:
        return
    numbers = people.numbers(connection, student_number)
    begin(site, connection, numbers, actor=SESAME, reason=RETENTION)


def begin(
    site: Erasing, connection: Connection, numbers: list[str], *, actor: str, reason: str, gone: bool = False
) -> Erasure:
    """Have the person of these numbers, locked by the caller, erased; once.

    `gone`: no target has anything left of the person: each only looks.
    """
    privacy = site.privacy
    pseudonym = privacy.pseudonym(numbers[0])
    if (running := erasures.under_way(connection, pseudonym)) is not None:
        return running
    sequence = People(site.database).newest_sequence(connection, *numbers)
    begun = Erasure(
        id=secrets.token_hex(_ID_BYTES),
        pseudonym=pseudonym,
        sealed=privacy.seal(numbers),
        state=ErasureState.ASKED,
        signed_by=receipts.site_key(privacy).fingerprint,
        actor=actor[:64],
        reason=reason,
        asked_at=site.database.now(connection),
        noted={SEQUENCE: sequence} | ({GONE: True} if gone else {}),
    )
    erasures.put(connection, begun)
    return begun


@dataclass(frozen=True)
class _Seen:
    """The log's ends at a moment (Unix time, s), and how far the registry has read."""

    at: float
    ends: dict[str, int]
    read: dict[str, int]

    def to_read(self, erasure: Erasure) -> dict[str, Any]:
        """The log positions that an erasure's step waits for, in stored form."""
        noted: dict[str, Any] = erasure.noted.get(TO_READ) or {"at": self.at, "ends": self.ends}
        return noted

    def has_read(self, erasure: Erasure) -> bool:
        return all(self.read.get(each, 0) >= end for each, end in self.to_read(erasure)["ends"].items())


def _look_at_log(site: Erasing) -> _Seen:
    log, registry, at = site.log, site.registry, time.time()
    ends = _by_partition(log.end_offsets(topic) for topic in registry.topics)
    read = _by_partition(log.committed(registry.name, topic) for topic in registry.topics)
    return _Seen(at, ends, read)


def _by_partition(offsets: Iterable[Mapping[TopicPartition, int]]) -> dict[str, int]:
    return {f"{tp.topic}/{tp.partition}": offset for each in offsets for tp, offset in each.items()}


def _let_targets_erase(site: Erasing, erasure: Erasure, log: Callable[[], _Seen]) -> None:
    numbers = site.privacy.unseal(erasure.sealed or b"")

    def look(connection: Connection) -> None:
        for number in numbers:
            site.registry.due(connection, number, site.database.now(connection))

    site.database.transact(look)
    with site.database.read() as connection:
        seen = None if awaited(site, connection, numbers) else log()
    site.database.transact(lambda connection: _forget_if_gone(site, connection, erasure, numbers, seen))


def _forget_if_gone(
    site: Erasing, connection: Connection, erasure: Erasure, numbers: list[str], seen: _Seen | None
) -> None:
    people = People(site.database)
    locked = [people.locked(connection, number) for number in numbers]
    if enrolled(site, connection, numbers, above=erasure.noted.get(SEQUENCE, -1)):
        now = site.database.now(connection)
        erasures.change(connection, erasure, ErasureState.WITHDRAWN, {}, sealed=None, ended_at=now)
        return
    if seen is None or awaited(site, connection, numbers):
        return
    if not seen.has_read(erasure):
        noted = {**erasure.noted, TO_READ: seen.to_read(erasure)}
        erasures.change(connection, erasure, ErasureState.ASKED, noted)
        return
    found = [(each, accounts.find(connection, number)) for each, number in zip(locked, numbers, strict=True)]
    targets = [line for number in numbers for line in _absent(connection, number)]
    tables: dict[str, dict[str, int]] = {}
    for (person, account), number in zip(found, numbers, strict=True):
        _forget(site, connection, number, identifiers(number, person, account), tables)
    pseudonyms = [site.privacy.pseudonym(number) for number in numbers]
    noted = {
        "pseudonyms": pseudonyms,
        "targets": targets,
        "tables": tables,
        "log": None,
        "archived": 0,
        LOG_BEFORE: time.time(),
    }
    detail = {"erasure": erasure.id, "pseudonym": erasure.pseudonym}
    audit.note(connection, site.database, actor=erasure.actor, action="privacy.forgotten", detail=detail)
    reason = _without_names(site, connection, erasure, locked)
    erasures.change(connection, erasure, ErasureState.FORGOTTEN, noted, reason=reason)


def _without_names(
    site: Erasing, connection: Connection, erasure: Erasure, known: Iterable[KnownPerson | None]
) -> str:
    """The erasure's reason, also without each single name of the person."""
    renamed = erasures.get(connection, erasure.id) or erasure
    names = {name for person in known if person is not None for each in names_of(person) for name in each}
    person = Forgetting("", erasure.pseudonym, tuple(names), site.privacy.hashed)
    return persons.without(renamed.reason, person) if names else renamed.reason


def _absent(connection: Connection, number: str) -> list[dict[str, Any]]:
    seen = propagated.seen_of(connection, number)
    lines = [ErasedTarget(target=name, absent_at=utc(seen[name].finished_at)) for name in sorted(seen)]
    return [line.model_dump(mode="json") for line in lines]


def names_of(person: KnownPerson) -> tuple[list[str], list[str]]:
    """A person's given and family names."""
    who = person.identity
    given = (who.given_name, who.preferred_given_name, person.preferred_given_name)
    return [each for each in given if each], [each for each in (who.birth_name, who.usage_name) if each]


def identifiers(number: str, person: KnownPerson | None, account: Account | None) -> tuple[str, ...]:
    """Identifiers by which texts may name a person."""
    found: list[str | None] = [number]
    if person is not None:
        found += [person.ine, person.esi, (person.esi or "").rpartition(":")[2]]
        found += [person.personal_mail, person.mobile, person.mail_redirect]
        given, family = names_of(person)
        found += [f"{one} {other}" for pair in product(given, family) for one, other in permutations(pair)]
    if account is not None:
        found += [account.login, account.short_login, account.mail, account.principal, *account.aliases]
    return tuple(dict.fromkeys(each for each in found if each))


def _forget(
    site: Erasing,
    connection: Connection,
    number: str,
    names: tuple[str, ...],
    tables: dict[str, dict[str, int]],
) -> None:
    """Have every table forget a number; add the counts to those of `tables`."""
    privacy = site.privacy
    person = Forgetting(number, privacy.pseudonym(number), names, privacy.hashed)
    for table, done in persons.forget(connection, site.database, site.tables, person).items():
        before = tables.get(table, {})
        tables[table] = {what: before.get(what, 0) + count for what, count in asdict(done).items()}


def _clear(site: Erasing, erasure: Erasure, log: Callable[[], _Seen]) -> None:
    """Clear what is outside the store, then the store again. A bell read before may have rung since."""
    numbers, noted = site.privacy.unseal(erasure.sealed or b""), dict(erasure.noted)
    noted[TO_READ] = log().to_read(erasure)
    if not log().has_read(erasure):
        with site.database.write() as connection:
            erasures.change(connection, erasure, ErasureState.FORGOTTEN, noted)
        return
    seen_at = noted.pop(TO_READ)["at"]
    with site.database.read() as connection:
        if not People(site.database).known_among(connection, numbers):  # else the person is back
            noted[LOG_BEFORE] = seen_at
    for number in numbers:
        pseudonym = site.privacy.pseudonym(number)
        records = site.erase_in_log(number, pseudonym, noted[LOG_BEFORE])
        if records is not None:
            noted["log"] = (noted["log"] or 0) + records
        noted["archived"] += audit_archive.forget(site.audit_folder, number, pseudonym)
        if site.settings.store_file is not None or noted["log"] is not None:  # there are backups
            kept = _kept(site, replace(erasure, noted=noted), pseudonym)
            person_keys(site).destroy(number, pseudonym=pseudonym, kept=kept)

    def again(connection: Connection) -> None:
        tables = dict(noted["tables"])
        for number in numbers:
            if People(site.database).known(connection, number) is None:  # else the person is back
                _forget(site, connection, number, (number,), tables)
        erasures.change(connection, erasure, ErasureState.CLEARED, {**noted, "tables": tables}, sealed=None)

    site.database.transact(again)


def _kept(site: Erasing, erasure: Erasure, pseudonym: str) -> dict[str, list[dict[str, Any]]]:
    """An erased person's rows for a restore of an older backup: digests only."""
    found = {}
    with site.database.read() as connection:
        for table in (ledger, identity_doubts.fingerprints, erasures.erasures):
            whose = table.c["pseudonym" if table is erasures.erasures else "student_number"]
            rows = connection.execute(select(table).where(whose == pseudonym)).mappings()
            found[table.name] = [dict(row) for row in rows]
    for row in found[erasures.erasures.name]:
        if row["id"] == erasure.id:  # nothing is left to do after a restore
            ended = {"state": ErasureState.DONE, "sealed": None, "ended_at": erasure.asked_at}
            row |= {**ended, "noted": json.dumps(dict(erasure.noted), sort_keys=True)}
    return found


def kept_aside(site: Following) -> list[Path]:
    """Folders where a restore kept the former files: they hold everyone in clear."""
    return sorted(site.settings.data_dir.glob(f"{ASIDE}*"))


def _attest(site: Erasing, cleared: list[Erasure]) -> None:
    """Rewrite the files once for all that are cleared, and sign their receipts.

    Raises `FilesKeptAside`: nothing can be signed.
    """
    if not cleared:
        return
    if aside := kept_aside(site):
        raise FilesKeptAside(gettext("{path} has everybody in it, in clear", path=aside[0]))
    rewritten = site.rewrite_files()
    now = datetime.now(UTC)
    for erasure in cleared:
        receipt = receipt_lines.receipt(site, erasure, now, rewritten_at=now if rewritten else None)
        text = receipts.sign(receipt, site.privacy)
        receipts.keep(site, erasure.id, text)
        with site.database.write() as connection:
            erasures.change(
                connection,
                erasure,
                ErasureState.DONE,
                {LOG_BEFORE: erasure.noted[LOG_BEFORE]},
                receipt=text,
                ended_at=now.timestamp(),
            )
