"""`sesame run` tells a program that an account works everywhere."""

from __future__ import annotations

import gc
from contextlib import closing
from pathlib import Path

import pytest

from sesame.app.observability.metrics import Metrics
from sesame.app.process_runner import ProcessRunner, UnknownConsumer
from sesame.settings import load
from sesame.testing.servers.registry_kit import LEA
from tests.unit.consumers.webhooks.webhooks_kit import SECRET, Program
from tests.unit.sesame.app.running_kit import Run, Site


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


def test_where_nobody_is_told_there_is_no_such_consumer(tmp_path: Path) -> None:
    with closing(Site(tmp_path)) as site, pytest.raises(UnknownConsumer):
        ProcessRunner(site, Metrics(), ["webhooks"])


def test_paths_in_tables_are_relative_to_the_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "sesame.toml"
    path.write_text(receiver(tmp_path, 8000) + '[console.webhooks]\npegase = "pegase.keys"\n')
    settings = load(path)
    assert settings.webhooks.receivers["portal"].key_file == tmp_path / "portal.keys"
    assert settings.console.webhooks["pegase"] == tmp_path / "pegase.keys"
