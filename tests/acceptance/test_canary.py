"""The canary on real servers: the whole way, each step broken in its turn, and nothing of it in any count."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from consumers.mailbox.welcome_journal import welcome_messages
from consumers.registry.ledger import ledger
from pipeline.eventlog.port import Record
from producers import canary
from sandbox.demo import play, sweep_mail, sweep_moodle
from sandbox.demo.play import Cast
from sandbox.demo.program import FAILED
from sandbox.demo.world import World
from sesame.app.wiring import Application, build
from sesame.operations.work.canary import acts, walk
from sesame.operations.work.canary.inbox import Inbox
from sesame.operations.work.canary.runs import CanaryRun
from sesame.settings import load
from sesame.testing.servers import require_service
from sesame.testing.servers.ldap_tools import can_log_in, search
from tests.acceptance.acting import disagreements, metric, settle

STUDENTS = 6
STEPS = ["enrolment", "activation", "directory", "mailbox", "moodle", "login", "welcome", "cohort", "reset"]
NUMBER, LOGIN = "sesame-canary", "canari.sesame"

pytestmark = pytest.mark.timeout(900)


@dataclass
class Aviary:
    """A world with some complete students, and an application of the test's own on its store.

    `at`: called before a step's look, by what is called then; see `broken`.
    """

    world: World
    app: Application
    cast: Cast
    at: dict[str, Callable[[], object]] = field(default_factory=dict)
    passwords: list[str] = field(default_factory=list)
    inboxes: list[list[str]] = field(default_factory=list)
    left: list[list[str]] = field(default_factory=list)

    def send(self) -> CanaryRun:
        return acts.walk(self.app, wait_s=300.0)

    def moodle_user(self) -> tuple[dict[str, Any], set[str]]:
        """The canary's user, and the idnumbers of its cohorts."""
        site = sweep_moodle.dump(self.world.moodle)
        [(own, user)] = [(id_, one) for id_, one in site.users.items() if one["idnumber"] == NUMBER]
        return dict(user), {key for key, members in site.cohorts.values() if own in members}

    def entry(self) -> tuple[str, dict[str, list[str]]]:
        slapd = self.world.slapd
        [(dn, entry)] = search(slapd, slapd.people_dn, f"(supannEtuId={NUMBER})").items()
        return dn, entry

    def names(self) -> list[tuple[Any, ...]]:
        with self.app.database.read() as connection:
            return [
                tuple(row)
                for row in connection.execute(select(ledger).where(ledger.c.student_number == NUMBER))
            ]


@pytest.fixture(scope="module")
def aviary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aviary]:
    records = tmp_path_factory.mktemp("canary")
    with require_service(lambda: World(records, canary=True)) as world:
        play.prepare(world)
        world.start_pages()
        cast = play.enrol(world, STUDENTS)
        play.activate(world, cast)
        settle(world, len(cast.students))
        app = build(load(world.settings_file))
        try:
            yield Aviary(world, app, cast)
        finally:
            app.close()


