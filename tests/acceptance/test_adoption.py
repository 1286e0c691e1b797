"""A population that existed before Sésame, on real servers: found, kept, observed, brought over when told."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import select

from bench.adopt_population import ROLES, adopt, asked, bytes_of, inhabited, modes, reported
from bench.population import Population, population
from consumers.registry.ledger import ledger
from pipeline.accounts import accounts
from pipeline.db.database import Database
from sandbox.demo.program import DONE, PARTLY
from sandbox.demo.sweep_directory import search
from sandbox.demo.world import World
from sandbox.process import wait_until
from schemas.account import Account
from sesame.testing.servers import require_service

pytestmark = pytest.mark.timeout(1800)

ENTRIES = int(os.environ.get("ADOPTION_ENTRIES", "200"))
"""How many people exist already: few in `make test`; `bench.adopt_population` takes 20,000."""

CONFLICTS = 13  # one of each kind that is planted


@pytest.fixture(scope="module")
def made() -> Population:
    return population(ENTRIES, CONFLICTS)


@pytest.fixture(scope="module")
def world(made: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    records = tmp_path_factory.mktemp("records")
    with require_service(lambda: inhabited(records, made)) as world:
        yield world


def store(world: World) -> Database:
    return Database(f"sqlite:///{world.private / 'data' / 'sesame.db'}")


def logins(world: World) -> dict[str, tuple[str, str]]:
    """Login and mail of everybody's account."""
    with closing(store(world)) as database, database.read() as connection:
        found = [
            Account.model_validate_json(text) for text in connection.scalars(select(accounts.c.document))
        ]
    return {each.student_number: (each.login, each.mail) for each in found}


def observed(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.sesame.overview()["observed"]
    return found


def test_everything_planted_is_found_nothing_else_is_asked_and_no_target_is_touched(
    world: World, made: Population
) -> None:
    before, expected = bytes_of(world), Counter(made.expected)
    report = world.private / "report.csv"
    dry = adopt(world, "--dry-run", "--report", report)
    assert (dry.code, reported(report), asked(world)) == (PARTLY, expected, Counter())

    real = adopt(world)
    assert (real.code, asked(world), real.document["questions"]) == (
        PARTLY,
        expected,
        dry.document["questions"],
    )
    again = adopt(world)
    assert set(again.document["written"].values()) == {0}
    assert bytes_of(world) == before


def test_every_name_in_use_is_in_the_ledger(world: World, made: Population) -> None:
    with closing(store(world)) as database, database.read() as connection:
        held = {(row.kind, row.value) for row in connection.execute(select(ledger))}
    names = {("login", entry.uid) for entry in made.entries.values()}
    names |= {("mail", entry.mail) for entry in made.entries.values()}
    names |= {("mail", entry.alias) for entry in made.entries.values() if entry.alias}
    names |= {("login", user.username.lower()) for user in made.users.values()}
    names |= {("mail", user.email) for user in made.users.values()}
    assert names <= held


def test_who_was_there_keeps_login_and_mail(world: World, made: Population) -> None:
    there = {number: made.entries[uid] for number, uid in made.logins.items()}
    asked_about = {student for _, _, student in made.expected}
    there = {n: entry for n, entry in there.items() if n not in asked_about and len(entry.numbers) < 2}
    assert set(made.by_ine) <= there.keys()

    def differing() -> set[str]:
        now = logins(world)
        return {n for n, entry in there.items() if now.get(n) != (entry.uid, entry.mail)}

    wait_until(lambda: not differing(), "the registry to make accounts again")


def test_observed_accounts_are_not_complete_and_no_byte_changes(world: World, made: Population) -> None:
    before = bytes_of(world)
    asked_for = world.sesame.run("adopt", "activate", "--json").json()
    assert asked_for["written"] == []
    requested = asked_for["requested"]
    assert requested > ENTRIES // 2

    def all_observed() -> bool:
        found = observed(world)
        return all(int(found.get(role, {}).get("students", 0)) >= requested for role in ROLES)

    wait_until(all_observed, "everybody to be observed in every target")
    overview = world.sesame.overview()
    assert (overview["completed"], overview["failed"], overview["waiting"]) == (0, 0, requested)
    assert overview["waiting_by_reason"] == {"observed_only": requested}
    assert overview["observed"]["directory"]["fields"]["sesameVersion"] == requested
    assert overview["observed"]["directory"]["fields"]["supannEtuId"] == len(made.by_ine)
    assert "object" not in overview["observed"]["directory"]["fields"]
    held_back = {student for target, _, student in made.expected if target == "directory"}
    there = [n for n, uid in made.logins.items() if n not in held_back and len(made.entries[uid].numbers) < 2]
    in_moodle = {user.idnumber for user in made.users.values()}
    assert requested == len(there)
    taken = {user.username.lower() for user in made.users.values()}  # a user that has no number may be theirs
    new = [n for n in there if n not in in_moodle and made.logins[n].lower() not in taken]
    assert overview["observed"]["moodle"]["fields"]["object"] == len(new)
    assert "welcome" not in overview["observed"]["mailbox"]["fields"]
    assert bytes_of(world) == before


def test_a_target_that_is_switched_is_brought_over_by_a_replay_and_the_others_are_not_touched(
    world: World, made: Population
) -> None:
    modes(world, {"mailbox": "observe", "moodle": "observe"})
    world.pipeline.stop()
    world.start_pipeline()
    before = bytes_of(world)
    students = observed(world)["directory"]["students"]
    world.sesame.run("replay", "--consumer", "directory", "--all", "--yes")

    def written() -> bool:
        targets: dict[str, int] = world.sesame.overview()["targets"]["directory"]
        return targets.get("provisioned", 0) >= int(students)

    wait_until(written, "the directory to be brought over")
    after = bytes_of(world)
    assert after["directory"] != before["directory"]
    assert (after["moodle"], after["mailbox"]) == (before["moodle"], before["mailbox"])
    by_ine = made.entries[made.logins[made.by_ine[0]]]
    shown = search(world.slapd, world.slapd.people_dn, f"(uid={by_ine.uid})", "supannEtuId", "mail", "uid")
    assert f"supannEtuId: {made.by_ine[0]}" in shown
    assert (f"mail: {by_ine.mail}" in shown, f"uid: {by_ine.uid}" in shown) == (True, True)
    status = world.sesame.run("status", made.by_ine[0], "--json").json()
    states = {each["target"]: each["state"] for each in status["targets"]}
    assert (status["state"], states["directory"], states["moodle"]) == ("waiting", "provisioned", "waiting")


def test_doctor_says_which_targets_are_only_observed(world: World) -> None:
    said = world.sesame.run("doctor", allowed=(DONE, 1)).out
    assert said.count("it is only observed") == len(ROLES) - 1
