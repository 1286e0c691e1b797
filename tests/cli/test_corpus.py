"""What each command said when it was recorded, it says today: to people and to programs, word for word.

A change that is meant is recorded by `CORPUS=record pytest tests/cli`, and read in the difference.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sandbox.demo import settings
from sandbox.demo.world import World
from sesame.cli import main
from sesame.testing.servers import require_service
from sesame.testing.servers.ldap_tools import as_provisioner
from tests.cli.cases import CASES, HELPS, WITH_SERVERS
from tests.cli.player import Case, play, say
from tests.cli.worlds import KEY, furnish, store

CORPUS = Path(__file__).with_name("corpus")
RECORDING = os.environ.get("CORPUS") == "record"


@pytest.mark.parametrize("case", [*CASES, *HELPS], ids=lambda case: case.name)
def test_a_command_says_what_it_said(case: Case, tmp_path: Path) -> None:
    said = play(case, tmp_path)
    assert said == recorded(case, said)


def recorded(case: Case, said: str) -> str:
    """What was said when it was recorded; now, if this is the recording."""
    file = CORPUS / f"{case.name}.txt"
    if RECORDING:
        file.parent.mkdir(exist_ok=True)
        file.write_text(said, encoding="utf-8")
    return file.read_text(encoding="utf-8")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Servers of the targets, with two entries that were there before, and the filled store."""
    with require_service(lambda: World(tmp_path / "records", timetable=True)) as world:
        for name in world.servers:
            world.start_server(name)
        settings.write(world)
        given = world.settings_file.read_text(encoding="utf-8")
        world.settings_file.write_text(re.sub(r"(?s)\[cas\].*?(?=\[portal\])", "", given), encoding="utf-8")
        for uid, number in (("aferreira", "supannEtuId: 22600018\n"), ("personnel.un", "")):
            dn = f"uid={uid},{world.slapd.people_dn}"
            entry = f"dn: {dn}\nobjectClass: inetOrgPerson\nobjectClass: supannPerson\nuid: {uid}\n{number}"
            as_provisioner(world.slapd, "ldapadd", stdin=f"{entry}cn: Ferreira Antónia\nsn: Ferreira\n")
        data = world.private / "data"
        data.mkdir(mode=0o700)
        for file, content in (("sesame.db", store("filled")), ("vault.key", KEY.encode())):
            (data / file).touch(mode=0o600)
            (data / file).write_bytes(content)
        yield world


def test_with_servers_the_commands_say_what_they_said(world: World) -> None:
    ports = {
        "slapd": world.slapd.ldap_uri,
        "dovecot": world.dovecot.doveadm_url,
        "moodle": world.moodle.url,
        "timetable": world.timetable.url if world.timetable is not None else "",
    }
    words = {str(world.folder): "/srv"} | {url: f"({name})" for name, url in ports.items()}
    said = say(WITH_SERVERS, world.private, words)
    assert said == recorded(WITH_SERVERS, said)


ASKS = """
import sys
from sesame.cli import main
try:
    main(sys.argv[1:], prog_name="sesame")
except SystemExit as end:
    assert not end.code
pages = {"fastapi", "jinja2", "babel", "zxcvbn", "rich", "prometheus_client"}
work = {"cloudevents", "cryptography", "schemas.events", "alembic", "kafka"}
work |= {"sesame.operations.questions.adoption.run"}
others = {"requests", "cas", "icalendar", "consumers.scim.connector", "sqlalchemy.dialects.postgresql"}
print(*sorted((pages | work | others) & set(sys.modules)), file=sys.stderr)
"""


def test_a_command_that_asks_a_student_s_servers_loads_their_libraries_and_no_others(tmp_path: Path) -> None:
    furnish("filled", tmp_path)
    ask = [sys.executable, "-c", ASKS, "diagnose", "22600001"]
    done = subprocess.run(ask, capture_output=True, text=True, check=True, cwd=tmp_path)
    unseen = sorted(line.split(":")[0] for line in done.stdout.splitlines() if line.startswith("unseen"))
    assert unseen == [f"unseen  {target}" for target in ("directory", "mailbox", "moodle", "timetable")]
    assert done.stderr == "\n"


def test_no_record_is_without_its_case_and_no_name_stands_twice() -> None:
    names = sorted(case.name for case in (*CASES, *HELPS, WITH_SERVERS))
    assert names == sorted(file.stem for file in CORPUS.iterdir())


def test_every_command_is_played() -> None:
    assert isinstance(main, click.Group)
    played = {words[0] for case in CASES for line in case.lines if (words := line.split())}
    assert set(main.list_commands(click.Context(main))) - played == set()
