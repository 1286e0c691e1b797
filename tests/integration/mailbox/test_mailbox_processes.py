"""Dovecot's doveadm processes: none serves so many students that it gets slow, and a site hears of it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from consumers.kit.deadline import Deadline
from consumers.mailbox.commands import Command
from consumers.mailbox.dovecot import Doveadm
from pipeline.errors import CredentialsRefused
from pipeline.target import Done
from sandbox.dovecot import Dovecot
from sesame.cli import main
from sesame.testing.servers import require_service
from sesame.testing.servers.mailbox_kit import DovecotHarness, desk_at
from sesame.testing.servers.post_office import PostOffice
from sesame.testing.servers.sections import dovecot_section, toml_of
from sesame.testing.servers.waiting import until
from tests.integration.targets.site_kit import Site

STUDENTS = 60
BATCH = 5


@pytest.fixture
def own_desk(tmp_path: Path) -> Iterator[DovecotHarness]:
    """A mail server of this test alone: its processes are counted, and its settings change."""
    with require_service(PostOffice) as office, desk_at(office, tmp_path) as desk:
        yield desk


def master(dovecot: Dovecot) -> int:
    return int((dovecot.folder / "run" / "master.pid").read_text())


def processes(dovecot: Dovecot) -> set[int]:
    """The server's doveadm processes, as the system shows them."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = status.read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:  # it has just ended
            continue
        if name == "doveadm-server" and int(rest.split()[1]) == master(dovecot):
            found.add(int(status.parent.name))
    return found


def rewrite(dovecot: Dovecot, old: str, new: str) -> None:
    """Change the server's configuration, as an administrator does."""
    file = dovecot.folder / "sesame.conf"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    os.kill(master(dovecot), signal.SIGHUP)


def test_a_process_serves_a_few_dozen_students_and_ends(own_desk: DovecotHarness) -> None:
    handler = own_desk.handler()
    [first] = own_desk.provision(own_desk.student("lea.premiere"), handler=handler)
    early = processes(own_desk.office.dovecot)
    students = [own_desk.student(f"lea.rang{n}") for n in range(STUDENTS)]

    outcomes = [
        outcome
        for begin in range(0, STUDENTS, BATCH)
        for outcome in own_desk.provision(*students[begin : begin + BATCH], handler=handler)
    ]

    assert early
    assert all(isinstance(outcome, Done) for outcome in (first, *outcomes))
    until(lambda: not early & processes(own_desk.office.dovecot))


def test_a_wrong_key_is_refused_though_the_connection_ends(desk: DovecotHarness) -> None:
    doveadm = Doveadm(desk.context(api_key=SecretStr("une autre clef")))

    for _ in range(2):
        with pytest.raises(CredentialsRefused):
            doveadm.call([Command("user", {"userMask": ["x@y"]})], Deadline.after(20.0))
    doveadm.close()


def test_the_doctor_names_a_server_that_keeps_its_processes_and_the_remedy_ends_it(
    own_desk: DovecotHarness, tmp_path: Path
) -> None:
    dovecot = own_desk.office.dovecot
    older = dovecot.version < (2, 4)
    name, unlimited = ("service_count", "0") if older else ("restart_request_count", "unlimited")
    section = dovecot_section(dovecot, own_desk.office.slapd)
    settings = 'targets = ["directory", "mailbox"]\n' + toml_of(mailbox=section)
    with closing(Site(tmp_path / "site", settings, in_memory=("directory",))) as site:

        def sesame(*words: str) -> str:
            config = ["--config", str(site.settings.data_dir / "sesame.toml")]
            done = CliRunner().invoke(main, [*config, *words])
            assert done.exit_code == 0, done.output
            return done.stdout

        def doctor() -> dict[str, str]:
            [finding] = json.loads(sesame("doctor", "--json", "--only=mailbox"))
            return dict(finding)

        sesame("migrate")
        assert doctor()["state"] == "ok"
        rewrite(dovecot, f"{name} = 20", f"{name} = {unlimited}")
        until(lambda: doctor()["state"] == "warn")
        remedy = doctor()["remedy"]
        assert name in remedy
        assert "to 20" in remedy
        rewrite(dovecot, f"{name} = {unlimited}", f"{name} = 20")
        until(lambda: doctor()["state"] == "ok")
