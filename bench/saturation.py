"""How much of what a target can take the pipeline brings there.

Beside it a direct client: the same handler, so the same library, writes and read-backs, called with tasks
that are ready, from 1, 2, 4 and 8 threads, without a log, leases, versions or outcomes. The pipeline is the
shipped worker on the embedded log and store, with as many calls at once (`engine.slots`) as the direct client
was best with. Every student is new to the target, and each has to be done, or the row fails.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.plant import Silent, bell, embedded, fill, migrated, ring, running, until
from bench.rows import Row
from consumers.directory import DirectoryHandler
from consumers.mailbox import MailboxHandler, Wanted, WelcomeJournal
from consumers.mailbox.port import Intended, Intent
from consumers.moodle import MoodleHandler, SiteLock, moodle_handler
from pipeline.engine import Limits
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.store.database import Database
from pipeline.store.locks import SiteLocks
from pipeline.store.welcome import WelcomeMessages
from pipeline.target import Done, Handler, HandlerOutcome, Task
from sandbox.moodle import MoodleStandIn
from sandbox.process import MissingServer
from sandbox.slapd import Slapd
from schemas import catalogue
from schemas.account import Account, Lane
from tests.integration import directory_kit, mailbox_kit, moodle_kit
from tests.integration.ldap_tools import as_provisioner
from tests.integration.post_office import PostOffice

PARALLEL = (1, 2, 4, 8)
DEFAULT_SLOTS = Limits().slots
WANTED = 0.9
PARTITIONS = 4
CALL_S, ROW_S = 0.05, 0.002  # of the Moodle stand-in: what PHP takes to start, and what a row takes
_logins = itertools.count(1)


@dataclass(frozen=True)
class Target:
    """A target that runs, and how to reach it.

    Attributes:
        handler: a new one, as the pipeline has it (with the store) or for the direct client (without).
        people: that many students whom the target has never seen.
        students: how many are brought there in one measurement.
        beside: others' rates, printed and not compared.
    """

    name: str
    handler: Callable[[Database | None], Handler]
    people: Callable[[int], list[Account]]
    students: int
    beside: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    note: str = ""


class Settled(Silent):
    """Counts the students whose outcome has been acknowledged and recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 0
        self.others: list[HandlerOutcome] = []

    def outcome(self, target: str, outcome: HandlerOutcome, lane: Lane) -> None:
        """See `pipeline.worker.Observer`."""
        super().outcome(target, outcome, lane)
        if isinstance(outcome, Done):
            self.done += 1
        else:
            self.others.append(outcome)


def direct(target: Target, parallel: int) -> float:
    """Students per second of the direct client."""
    handler = target.handler(None)
    tasks = [Task(account) for account in target.people(target.students)]
    size = handler.batch_size
    batches = [tasks[first : first + size] for first in range(0, len(tasks), size)]
    with ThreadPoolExecutor(parallel) as pool:
        begun = time.perf_counter()
        outcomes = [one for found in pool.map(handler.handle, batches) for one in found.values()]
        elapsed_s = time.perf_counter() - begun
    handler.close()
    if wrong := [one for one in outcomes if not isinstance(one, Done)]:
        raise RuntimeError(f"{target.name}, called directly: {wrong[0]}")
    return len(outcomes) / elapsed_s


def through_the_pipeline(target: Target, slots: int) -> float:
    """Students per second from the log to the recorded outcome."""
    with TemporaryDirectory(prefix="sesame-bench-") as name, migrated(embedded(Path(name))) as database:
        log = SqliteEventLog(Path(name) / "log.db")
        log.ensure_topics(dict.fromkeys(catalogue.TOPICS, PARTITIONS))
        people = target.people(target.students)
        fill(database, people)
        ring(log, (bell(account.student_number) for account in people))
        handler, settled = target.handler(database), Settled()
        limits = Limits(batch_size=handler.batch_size, slots=slots, slots_personal=min(1, slots - 1))
        begun = time.perf_counter()
        with running(log, database, handler, limits, group=handler.name, observer=settled):
            until(lambda: settled.done >= len(people) or bool(settled.others or settled.troubles), settled)
            elapsed_s = time.perf_counter() - begun
        log.close()
    if settled.others or settled.troubles:
        wrong = [*settled.others, *settled.troubles][0]
        raise RuntimeError(f"{target.name}, through the pipeline: {wrong}")
    return len(people) / elapsed_s


def row(target: Target, runs: int) -> Row:
    """Measure: the direct client at each parallelism and then the pipeline, in every run."""
    warm = target.handler(None)
    warm.handle([Task(account) for account in target.people(1)])  # whatever the first one creates for all
    warm.close()
    ours, best, default, ratios = [], [], [], []
    beside: dict[str, list[float]] = {name: [] for name in target.beside}
    parallels: list[int] = []
    for _ in range(runs):
        rates = {parallel: direct(target, parallel) for parallel in PARALLEL}
        parallel = max(rates, key=rates.__getitem__)
        parallels.append(parallel)
        best.append(rates[parallel])
        default.append(through_the_pipeline(target, DEFAULT_SLOTS))
        ours.append(default[-1] if parallel == DEFAULT_SLOTS else through_the_pipeline(target, parallel))
        ratios.append(ours[-1] / best[-1])
        for name, measure in target.beside.items():
            beside[name].append(measure())
    peers = {
        "the direct client at its best": median(best),
        f"the pipeline with {DEFAULT_SLOTS} slots, the default": median(default),
        **{name: median(values) for name, values in beside.items()},
    }
    return Row(
        f"saturation-{target.name}",
        "students/s",
        median(ours),
        limit=WANTED,
        ratio=median(ratios),
        peers=peers,
        note=f"{target.note}{target.students} new students a run; the direct client was best with "
        f"{', '.join(map(str, sorted(set(parallels))))} in parallel, and so many slots had the pipeline",
    )


