"""Writes the dashboards in this folder: the window, one target, the day when everybody arrives.

Run it after a change: `python ops/grafana/build.py`. A test says when the files are not current, and that
each query names a metric that exists. Figures that every process reads from the store are taken once (`max`);
those that each process counts for itself are added up (`sum`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WIDTH = 24
SOURCE = {"type": "prometheus", "uid": "${source}"}


class Board:
    """One dashboard, filled from left to right and from top to bottom."""

    def __init__(self, uid: str, title: str, *, span: str, variables: list[dict[str, Any]]) -> None:
        self._uid, self._title, self._span, self._variables = uid, title, span, variables
        self._panels: list[dict[str, Any]] = []
        self._x = self._y = self._row = 0

    def add(
        self,
        kind: str,
        title: str,
        queries: dict[str, str],
        *,
        unit: str = "short",
        width: int = 8,
        height: int = 8,
        text: str = "",
        steps: tuple[tuple[float | None, str], ...] = ((None, "text"),),
    ) -> None:
        """Add a panel; `queries` by legend."""
        if self._x + width > WIDTH:
            self._x, self._y, self._row = 0, self._y + self._row, 0
        thresholds = {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in steps],
        }
        self._panels.append(
            {
                "id": len(self._panels) + 1,
                "type": kind,
                "title": title,
                "description": text,
                "datasource": SOURCE,
                "gridPos": {"x": self._x, "y": self._y, "w": width, "h": height},
                "fieldConfig": {
                    "defaults": {"unit": unit, "min": 0, "thresholds": thresholds},
                    "overrides": [],
                },
                "targets": [
                    {
                        "refId": chr(ord("A") + index),
                        "expr": query,
                        "legendFormat": legend,
                        "datasource": SOURCE,
                    }
                    for index, (legend, query) in enumerate(queries.items())
                ],
            }
        )
        self._x, self._row = self._x + width, max(self._row, height)

    def as_json(self) -> dict[str, Any]:
        """The dashboard as Grafana reads it."""
        source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
        return {
            "uid": self._uid,
            "title": self._title,
            "tags": ["sesame"],
            "timezone": "browser",
            "schemaVersion": 39,
            "refresh": "30s",
            "time": {"from": f"now-{self._span}", "to": "now"},
            "templating": {"list": [source, *self._variables]},
            "panels": self._panels,
        }


GOOD = ((None, "red"), (0.99, "green"))
FEW = ((None, "green"), (1, "orange"), (50, "red"))
INSIDE = 'sum(increase(sesame_propagation_in_window_total{{window=~"{windows}"}}[$__range]))'
LATE = 'sum(increase(sesame_propagation_late_total{{edge="{edge}"}}[$__range]))'


def share(windows: str, edge: str) -> str:
    """The share of persons' propagations that ended inside an edge."""
    inside, late = INSIDE.format(windows=windows), LATE.format(edge=edge)
    return f"{inside} / ({inside} + {late})"


def at(quantile: float, labels: str, by: str = "le") -> str:
    """A quantile of the propagation's duration."""
    buckets = f"sum by ({by}) (rate(sesame_propagation_seconds_bucket{{{labels}}}[$__rate_interval]))"
    return f"histogram_quantile({quantile}, {buckets})"


