"""The pipeline's share of a target's capacity.

Next to it a direct client: the same handler, so the same library, writes and read-backs, called with tasks
that are ready, from 1, 2, 4 and 8 threads, without a log, leases, versions or outcomes. The pipeline is the
shipped worker on the embedded log and store with the shipped bounds, and with more calls at once
(`engine.slots`) only where the direct client was best with more. Every student is new to the target, and each
has to be done, or the row fails.

The best of four measurements is too good by whatever disturbed the other three, so they only choose; then the
direct client is measured just before the pipeline and just after, over a longer backlog, and the pipeline is
compared with the mean of the two. The rows `native-…` compare it with clients that share no code with it.

The rows `cpu-per-student-…` are the processor time of each server in these runs, and the pipeline's own.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import nan
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

from bench.native import AT_ONCE, directory, mailbox, moodle
from bench.plant import Silent, bell, embedded, fill, migrated, ring, running, until
from bench.rows import Row
from consumers.active_directory.connector import ActiveDirectoryConnector
from consumers.active_directory.settings import ActiveDirectorySettings
from consumers.kit.connector import ConnectorContext
from consumers.mailbox.welcome_journal import RecordedIntent, WelcomeMessages
from consumers.scim.connector import Scim
from consumers.scim.settings import ScimSettings
from pipeline.db.database import Database
from pipeline.engine.limits import EngineSettings
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.runner.announcement import Admitted
from pipeline.target import Done, Handler, HandlerOutcome, Task
from sandbox.moodle import MoodleStandIn
from sandbox.process import MissingServer
from sandbox.samba import Samba
from sandbox.scim import ScimServer
from sandbox.slapd import Slapd
from schemas import catalogue
from schemas.account import Account
from sesame.settings import LiveSecret
from sesame.testing.servers import directory_kit, mailbox_kit, moodle_kit
from sesame.testing.servers.ldap_tools import as_provisioner
from sesame.testing.servers.post_office import PostOffice

PARALLEL = (1, 2, 4, 8)
SLOTS = EngineSettings().slots
_CHOOSING = 4  # the choice of the parallelism takes so many times fewer students
WANTED = 0.9
PARTITIONS = 4
CALL_S, ROW_S = 0.05, 0.002  # of the Moodle stand-in: PHP's start, and a row
_logins = itertools.count(1)


@dataclass(frozen=True)
class Target:
    """A running target, and how to reach it.

    Attributes:
        handler: a new one, as the pipeline has it (with the store) or for the direct client (without).
        people: so many students new to the target.
        students: how many are brought there in one measurement.
        native: students per second of the best client without our code, with these students.
        processor_s: the processor time that its server has had, in seconds.
        server: the server itself, where another population can be put into it.
        beside: others' rates, printed and not compared.
        least: the share of the native client's rate that is wanted.
    """

    name: str
    handler: Callable[[Database | None], Handler]
    people: Callable[[int], list[Account]]
    students: int
    native: Callable[[Sequence[Account]], float] | None = None
    beside: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    least: float = 0.7
    note: str = ""
    processor_s: Callable[[], float] | None = None
    server: Slapd | MoodleStandIn | None = None


class Settled(Silent):
    """Counts the students whose outcome was acknowledged and recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 0
        self.others: list[HandlerOutcome] = []

    def outcome(self, target: str, outcome: HandlerOutcome, admitted: Admitted) -> None:
        """See `pipeline.runner.Observer`."""
        super().outcome(target, outcome, admitted)
        if isinstance(outcome, Done):
            self.done += 1
        else:
            self.others.append(outcome)


def direct(target: Target, parallel: int, students: int) -> float:
    """Students per second of the direct client."""
    handler = target.handler(None)
    tasks = [Task(account) for account in target.people(students)]
    with ThreadPoolExecutor(parallel) as pool:
        begun = time.perf_counter()
        carried(target, handler, tasks, pool)
        elapsed_s = time.perf_counter() - begun
    handler.close()
    return len(tasks) / elapsed_s


def carried(target: Target, handler: Handler, tasks: Sequence[Task], pool: ThreadPoolExecutor) -> None:
    """Carry out these tasks in batches, a call per thread; each has to be done."""
    size = handler.batch_size
    batches = [tasks[first : first + size] for first in range(0, len(tasks), size)]
    outcomes = [one for found in pool.map(handler.handle, batches) for one in found.values()]
    if wrong := [one for one in outcomes if not isinstance(one, Done)]:
        raise RuntimeError(f"{target.name}, called directly: {wrong[0]}")


class Carried(NamedTuple):
    """Students per second from the log to the recorded outcome, and the pipeline's processor ms of each."""

    rate: float
    own_ms: float


