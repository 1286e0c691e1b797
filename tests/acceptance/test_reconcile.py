"""A site on real servers whose hands were busy: a comparison finds every planted difference, and no other."""

from __future__ import annotations

from pathlib import Path

from bench.command import measured
from bench.reconcile_population import KINDS, TARGETS, Planted, difference, expected, inhabited

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
    assert {each["target"]: {kind: each["found"][kind] for kind in KINDS} for each in kept} == {
        name: {kind: len(names) for kind, names in each.items()} for name, each in wanted.items()
    }
