"""Names in consumer groups: the same after a restart, and never one for two who live at once."""

from __future__ import annotations

import multiprocessing
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from sandbox.process import PATIENCE_S
from sesame.app import group_members
from sesame.app.group_members import GroupMembers, TooManyMembers


def test_a_process_that_starts_again_has_its_name_again(tmp_path: Path) -> None:
    for _ in range(2):
        with closing(GroupMembers(tmp_path / "members", "host")) as mine:
            assert mine.name("moodle") == mine.name("moodle") == "host"


def test_two_processes_and_two_workers_have_names_of_their_own(tmp_path: Path) -> None:
    with closing(GroupMembers(tmp_path, "host")) as one, closing(GroupMembers(tmp_path, "host")) as other:
        names = [one.name("moodle"), other.name("moodle"), one.name("moodle", 2), other.name("registry")]
    assert names == ["host", "host-2", "host-3", "host"]


def _hold(folder: Path, pipe: Connection) -> None:
    pipe.send(GroupMembers(folder, "host").name("moodle"))
    pipe.recv()


def test_a_process_that_is_killed_leaves_its_name(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    other = context.Process(target=_hold, args=(tmp_path, there))
    other.start()
    assert here.recv() == "host"
    with closing(GroupMembers(tmp_path, "host")) as mine:
        assert mine.name("moodle") == "host-2"
    other.kill()
    other.join(PATIENCE_S)
    with closing(GroupMembers(tmp_path, "host")) as mine:
        assert mine.name("moodle") == "host"


def test_there_are_not_more_names_than_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_members, "MEMBERS_MAX", 1)
    with closing(GroupMembers(tmp_path, "host")) as mine:
        mine.name("moodle")
        with pytest.raises(TooManyMembers):
            mine.name("moodle", 2)