def through_the_pipeline(target: Target, slots: int, students: int) -> Carried:
    """Carry new students to the target."""
    with TemporaryDirectory(prefix="sesame-bench-") as name, migrated(embedded(Path(name))) as database:
        log = SqliteEventLog(Path(name) / "log.db")
        log.ensure_topics(dict.fromkeys(catalogue.TOPICS, PARTITIONS))
        people = target.people(students)
        fill(database, people)
        ring(log, (bell(account.student_number) for account in people))
        handler, settled = target.handler(database), Settled()
        limits = EngineSettings(slots=slots).limits(batch_size=handler.batch_size)
        begun, processor_s = time.perf_counter(), time.process_time()
        with running(log, database, handler, limits, group=handler.name, observer=settled):
            until(lambda: settled.done >= len(people) or bool(settled.others or settled.troubles), settled)
            elapsed_s, processor_s = time.perf_counter() - begun, time.process_time() - processor_s
        log.close()
    if settled.others or settled.troubles:
        wrong = [*settled.others, *settled.troubles][0]
        raise RuntimeError(f"{target.name}, through the pipeline: {wrong}")
    return Carried(len(people) / elapsed_s, processor_s * 1000 / len(people))


T = TypeVar("T")


def _served(target: Target, work: Callable[[], T]) -> tuple[T, float]:
    """What this returns, and the server's processor ms of each student."""
    if target.processor_s is None:
        return work(), nan
    before = target.processor_s()
    return work(), (target.processor_s() - before) * 1000 / target.students