# --- the targets ----------------------------------------------------------------------------------------


@contextmanager
def slapd_target(students: int = 400) -> Iterator[Target]:
    """OpenLDAP; every write is on disk before it is acknowledged."""

    def handler(_database: Database | None) -> Handler:
        directory = directory_kit.directory_of(slapd, sleep=time.sleep)
        vault = directory_kit.VaultOfTheTest()
        return DirectoryHandler(directory, vault, directory_kit.PROFILE, system="slapd")

    def people(count: int) -> list[Account]:
        return [_named(directory_kit.account()) for _ in range(count)]

    with Slapd(fsync=True) as slapd:
        beside = {"ldapadd": partial(_ldapadd, slapd, students)}
        yield Target("directory", handler, people, students, beside, "slapd with fsync; ")


@contextmanager
def dovecot_target(students: int = 100) -> Iterator[Target]:
    """Dovecot: folders, quota and the welcome message, over doveadm's HTTP and LMTP."""
    opened = mailbox_kit.Desk.mailboxes

    def handler(database: Database | None) -> Handler:
        journal: WelcomeJournal = (
            Remembered() if database is None else WelcomeMessages(database, clock=time.time)
        )
        wanted = Wanted(folders=("Scolarité",))
        return MailboxHandler(opened(desk), journal, mailbox_kit.WELCOME, wanted, system="Dovecot")

    def people(count: int) -> list[Account]:
        made = [_named(directory_kit.account(), office.slapd.layout.domain) for _ in range(count)]
        office.enrol_many(str(account.login) for account in made)
        return made

    with (
        PostOffice() as office,
        TemporaryDirectory(prefix="sesame-bench-") as name,
        mailbox_kit.desk_at(office, Path(name)) as desk,
    ):
        yield Target("mailbox", handler, people, students, note="Dovecot; ")


@contextmanager
def moodle_target(students: int = 1_000) -> Iterator[Target]:
    """The Moodle stand-in; each call takes some time, and each row some more."""

    def handler(database: Database | None) -> MoodleHandler:
        lock: SiteLock = moodle_kit.ProcessLock() if database is None else SiteLocks(database)
        return moodle_handler(moodle_kit.settings_for(site), lock=lock, is_managed=moodle_kit.is_managed)

    def people(count: int) -> list[Account]:
        fresh = (directory_kit.fresh_number() for _ in range(count))
        return [_named(moodle_kit.account(number, moodle_kit.cohort("L1INFO"))) for number in fresh]

    with TemporaryDirectory(prefix="sesame-bench-") as name, MoodleStandIn(Path(name)) as site:
        site.set(latency_per_call_s=CALL_S, latency_per_row_s=ROW_S)
        note = f"the stand-in, {CALL_S * 1000:g} ms a call and {ROW_S * 1000:g} ms a row; "
        yield Target("moodle", handler, people, students, note=note)


@dataclass(frozen=True)
class _Recorded:
    """See `Intent`."""

    uidvalidity: int
    uidnext: int
    state: str = "intended"


class Remembered:
    """The intents to send a welcome message, without a store."""

    def __init__(self) -> None:
        self._intents: dict[str, Intent] = {}

    def intend(self, intended: Mapping[str, Intended]) -> Mapping[str, Intent]:
        """See `WelcomeJournal`."""
        earlier = self.known(list(intended))
        for number, (_, uidvalidity, uidnext) in intended.items():
            self._intents.setdefault(number, _Recorded(uidvalidity, uidnext))
        return earlier

    def known(self, student_numbers: Sequence[str]) -> Mapping[str, Intent]:
        """See `WelcomeJournal`."""
        return {number: self._intents[number] for number in student_numbers if number in self._intents}

    def sent(self, student_numbers: Sequence[str]) -> None:
        """See `WelcomeJournal`."""

    def undecided(self, student_numbers: Sequence[str]) -> None:
        """See `WelcomeJournal`."""


def _named(account: Account, domain: str = "etu.univ-exemple.fr") -> Account:
    """With a login and an address of their own."""
    login = f"zoe.lefevre.{next(_logins)}"
    addresses = {"mail": f"{login}@{domain}", "principal": f"{login}@univ-exemple.fr"}
    return account.model_copy(update={"login": login, **addresses})


def _ldapadd(slapd: Slapd, students: int) -> float:
    """Entries per second of OpenLDAP's own client: one after the other, and nothing read back."""
    entries = []
    for _ in range(students):
        login = f"ldapadd.{next(_logins)}"
        entries.append(
            f"dn: uid={login},{slapd.people_dn}\nobjectClass: inetOrgPerson\nobjectClass: sesameAccount\n"
            f"cn: {login}\nsn: {login}\nuid: {login}\nmail: {login}@{slapd.layout.domain}\n"
            "sesameMailEnabled: TRUE\n"
        )
    begun = time.perf_counter()
    as_provisioner(slapd, "ldapadd", stdin="\n".join(entries))
    return students / (time.perf_counter() - begun)


TARGETS = {"directory": slapd_target, "mailbox": dovecot_target, "moodle": moodle_target}


def rows(runs: int) -> Sequence[Row]:
    """Measure."""
    found = []
    for name, started in TARGETS.items():
        try:
            with started() as target:
                found.append(row(target, runs))
        except MissingServer as missing:
            print(f"saturation-{name}: left out: {missing}", file=sys.stderr)
    return found


if __name__ == "__main__":
    for each in rows(1):
        print(each.as_json())
