"""An upgrade while students are under way: two versions side by side, a step that waits, a way back."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.db import forms
from sandbox.demo.pipeline import SesameProcess
from sandbox.process import wait_until
from sandbox.slapd import Slapd
from sesame.testing.servers.ldap_tools import search
from sesame.testing.servers.processes import MOODLE, PROPAGATION, REGISTRY, ROOT, ManySite

pytestmark = [pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)]

DIRECTORY = "directory"
CONSUMERS = (REGISTRY, PROPAGATION, DIRECTORY, MOODLE)
STUDENTS, GROUPS = 30, 3
OLDER_AT_WORK = 5
STEP = '''"""A step of the next version."""
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "{revision}", "{before}", None, None
contracts = {contracts}
def upgrade():
    {step}
'''


class NextVersion:
    """A copy of the program whose migrations go on: one step expands, the next one takes back."""

    def __init__(self, folder: Path) -> None:
        for package in ("pipeline", "consumers", "producers", "schemas", "sesame"):
            shutil.copytree(ROOT / package, folder / package)
        self._folder = folder
        self._step("9001", forms.head(), 'op.add_column("outbox", sa.Column("c9001", sa.Text()))')
        self._step("9002", "9001", 'op.drop_column("outbox", "c9001")', contracts=True)

    def _step(self, revision: str, before: str, step: str, *, contracts: bool = False) -> None:
        file = self._folder / "pipeline" / "db" / "migrations" / "versions" / f"{revision}_next.py"
        made = STEP.format(revision=revision, before=before, step=step, contracts=contracts)
        file.write_text(made, encoding="utf-8")

    @contextmanager
    def installed(self) -> Iterator[None]:
        """What is started in here is the next version."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(self._folder))
            yield


class Town:
    """The students of a site, in groups that activate one after the other."""

    def __init__(self, site: ManySite) -> None:
        self.site = site
        self._asked = 0

    def activate(self, group: int) -> None:
        """Ask for the accounts of one group, and return at once."""
        numbers = sorted(self.site.numbers())[group::GROUPS]
        listed = self.site.folder / f"group-{group}.txt"
        listed.write_text("".join(f"{number}\n" for number in numbers), encoding="utf-8")
        self.site.sesame.run("activate", "--from", listed)
        self._asked += len(numbers)

    def settle(self) -> None:
        """Wait until whoever was asked for is complete, or waits."""
        wait_until(lambda: self.site.settled() == self._asked, "everybody to be complete or waiting")

    def revision(self) -> str:
        with self.site.database.read() as connection:
            return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


@pytest.fixture
def site(tmp_path: Path, store_url: str, slapd: Slapd) -> Iterator[ManySite]:
    directory = (
        f'uri = "{slapd.ldaps_uri}"',
        f'ca_file = "{slapd.ca_file}"',
        f'bind_dn = "{slapd.provisioner_dn}"',
        f'bind_password_file = "{slapd.provisioner_password_file}"',
        f'people_dn = "{slapd.people_dn}"',
        f'groups_dn = "{slapd.groups_dn}"',
        "connect_timeout_s = 2",
        "timeout_s = 3",
        "call_s_max = 10",
        "execution_s_max = 5",
    )
    with closing(ManySite(tmp_path, store_url, others={DIRECTORY: directory})) as made:
        yield made


def started(site: ManySite) -> list[SesameProcess]:
    return [site.start("consume", name) for name in CONSUMERS]


def ended(processes: list[SesameProcess]) -> None:
    for process in processes:
        assert process.end(signal.SIGTERM, 30.0) == 0
        assert "loop_failed" not in [line["event"] for line in process.log_lines()]


def test_two_versions_work_side_by_side_and_neither_the_upgrade_nor_its_undoing_loses_anything(
    site: ManySite, slapd: Slapd, tmp_path: Path
) -> None:
    new = NextVersion(tmp_path / "next")
    before = forms.head()
    old = started(site)
    site.enrol(STUDENTS)
    wait_until(lambda: site.accounts() == STUDENTS, "accounts")
    town = Town(site)
    town.activate(0)

    with new.installed():
        answer = site.sesame.run("migrate", allowed=(OLDER_AT_WORK,))
        assert f"sesame/{before} " in answer.err, "who is waited for is named"
        assert town.revision() == "9001"
        beside = started(site)
        town.activate(1)
    ended(old)  # what they were at goes over to the new ones
    town.settle()

    back = started(site)  # the version before again, on the form that the new one has left
    ended(beside)
    town.activate(2)
    town.settle()
    assert town.revision() == "9001"

    with new.installed():
        beside = started(site)
        with site.sesame.begin("migrate", "--wait") as waiting:
            ended(back)
            assert town.revision() == "9001", "this test is an older program too"
            assert waiting.running
            site.database.engine.dispose()
            waiting.answer(60.0)
        assert town.revision() == "9002"
        site.sesame.run("doctor", "--only", "store")
    refused = site.sesame.run("overview", allowed=(1,))
    assert "newer version" in refused.err
    ended(beside)

    assert (site.settled(), site.dead_letters()) == (STUDENTS, 0)
    numbers = [
        value
        for entry in search(slapd, slapd.people_dn, "(supannEtuId=*)", "supannEtuId").values()
        for value in entry["supannEtuId"]
    ]
    assert sorted(numbers) == sorted(site.numbers()), "one entry each"
    with closing(sqlite3.connect(f"file:{site.moodle.data_file}?mode=ro", uri=True)) as moodle:
        users = [number for (number,) in moodle.execute("SELECT idnumber FROM users WHERE idnumber != ''")]
    assert sorted(users) == sorted(site.numbers()), "one user each"
