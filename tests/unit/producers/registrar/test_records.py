"""What the store keeps of an import: when it ran, its numbers, and who approved what."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from pipeline.audit.trail import audit
from pipeline.threshold import Threshold
from producers.registrar.import_runs import imports
from sesame.testing.servers.registrar_kit import MAMADOU, NOW, ZOE, Registrar

NOBODY = Threshold(share=0.0, people=0)


def kept(registrar: Registrar) -> list[tuple[Any, ...]]:
    with registrar.database.read() as connection:
        rows = connection.execute(select(imports).order_by(imports.c.id)).all()
    return [
        (row.id, row.source, row.file_name, row.started_at, row.finished_at, json.loads(row.summary))
        for row in rows
    ]


def test_an_import_is_kept_with_its_file_its_times_and_every_number(registrar: Registrar) -> None:
    registrar.import_rows(ZOE)
    registrar.import_rows(
        ZOE, ZOE, MAMADOU, MAMADOU | {"ETA_IAE": "A", "COD_ETP": "DULSF"}, ZOE | {"COD_ETU": "x y"}
    )
    counts = {
        "lines": 5,
        "students": 2,
        "recorded": 1,
        "cancelled": 1,
        "gone": 0,
        "unchanged": 1,
        "duplicates": 1,
        "rejected": 1,
        "held": 0,
    }
    began = NOW.timestamp()
    assert kept(registrar)[1] == (2, "apogee", "export.csv", began, began, counts)


def test_an_import_that_is_held_is_kept_as_held(registrar: Registrar) -> None:
    registrar.import_rows(ZOE)
    registrar.import_rows(ZOE | {"ETA_IAE": "A"}, threshold=NOBODY)
    assert kept(registrar)[1][-1]["held"] == 1


def test_an_approval_is_kept_with_the_very_file_and_what_it_changes(registrar: Registrar) -> None:
    registrar.import_rows(ZOE, MAMADOU)
    held = registrar.import_rows(ZOE, threshold=NOBODY, full_year=2026)
    approved = registrar.import_rows(ZOE, threshold=NOBODY, full_year=2026, approval=held.approval or "")
    assert (held.held, held.gone, approved.held, approved.gone) == (True, 1, False, 1)
    with registrar.database.read() as connection:
        (row,) = connection.execute(select(audit).where(audit.c.action == "import.approve")).all()
    assert row.actor == "odile"
    assert json.loads(row.detail) == {
        "import_id": 3,
        "approval": held.approval,
        "source": "apogee",
        "file": "export.csv",
        "sha256": approved.digest,
        "full_year": 2026,
        "years": [figures.to_json() for figures in approved.years],
    }


def test_a_dry_run_is_not_kept(registrar: Registrar) -> None:
    report = registrar.import_rows(ZOE, dry_run=True)
    assert report.import_id is None
    assert kept(registrar) == []


def test_the_lines_that_are_done_are_told_up_to_all_of_them(registrar: Registrar) -> None:
    told: list[tuple[int, int | None]] = []
    registrar.import_(
        registrar.write([ZOE, MAMADOU]), progress=lambda done, in_all: told.append((done, in_all))
    )
    assert told == [(2, 3), (2, 3), (3, 3)]
