"""What a comparison says to people."""

from __future__ import annotations

from typing import Any

import pytest

from sesame.cli.reconcile import _show
from sesame.operations.questions.reconcile.acts import Reconciliation
from sesame.operations.questions.reconcile.comparison import TargetReport
from sesame.operations.questions.reconcile.passes import KINDS


def report(**found: Any) -> TargetReport:
    nothing: dict[str, Any] = {kind: [] for kind in KINDS}
    counts = {"accounts": 60, "objects": 61, "unmanaged": 1, "unsettled": 0}
    return TargetReport(**{**nothing, **counts, "evidence": {}, **found})


def test_a_table_and_each_difference_with_its_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    directory = report(
        missing=["22600010"],
        different=[f"226001{each:02}" for each in range(23)],
        orphaned=["uid=x"],
        evidence={"22600010": ("credential_needed",), "22600100": ("mail", "sn"), "uid=x": ("999",)},
        approval="0123456789ab",
        unsettled=4,
    )
    away = report(accounts=0, objects=0, trouble="it is away")
    _show(Reconciliation(seconds=1.0, targets={"directory": directory, "moodle": away}))
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert shown[:3] == [
        "target accounts objects missing different moved password replaced extra orphaned renamed unsettled",
        "directory 60 61 1 23 0 0 0 1 0 4",
        "moodle 0 0 0 0 0 0 0 0 0 0",
    ]
    assert shown[3:5] == [
        "directory, missing: 22600010 (credential_needed)",
        "directory, different: 22600100 (mail, sn)",
    ]
    assert shown[23:26] == [
        "directory, different: 22600119",
        "directory: 3 more; all with --json",
        "directory, orphaned: uid=x (999)",
    ]
    assert shown[-2].endswith("sesame reconcile --target directory --repair --approve 0123456789ab")
    assert shown[-1] == "moodle was not compared: it is away"


@pytest.mark.parametrize(
    ("why", "told"),
    [
        ("older", "shows an older state than it did, as out of a backup"),
        ("lost", "lost unusually much at once"),
    ],
)
def test_a_target_that_went_back_is_told_first(
    why: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = {"directory": (why,), "22600010": ()}
    directory = report(missing=["22600010"], went_back=["directory"], evidence=evidence)
    _show(Reconciliation(seconds=1.0, targets={"directory": directory}))
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert shown[2:] == [
        f"directory {told}: ask its administrator before you repair",
        "directory, missing: 22600010",
    ]
