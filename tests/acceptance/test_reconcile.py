"""A site on real servers whose hands were busy: a comparison finds every planted difference, and no other."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bench.command import measured
from bench.reconcile_population import KINDS, TARGETS, Planted, difference, expected, inhabited
from sandbox.demo import play
from sandbox.process import PATIENCE_S, wait_until
from sesame.operations.questions.reconcile import passes
from tests.acceptance.acting import metric, settle, world_with_accounts

pytestmark = pytest.mark.timeout(1800)

ACCOUNTS = 800
"""Few in `make test`; `make bench ONLY=reconcile` takes 40,000."""


def test_all_of_137_planted_differences_are_found_and_none_is_invented(tmp_path: Path) -> None:
    planted = Planted()
    assert planted.count == 137
    with inhabited(tmp_path, ACCOUNTS, planted) as (world, copies):
        wanted = expected(world, copies, planted)
        said = measured(world, "reconcile", "--json").document["targets"]
        kept = world.sesame.run("reconcile", "--last", "--json").json()
    assert tuple(said) == TARGETS
    assert (
        difference(wanted, {name: {kind: each[kind] for kind in KINDS} for name, each in said.items()}) == []
    )
    others = set(passes.KINDS) - set(KINDS)
    assert [(name, kind) for name, each in said.items() for kind in others if each[kind]] == []
    assert {each["target"]: {kind: each["found"][kind] for kind in KINDS} for each in kept} == {
        name: {kind: len(names) for kind, names in each.items()} for name, each in wanted.items()
    }


def test_servers_out_of_an_older_backup_are_told_by_day(tmp_path: Path) -> None:
    with world_with_accounts(tmp_path, 8) as (world, cast):
        numbers = list(cast.students)
        play.activate(world, cast, numbers[:2])
        settle(world, 2)
        folders = {"directory": world.slapd.folder / "data", "moodle": world.moodle.data_file.parent}
        for target, folder in folders.items():
            world.servers[target].stop()
            shutil.copytree(folder, tmp_path / target)
            world.start_server(target)
        play.activate(world, cast, numbers[2:])
        settle(world, len(numbers))
        world.sesame.run("reconcile")

        def told(target: str) -> bool:
            return metric(world, "sesame_reconcile_differences", target=target, kind="went_back") == 1

        with closing(sqlite3.connect(f"file:{world.private / 'data' / 'sesame.db'}?mode=ro", uri=True)) as db:
            marks = "SELECT count(*) FROM reconciliations WHERE mark IS NOT NULL"
            wait_until(lambda: db.execute(marks).fetchone() == (len(TARGETS),), "the first looks", PATIENCE_S)
        assert not any(map(told, TARGETS))
        for target, folder in folders.items():
            world.servers[target].stop()
            owner = folder.stat()
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / target, folder)
            for path in (folder, *folder.rglob("*")):
                os.chown(path, owner.st_uid, owner.st_gid)
            world.start_server(target)
        for target in folders:
            wait_until(lambda: told(target), f"the alarm of {target}", PATIENCE_S)  # noqa: B023
        known = {one["target"]: one for one in world.sesame.run("reconcile", "--last", "--json").json()}
        for target in folders:
            assert known[target]["left"]["went_back"] == [target]
            assert known[target]["evidence"][target][0] in ("older", "lost"), "of eight that is all one"
