"""The same file and the same activations a second time: nothing is said, nothing is changed."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.eventlog.sqlite import SqliteEventLog
from sandbox.demo import play, sweep_moodle
from sandbox.demo.play import Cast
from sandbox.demo.sweep import sweep
from sandbox.demo.world import World
from sandbox.process import wait_until
from schemas import catalogue
from sesame.testing.servers.ldap_tools import as_provisioner
from tests.acceptance.acting import disagreements, everything, metric, settle, state_of, world_with_accounts

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Cast]]:
    """A world in which everybody has activated and is settled."""
    with world_with_accounts(tmp_path_factory.mktemp("records")) as (world, cast):
        play.activate(world, cast)
        settle(world, len(cast.students))
        yield world, cast


def records_by_topic(data: Path) -> dict[str, int]:
    """How many records the log has, by topic."""
    log = SqliteEventLog(data / "events.db")
    try:
        return {topic: sum(log.end_offsets(topic).values()) for topic in catalogue.TOPICS}
    finally:
        log.close()


def compared(world: World, target: str) -> float:
    """How many turns have left this target at an account's state since `sesame run` was started."""
    return sum(
        metric(world, "sesame_target_changes_total", target=target, result=result)
        for result in ("written", "unchanged")
    )


def test_everybody_is_where_the_file_and_the_announcement_say(done: tuple[World, Cast]) -> None:
    world, cast = done
    assert cast.rejected_rows > 0
    assert disagreements(world, cast) == []


def test_a_second_import_and_activation_emit_nothing_and_change_no_byte(done: tuple[World, Cast]) -> None:
    world, cast = done
    said = play.announced(world)
    before, emitted = everything(world, cast, said), records_by_topic(world.private / "data")
    assert sum(emitted.values()) > len(cast.students)

    rejects = world.private / "rejects-again.csv"
    report = world.sesame.run("import", cast.file, "--rejects", rejects, "--json", allowed=(3,)).json()
    assert (report["recorded"], report["cancelled"]) == (0, 0)
    assert report["unchanged"] > 0
    again = play.activate(world, cast)
    assert (again["requested"], again["already"]) == (0, len(cast.students))

    assert records_by_topic(world.private / "data") == emitted
    assert everything(world, cast, said) == before


@pytest.mark.parametrize("target", ["directory", "mailbox", "moodle"])
def test_a_replay_of_everybody_leaves_the_targets_byte_equal(done: tuple[World, Cast], target: str) -> None:
    world, cast = done
    said = play.announced(world)
    before = everything(world, cast, said)
    written = metric(world, "sesame_target_changes_total", target=target, result="written")
    due = compared(world, target) + state_of(world, list(said), target).count("provisioned")
    world.sesame.run("replay", "--consumer", target, "--all", "--yes")

    wait_until(lambda: compared(world, target) >= due, f"{target} to have been compared")
    assert metric(world, "sesame_target_changes_total", target=target, result="written") == written
    assert everything(world, cast, said) == before


def test_the_sweep_finds_whatever_somebody_else_changes(done: tuple[World, Cast]) -> None:
    world, cast = done
    whole = [student.number for student in cast.students.values() if student.complete]
    entry, member, box = whole[:3]
    said = play.announced(world)

    rename = (
        f"dn: uid={said[entry].login},{world.slapd.people_dn}\nchangetype: modify\nreplace: sn\nsn: Autre\n"
    )
    as_provisioner(world.slapd, "ldapmodify", stdin=rename)
    leave_a_cohort(world, member)
    with smtplib.LMTP("127.0.0.1", world.dovecot.ports.lmtp) as post:
        post.sendmail("quelqu.un@univ-exemple.fr", [said[box].mail], b"Subject: Bonjour\r\n\r\nBonjour.\r\n")

    found = {
        (one.number, one.where) for one in sweep(world, cast.students, said, cast.passwords).disagreements
    }
    assert found == {(entry, "directory"), (member, "moodle"), (box, "mailbox")}


def leave_a_cohort(world: World, number: str) -> None:
    """Take a student out of one cohort, as a site's administrator can."""
    site = sweep_moodle.dump(world.moodle)
    user = next(id_ for id_, one in site.users.items() if one["idnumber"] == number)
    cohort = next(id_ for id_, (_, members) in site.cohorts.items() if user in members)
    form = {"members[0][cohortid]": str(cohort), "members[0][userid]": str(user)}
    sweep_moodle.call(world.moodle, "core_cohort_delete_cohort_members", form)