def rows_of(target: Target, runs: int) -> list[Row]:
    """Choose the direct client's parallelism, then measure the pipeline in between, and the native client."""
    warm = target.handler(None)
    warm.handle([Task(account) for account in target.people(1)])  # makes what all share
    warm.close()
    best, ours, ratios, native, shares = [], [], [], [], []
    own_ms, server_ms, native_ms = [], [], []
    beside: dict[str, list[float]] = {name: [] for name in target.beside}
    chosen: set[int] = set()
    for _ in range(runs):
        rates = {parallel: direct(target, parallel, target.students // _CHOOSING) for parallel in PARALLEL}
        parallel = max(rates, key=rates.__getitem__)
        chosen.add(parallel)
        before = direct(target, parallel, target.students)
        carried, spent = _served(
            target, partial(through_the_pipeline, target, max(SLOTS, parallel), target.students)
        )
        ours.append(carried.rate)
        own_ms.append(carried.own_ms)
        server_ms.append(spent)
        best.append(mean((before, direct(target, parallel, target.students))))
        ratios.append(ours[-1] / best[-1])
        assert target.native is not None
        people = target.people(target.students)
        rate, spent = _served(target, partial(target.native, people))
        native.append(rate)
        native_ms.append(spent)
        shares.append(ours[-1] / native[-1])
        for name, measure in target.beside.items():
            beside[name].append(measure())
    note = f"{target.note}{target.students} new students a run"
    rows = [
        Row(
            f"saturation-{target.name}",
            "students/s",
            median(ours),
            limit=WANTED,
            ratio=median(ratios),
            peers={"the direct client at its best": median(best)},
            note=f"{note}; the direct client was best with {_listed(sorted(chosen))} in parallel; "
            f"{_runs(ratios)}",
        ),
        Row(
            f"native-{target.name}",
            "students/s",
            median(ours),
            limit=target.least,
            ratio=median(shares),
            peers={"native": median(native), **{name: median(values) for name, values in beside.items()}},
            note=f"the native client has {AT_ONCE} calls at once; {_runs(shares)}",
        ),
        Row(f"cpu-per-student-{target.name}-pipeline", "ms", median(own_ms), note="the worker's own"),
    ]
    if target.processor_s is not None:
        spent, least = median(server_ms), median(native_ms)
        rows.append(
            Row(
                f"cpu-per-student-{target.name}",
                "ms",
                spent,
                ratio=spent / least,
                peers={"the native client": least},
                note="the server's processes",
            )
        )
    return rows


def _runs(ratios: Iterable[float]) -> str:
    return f"ratios of the runs {_listed([f'{ratio:.2f}' for ratio in sorted(ratios)])}"


# --- the targets ----------------------------------------------------------------------------------------


@contextmanager
def slapd_target(students: int = 800, *, folder: Path | None = None) -> Iterator[Target]:
    """OpenLDAP; every write is on disk before it is acknowledged, where `folder` is on one."""

    def handler(_database: Database | None) -> Handler:
        client = directory_kit.client_of(slapd, sleep=time.sleep)
        return directory_kit.directory_of(slapd, client, directory_kit.VaultOfTheTest()).handler()

    def people(count: int) -> list[Account]:
        return [_named(directory_kit.account()) for _ in range(count)]

    with Slapd(folder, fsync=True) as slapd:
        beside = {"ldapadd": partial(_ldapadd, slapd, students)}
        native = partial(directory, slapd)
        note, spent = "slapd with fsync; ", slapd.processor_s
        yield Target("directory", handler, people, students, native, beside, 0.7, note, spent, slapd)


@contextmanager
def dovecot_target(students: int = 240) -> Iterator[Target]:
    """Dovecot: folders, quota and the welcome message, over doveadm's HTTP and LMTP."""

    def handler(database: Database | None) -> Handler:
        journal = (
            Remembered()
            if database is None
            else WelcomeMessages(database, clock=time.time, adopted=lambda _numbers: {})
        )
        desk.quota_bytes = None
        return desk.handler(journal=journal)

    def people(count: int) -> list[Account]:
        made = [_named(directory_kit.account(), office.slapd.layout.domain) for _ in range(count)]
        office.enrol_many(str(account.login) for account in made)
        return made

    with (
        PostOffice() as office,
        TemporaryDirectory(prefix="sesame-bench-") as name,
        mailbox_kit.desk_at(office, Path(name)) as desk,
    ):
        native = partial(mailbox, office, "Scolarité")
        spent = office.dovecot.processor_s
        yield Target("mailbox", handler, people, students, native, note="Dovecot; ", processor_s=spent)


@contextmanager
def moodle_target(students: int = 2_000, *, one_cohort: bool = False) -> Iterator[Target]:
    """The Moodle stand-in; each call takes some time, and each row some more."""

    def handler(database: Database | None) -> Handler:
        return moodle_kit.connector_on(moodle_kit.settings_for(site), database=database).handler()

    def people(count: int) -> list[Account]:
        # Unless wished, no cohort grows: each measurement fills another one.
        step = moodle_kit.cohort("L1INFO" if one_cohort else f"L1INFO{next(cohorts)}")
        fresh = (directory_kit.fresh_number() for _ in range(count))
        return [_named(moodle_kit.account(number, step)) for number in fresh]

    cohorts = itertools.count(1)
    with TemporaryDirectory(prefix="sesame-bench-") as name, MoodleStandIn(Path(name)) as site:
        site.set(latency_per_call_s=CALL_S, latency_per_row_s=ROW_S)
        note = f"the stand-in, {CALL_S * 1000:g} ms a call and {ROW_S * 1000:g} ms a row; "
        native = partial(moodle, site)
        yield Target("moodle", handler, people, students, native, note=note, least=0.95, server=site)


@contextmanager
def active_directory_target(students: int = 400) -> Iterator[Target]:
    """A domain controller of Samba; the students have no password yet."""

    def handler(_database: Database | None) -> Handler:
        settings = ActiveDirectorySettings(
            uri=samba.ldaps_uri,
            ca_file=samba.ca_file,
            bind_dn=samba.provisioner_dn,
            bind_password_file=samba.provisioner_password_file,
            users_dn=samba.users_dn,
            groups_dn=samba.groups_dn,
        )
        context = ConnectorContext("active_directory", settings, partial(LiveSecret, settings))
        return ActiveDirectoryConnector(context).handler()

    def people(count: int) -> list[Account]:
        return [_named(directory_kit.account()) for _ in range(count)]

    with TemporaryDirectory(prefix="sesame-bench-") as name, Samba(Path(name)) as samba:
        yield Target("active-directory", handler, people, students, note="Samba; ")


@contextmanager
def scim_target(students: int = 400) -> Iterator[Target]:
    """The SCIM server of the sandbox."""

    def handler(_database: Database | None) -> Handler:
        settings = ScimSettings(url=server.url, token_file=server.token_file, groups=("groups",))
        return Scim(ConnectorContext("scim", settings, partial(LiveSecret, settings))).handler()

    def people(count: int) -> list[Account]:
        return [_named(directory_kit.account()) for _ in range(count)]

    with TemporaryDirectory(prefix="sesame-bench-") as name, ScimServer(Path(name)) as server:
        yield Target("scim", handler, people, students, note="scim2-server; ")


class Remembered(WelcomeMessages):
    """The intents to send a welcome message, without a store."""

    def __init__(self) -> None:
        self._intents: dict[str, RecordedIntent] = {}

    def intend(self, intended: Mapping[str, tuple[str, int, int]]) -> dict[str, RecordedIntent]:
        """See `WelcomeMessages`."""
        earlier = self.known(list(intended))
        for number, inbox in intended.items():
            self._intents.setdefault(number, RecordedIntent(*inbox, "intended"))
        return earlier

    def known(self, student_numbers: Sequence[str]) -> dict[str, RecordedIntent]:
        """See `WelcomeMessages`."""
        return {number: self._intents[number] for number in student_numbers if number in self._intents}

    def sent(self, student_numbers: Sequence[str]) -> None:
        """See `WelcomeMessages`."""

    undecided = sent


def _named(account: Account, domain: str = "etu.univ-exemple.fr") -> Account:
    """The account with another login and address."""
    login = f"zoe.lefevre.{next(_logins)}"
    addresses = {"mail": f"{login}@{domain}", "principal": f"{login}@univ-exemple.fr"}
    return account.model_copy(update={"login": login, **addresses})


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def _ldapadd(slapd: Slapd, students: int) -> float:
    """Entries per second of OpenLDAP's own client, one by one, without read-back."""
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
    found: list[Row] = []
    for name, started in TARGETS.items():
        try:
            with started() as target:
                found += rows_of(target, runs)
        except MissingServer as missing:
            print(f"saturation-{name}: left out: {missing}", file=sys.stderr)
    own = [row.ours for row in found if row.name.endswith("-pipeline")]
    if len(own) == len(TARGETS):  # the sum of some would be another figure
        found.append(Row("cpu-per-student-pipeline", "ms", sum(own), note="the workers' own, together"))
    return found


if __name__ == "__main__":
    for each in rows(1):
        print(each.as_json())