@pytest.fixture(autouse=True)
def observed(aviary: Aviary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at what the canary does from outside, and break what a test wants broken."""
    aviary.at.clear()
    aviary.passwords.clear()
    aviary.inboxes.clear()
    aviary.left.clear()
    probe, reset, has = aviary.app.login_probe, canary.reset, Inbox.has

    def login_probe(login: str, password: Callable[[], str]) -> Any:
        aviary.passwords.append(password())
        aviary.at.get("login", lambda: None)()
        return probe(login, password)

    def seen() -> list[str]:
        return sweep_mail.inbox(aviary.world.dovecot, f"{LOGIN}@etu.univ-exemple.fr", aviary.passwords[-1])

    def look(inbox: Inbox, message_id: str) -> bool:
        aviary.inboxes.append(seen())
        return has(inbox, message_id)

    def shut(*given: Any) -> None:
        if aviary.inboxes:
            aviary.left.append(seen())
        aviary.at.get("reset", lambda: None)()
        reset(*given)

    monkeypatch.setattr(aviary.app, "login_probe", login_probe)
    monkeypatch.setattr(canary, "reset", shut)
    monkeypatch.setattr(Inbox, "has", look)


def shown(world: World) -> dict[str, Any]:
    """What counts students, as commands say it: all but times."""
    overview = world.sesame.overview()
    kept = ("accounts", "states", "completed", "waiting", "failed", "in_progress", "targets")
    listed = world.sesame.run("students", "--json").json()
    assert NUMBER not in json.dumps(listed)
    return {name: overview[name] for name in kept if name in overview} | {"listed": len(listed)}


def test_it_goes_the_whole_way_again_and_again_and_is_nobody(aviary: Aviary) -> None:
    world = aviary.world
    before = shown(world)
    runs = [aviary.send(), aviary.send()]
    assert [sorted(each.name for each in run.steps) for run in runs] == [sorted(STEPS)] * 2
    assert [[each.cause for each in run.steps if each.cause] for run in runs] == [[], []]
    assert all(run.ok for run in runs)
    assert [len(inbox) for inbox in aviary.inboxes] == [1, 1], "each run is welcomed, once"
    assert aviary.left == [[], []], "and its message goes before the reset"

    dn, entry = aviary.entry()
    assert "{COMPTE}I:SupannExpire" in entry["supannRessourceEtat"]
    assert "supannEtuEtape" not in entry
    assert not any(can_log_in(world.slapd, dn, password) for password in aviary.passwords)
    user, cohorts = aviary.moodle_user()
    assert (user["suspended"], cohorts) == (True, set())
    assert len(aviary.names()) == 3, "login, mail address, principal name: given once"

    assert shown(world) == before
    assert play.announced(world).keys() == aviary.cast.students.keys()
    assert world.sesame.run("dead-letters", "list", "--json").json() == []
    assert disagreements(world, aviary.cast) == []
    log = world.private / "data" / "events.db"
    assert f'"{NUMBER}"'.encode() in log.read_bytes() + Path(f"{log}-wal").read_bytes()
    announced = [each for each in _propagation(aviary.app) if each.key == NUMBER]
    assert announced == []
    compared = world.sesame.run("reconcile", "--json", allowed=(0, 3)).json()
    assert NUMBER not in json.dumps(compared)
    assert {one["accounts"] for one in compared["targets"].values()} == {len(aviary.cast.students)}
    assert metric(world, "sesame_canary_ok", step="login") == 1


def _propagation(app: Application) -> list[Record]:
    with closing(app.log.reader("sesame.propagation", {})) as reader:
        found: list[Record] = []
        while page := reader.poll(500, 0.5):
            found += page
    assert found
    return found


def test_the_command_names_the_step_that_fails_and_a_run_that_was_cut_off_is_made_up_for(
    aviary: Aviary,
) -> None:
    class Killed(Exception):
        """The process ends."""

    def kill() -> None:
        raise Killed

    aviary.at["reset"] = kill
    with pytest.raises(Killed):
        aviary.send()
    dn, entry = aviary.entry()
    assert "{COMPTE}A:SupannActif" in entry["supannRessourceEtat"]
    assert can_log_in(aviary.world.slapd, dn, aviary.passwords[-1])
    answer = aviary.world.sesame.run("canary", "run", "--json").json()
    assert answer["ok"]
    assert sorted(each["name"] for each in answer["steps"]) == sorted(STEPS)
    assert set(answer["steps"][0]) == {"name", "seconds", "ok", "cause"}

    aviary.world.pages.web.stop()
    try:
        broken = aviary.world.sesame.run("canary", "run", "--json", allowed=(FAILED,)).json()
    finally:
        aviary.world.pages.web.start()
    assert not broken["ok"]
    [failed] = [each for each in broken["steps"] if not each["ok"]]
    assert failed["name"] == "activation"
    assert "/lettre" in failed["cause"]


@contextmanager
def away(server: Any) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@pytest.mark.parametrize(
    ("step", "missing"),
    [
        ("enrolment", {*STEPS} - {"enrolment", "reset"}),
        ("directory", {"mailbox", "login", "welcome"}),
        ("mailbox", {"welcome"}),
        ("moodle", {"cohort"}),
        ("login", set()),
        ("welcome", set()),
        ("cohort", set()),
        ("reset", set()),
    ],
)
def test_each_step_that_is_broken_is_named_alone(
    aviary: Aviary, step: str, missing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = aviary.world
    monkeypatch.setattr(walk, "TARGETS_S_MAX", 4.0)
    monkeypatch.setattr(walk, "REGISTRY_S_MAX", 2.0)
    servers = {
        "enrolment": world.pipeline,
        "directory": world.slapd,
        "mailbox": world.dovecot,
        "moodle": world.moodle,
        "login": world.cas,
    }

    def lose_message() -> None:
        with sweep_mail.session(
            world.dovecot, f"{LOGIN}@etu.univ-exemple.fr", aviary.passwords[-1]
        ) as client:
            client.select("INBOX")
            client.store("1:*", "+FLAGS", r"(\Deleted)")
            client.expunge()

    def lose_member() -> None:
        site = sweep_moodle.dump(world.moodle)
        [own] = [id_ for id_, one in site.users.items() if one["idnumber"] == NUMBER]
        [cohort] = [
            id_ for id_, (key, of) in site.cohorts.items() if own in of and not key.endswith("-cours")
        ]
        form = {"members[0][cohortid]": str(cohort), "members[0][userid]": str(own)}
        sweep_moodle.call(world.moodle, "core_cohort_delete_cohort_members", form)

    aviary.at |= {
        "welcome": {"login": lose_message},
        "cohort": {"login": lose_member},
        "reset": {"reset": world.moodle.stop},
    }.get(step, {})
    try:
        if step in servers:
            with away(servers[step]):
                run = aviary.send()
        else:
            run = aviary.send()
    finally:
        if step == "reset":
            world.moodle.start()
    found = {each.name: each.cause for each in run.steps}
    assert {name for name, cause in found.items() if cause} == {step}, found
    assert {*STEPS} - found.keys() == missing
    assert not run.ok

    aviary.at.clear()
    monkeypatch.setattr(walk, "TARGETS_S_MAX", 60.0)
    monkeypatch.setattr(walk, "REGISTRY_S_MAX", 60.0)
    after = aviary.send()
    assert after.ok, after.steps
    assert len(aviary.inboxes[-1]) == 1
    with aviary.app.database.read() as connection:
        states = connection.execute(
            select(welcome_messages.c.state).where(welcome_messages.c.student_number == NUMBER)
        ).scalars()
    assert list(states) == ["sent"]
