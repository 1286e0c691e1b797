"""The benchmarks themselves: what would make a figure wrong, or never come."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from bench.before import CommitUnknown, compared, taken
from bench.beside import embedded_log, in_turn
from bench.import_beside_run import Site, exports, registered, until
from bench.lanes import drain
from pipeline.db.database import Database
from pipeline.engine.limits import Limits


def test_no_two_measurements_on_one_log_share_a_consumer_group() -> None:
    """The second would find everything read already, and wait for ever."""
    groups: list[str] = []

    def way(group: str) -> str:
        groups.append(group)
        return group

    for at_once in (16, 100):
        in_turn({f"ours {at_once}": way, f"plain {at_once}": way}, runs=2)  # type: ignore[dict-item]
    assert len(set(groups)) == len(groups) == 8


def test_a_group_that_has_read_the_log_before_is_refused_at_once(tmp_path: Path) -> None:
    with embedded_log(10, 1) as log:
        drain(log, tmp_path, 10, Limits(batch_size=1), group="once")
        with pytest.raises(RuntimeError, match="has read this log before"):
            drain(log, tmp_path, 10, Limits(batch_size=1), group="once")


def test_a_row_that_fell_by_more_than_a_tenth_is_no_more_wanted_and_others_are() -> None:
    def run(rate: float, wait: float, **others: float) -> dict[str, dict[str, object]]:
        return {
            "rate": {"unit": "students/s", "ours": rate},
            "wait": {"unit": "ms", "ours": wait},
            **{name: {"unit": "s", "ours": value} for name, value in others.items()},
        }

    before = [run(100.0, 20.0), run(1.0, 900.0), run(100.0, 20.0)]
    slower = compared([run(89.0, 22.4, new=1.0)] * 3, before)
    assert [(row.name, row.wanted) for row in slower] == [("rate", False), ("wait", False)]
    assert [row.peers for row in slower] == [{"before": 100.0}, {"before": 20.0}]
    alike = compared([run(91.0, 22.0), run(500.0, 1.0), run(91.0, 22.0)], before)
    assert [(row.name, row.wanted) for row in alike] == [("rate", True), ("wait", True)]


def test_a_commit_that_git_does_not_know_is_named() -> None:
    with pytest.raises(CommitUnknown, match="no commit no-such-commit"):
        taken("no-such-commit")


def test_the_site_of_the_import_beside_the_run_is_one_of_todays_sesame(tmp_path: Path) -> None:
    first, second = exports(tmp_path, 20)
    site = Site(tmp_path)
    assert site.imported(first) > 0
    with closing(Database(f"sqlite:///{tmp_path / 'data' / 'sesame.db'}")) as store, site.running():
        until(lambda: registered(store) > 0)
        assert site.imported(second) > 0
        until(lambda: registered(store) == 40)