def the_window() -> Board:
    """Is the promise kept?"""
    board = Board("sesame-window", "Sésame: the window", span="24h", variables=[])
    board.add(
        "stat",
        "Inside 15 minutes (wanted: 99 %)",
        {"": share("within_15_min", "15_min")},
        unit="percentunit",
        steps=GOOD,
    )
    board.add(
        "stat",
        "Inside 60 minutes (wanted: 99.9 %)",
        {"": share("within_15_min|within_60_min", "60_min")},
        unit="percentunit",
        steps=((None, "red"), (0.999, "green")),
    )
    board.add(
        "stat",
        "Oldest person in progress",
        {"": 'max(sesame_propagation_oldest_seconds{lane="personal"})'},
        unit="s",
        steps=((None, "green"), (900, "orange"), (3600, "red")),
    )
    board.add(
        "timeseries",
        "From act to everywhere, persons",
        {
            name: at(value, 'target="all",lane="personal"')
            for name, value in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        },
        unit="s",
        width=12,
    )
    board.add(
        "timeseries",
        "p95 by target, persons",
        {"{{target}}": at(0.95, 'target!="all",lane="personal"', "le, target")},
        unit="s",
        width=12,
    )
    board.add(
        "timeseries",
        "Completed, by window",
        {"{{window}}": "sum by (window) (rate(sesame_propagation_in_window_total[$__rate_interval]))"},
        unit="ops",
        width=12,
    )
    board.add(
        "timeseries",
        "Passed an edge",
        {"{{edge}}": "sum by (edge) (increase(sesame_propagation_late_total[$__rate_interval]))"},
        width=12,
    )
    board.add(
        "timeseries",
        "Waiting for a precondition: not Sésame's to end",
        {"{{target}}: {{reason}}": "max by (target, reason) (sesame_waiting)"},
        width=12,
    )
    board.add(
        "timeseries",
        "Share of the error budget used, over an hour",
        {
            "15 minutes": "sesame:propagation_late:ratio_rate1h:15_min / 0.01",
            "60 minutes": "sesame:propagation_late:ratio_rate1h:60_min / 0.001",
        },
        width=12,
        text="Above 14.4 somebody is called.",
    )
    for start, title in (
        ("activation", "From activation to everywhere"),
        ("enrolment", "From the registrar's change to everywhere"),
    ):
        whole = f'start="{start}",target="all",cohort="all"'
        board.add(
            "timeseries",
            title,
            {
                "{{span}}: p{{quantile}}": f"max by (span, quantile) (sesame_window_seconds{{{whole}}})",
            },
            unit="s",
            width=12,
            text="Every completion within the last hour, day and year, to 2.5 %.",
        )
    board.add(
        "bargauge",
        "p95 by cohort, from activation, over a day",
        {
            "{{cohort}}": 'max by (cohort) (sesame_window_seconds{start="activation",span="day",target="all",'
            'cohort!="all",quantile="0.95"})'
        },
        unit="s",
        width=24,
        text="Cohorts of ten and more.",
    )
    board.add(
        "timeseries",
        "The canary's steps",
        {
            "{{step}}": "max by (step) (sesame_canary_seconds)",
            "{{step}} failed": "max by (step) (sesame_canary_seconds) and on (step) sesame_canary_ok == 0",
        },
        unit="s",
        width=24,
        text="The newest run, every five minutes; targets since the activation.",
    )
    return board


