"""The benchmarks themselves: what would make a figure wrong, or never come."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.beside import embedded_log, in_turn
from bench.lanes import drain
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
