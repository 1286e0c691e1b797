"""`sesame run` tells a program that an account works everywhere."""

from __future__ import annotations

import gc
from contextlib import closing
from pathlib import Path

import pytest

from consumers.webhooks import rows
from consumers.webhooks.endings import give_up
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import Message
from sesame.acts.acts import Actor, Role
from sesame.app.doctor.checks import checks_for
from sesame.app.doctor.findings import examine
from sesame.app.observability.metrics import Metrics
from sesame.app.process_runner import ProcessRunner, UnknownConsumer
from sesame.app.wiring import utc_now
from sesame.operations.work.blast_radius import PreviewRequest, preview
from sesame.operations.work.replays import ReplayRequest, ReplaySelectionRequest, latest, replay, select
from sesame.settings import load
from sesame.testing.servers.registry_kit import LEA
from sesame.testing.servers.running_kit import Run, Site
from sesame.testing.servers.webhooks_kit import SECRET, Program, completed

CAMILLE = Actor("camille", frozenset({Role.OPERATOR}))
GIVEN_UP = "e" * 40


def receiver(folder: Path, port: int) -> str:
    """Its file of keys is named relative to the settings."""
    (folder / "portal.keys").write_text(SECRET)
    (folder / "portal.keys").chmod(0o600)
    return f'[webhooks.receivers.portal]\nurl = "http://127.0.0.1:{port}"\nkey_file = "portal.keys"\n'


def test_a_completion_is_told_to_a_program_that_the_settings_name(tmp_path: Path) -> None:
    program = Program()
    with program.serving(), closing(Site(tmp_path, receiver(tmp_path, program.port))) as site:
        run = Run(site)
        run.start()
        try:
            run.enrol_and_activate()
            run.until(lambda: bool(program.heard))
            assert run.states().keys() >= {"webhooks", "webhooks_portal"}
        finally:
            run.stop()
    gc.unfreeze()  # for the tests that come after
    said = program.heard[0].checked(SECRET)
    assert (said["type"], said["data"]["student_number"]) == ("fr.sesame.propagation.completed.v1", LEA)


def test_what_was_given_up_is_replayed_as_a_target_s_work_is(tmp_path: Path) -> None:
    program = Program()
    with program.serving(), closing(Site(tmp_path, receiver(tmp_path, program.port))) as site:
        run = Run(site)
        run.start()
        try:
            run.enrol_and_activate()
            run.until(lambda: bool(program.heard))
            given_up(site)
            [letter] = run.letters()
            asked = {"consumer": letter.consumer, "students": (LEA,)}
            looked = preview(site, CAMILLE, PreviewRequest(**asked, selected=1))
            assert (looked.changed, looked.differs) == (1, {"events": 1})
            selected = select(
                site, CAMILLE, ReplaySelectionRequest(consumer=letter.consumer, cause=letter.cause)
            )
            assert selected.students == (LEA,)
            replay(site, CAMILLE, ReplayRequest(**asked, lane=selected.lane, reason="mended"), utc_now)
            run.until(lambda: len(program.heard) == 2 and run.letters() == [])
        finally:
            run.stop()
        [done] = latest(site, CAMILLE)
    gc.unfreeze()  # for the tests that come after
    assert (program.heard[1].id, done.done, done.failed) == (GIVEN_UP, 1, 0)


def given_up(site: Site) -> None:
    """The receiver has refused an event for days."""
    message = Message(GIVEN_UP, "/sesame/propagation", utc_now(), completed(LEA))
    with site.database.write() as connection:
        rows.add(
            connection, site.database, ["portal"], message, topic=catalogue.PROPAGATION, lane=Lane.PERSONAL
        )
        [event] = rows.named(connection, "portal", [GIVEN_UP])
        give_up(connection, site.database, event, "the receiver answers 422", site.database.now(connection))


def test_where_nobody_is_told_there_is_no_such_consumer(tmp_path: Path) -> None:
    with closing(Site(tmp_path)) as site, pytest.raises(UnknownConsumer):
        ProcessRunner(site, Metrics(), ["webhooks"])


def test_paths_in_tables_are_relative_to_the_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "sesame.toml"
    path.write_text(receiver(tmp_path, 8000) + '[console.webhooks]\npegase = "pegase.keys"\n')
    settings = load(path)
    assert settings.webhooks.receivers["portal"].key_file == tmp_path / "portal.keys"
    assert settings.console.webhooks["pegase"] == tmp_path / "pegase.keys"


@pytest.mark.parametrize(
    ("form", "key", "state"),
    [
        ("webhook", SECRET, "ok"),
        ("set", SECRET, "fail"),  # who has it could sign in our name
        ("set", "whsk_" + "QUJD" * 10 + "QUI=", "ok"),
        ("webhook", "secret", "fail"),
    ],
)
def test_the_doctor_says_whether_receivers_keys_can_sign(
    tmp_path: Path, form: str, key: str, state: str
) -> None:
    path = tmp_path / "sesame.toml"
    path.write_text(receiver(tmp_path, 8000) + f'form = "{form}"\n')
    (tmp_path / "portal.keys").write_text(key)
    [check] = [each for each in checks_for(load(path)) if each.name == "webhooks"]
    found = examine(check)
    assert found.state == state, found
    assert key not in found.text