def one_target() -> Board:
    """How is it with this target?"""
    chosen = {
        "name": "target",
        "label": "Target",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": "label_values(sesame_target_call_seconds_count, target)", "refId": "target"},
        "refresh": 2,
    }
    board = Board("sesame-target", "Sésame: one target", span="6h", variables=[chosen])
    here, of_it = 'target="$target"', 'consumer="$target"'
    board.add(
        "stat",
        "Circuit: 0 closed, 1 half open, 2 open",
        {"": f"max(sesame_circuit_state{{{of_it}}})"},
        width=6,
        steps=((None, "green"), (1, "orange"), (2, "red")),
    )
    board.add("stat", "Records to read", {"": f"sum(sesame_lag_records{{{of_it}}})"}, width=6)
    board.add("stat", "Tried again", {"": f'max(sesame_parked{{{of_it},kind="retry"}})'}, width=6, steps=FEW)
    board.add(
        "stat",
        "Dead letters",
        {"": f"sum(max by (cause) (sesame_dead_letters{{{of_it}}}))"},
        width=6,
        steps=FEW,
    )
    board.add(
        "timeseries",
        "Students' turns",
        {"{{result}}": f"sum by (result) (rate(sesame_attempts_total{{{of_it}}}[$__rate_interval]))"},
        unit="ops",
        width=12,
    )
    board.add(
        "timeseries",
        "Written, or found as it should be",
        {"{{result}}": f"sum by (result) (rate(sesame_target_changes_total{{{here}}}[$__rate_interval]))"},
        unit="ops",
        width=12,
    )
    calls = f"sum by (le) (rate(sesame_target_call_seconds_bucket{{{here}}}[$__rate_interval]))"
    sizes = f"sum(rate(sesame_target_batch_students_sum{{{here}}}[$__rate_interval]))"
    counts = f"sum(rate(sesame_target_batch_students_count{{{here}}}[$__rate_interval]))"
    board.add(
        "timeseries",
        "Duration of a call",
        {"p50": f"histogram_quantile(0.5, {calls})", "p99": f"histogram_quantile(0.99, {calls})"},
        unit="s",
    )
    board.add("timeseries", "Students in a call", {"mean": f"{sizes} / {counts}"})
    board.add(
        "timeseries",
        "Records to read, by topic",
        {"{{topic}}": f"sum by (topic) (sesame_lag_records{{{of_it}}})"},
    )
    board.add(
        "timeseries",
        "Dead letters by cause",
        {"{{cause}}": f"max by (cause) (sesame_dead_letters{{{of_it}}})"},
        width=12,
    )
    board.add("timeseries", "Parked", {"{{kind}}": f"max by (kind) (sesame_parked{{{of_it}}})"}, width=12)
    return board


def the_arrival() -> Board:
    """The day when everybody arrives: is anybody stuck, and where?"""
    board = Board("sesame-rentree", "Sésame: the rentrée day", span="12h", variables=[])
    state = 'sum(max by (state, lane) (sesame_propagations{{state="{state}"}}))'
    board.add("stat", "Accounts everywhere", {"": state.format(state="completed")}, width=6)
    board.add("stat", "In progress", {"": state.format(state="in_progress")}, width=6)
    board.add("stat", "Waiting for a precondition", {"": state.format(state="waiting")}, width=6)
    board.add("stat", "Failed", {"": state.format(state="failed")}, width=6, steps=FEW)
    board.add(
        "timeseries",
        "Completed a minute",
        {"{{window}}": "60 * sum by (window) (rate(sesame_propagation_in_window_total[$__rate_interval]))"},
        width=12,
    )
    board.add(
        "timeseries",
        "Records to read, by consumer",
        {"{{consumer}}": "sum by (consumer) (sesame_lag_records)"},
        width=12,
    )
    board.add(
        "timeseries",
        "Students' turns a second, by target",
        {"{{consumer}}": "sum by (consumer) (rate(sesame_attempts_total[$__rate_interval]))"},
        width=12,
    )
    board.add(
        "timeseries",
        "Circuits: 0 closed, 1 half open, 2 open",
        {"{{consumer}}": "max by (consumer) (sesame_circuit_state)"},
        width=12,
    )
    board.add("timeseries", "Events to send", {"outbox": "max(sesame_outbox_rows)"})
    board.add(
        "timeseries",
        "Since the last import",
        {"{{feed}}": "time() - max by (feed) (sesame_import_finished_timestamp_seconds)"},
        unit="s",
    )
    board.add(
        "table",
        "The last import of each feed, lines",
        {"{{feed}}: {{result}}": "max by (feed, result) (sesame_import_lines)"},
    )
    return board


BOARDS = {"window.json": the_window, "target.json": one_target, "rentree.json": the_arrival}


def texts() -> dict[str, str]:
    """Each file's text."""
    return {
        name: json.dumps(make().as_json(), indent=2, ensure_ascii=False) + "\n"
        for name, make in BOARDS.items()
    }


if __name__ == "__main__":
    for file, text in texts().items():
        (HERE / "dashboards").mkdir(exist_ok=True)
        (HERE / "dashboards" / file).write_text(text, encoding="utf-8")
