"""Metrics: defined once, with names and labels that keep the rules, and all of them fed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sesame.app.observability.metrics import LABELS, Definition, Metrics

ROOT = Path(__file__).parents[4]
OF_A_PERSON = ("student", "number", "login", "mail", "name", "user", "uid", "ine", "person")


@pytest.mark.parametrize("each", Metrics().definitions, ids=lambda each: each.name)
def test_a_metric_keeps_the_rules_of_naming(each: Definition) -> None:
    assert each.name.startswith("sesame_")
    assert each.name.endswith("_total") == (each.kind == "counter")
    assert not re.search(r"_(ms|millis|minutes|hours|kb|mb)(_|$)", each.name), "base units only"
    assert each.kind != "histogram" or each.name.endswith(("_seconds", "_students"))
    assert each.help.endswith(".")
    assert set(each.labels) <= set(LABELS)


def test_no_label_identifies_a_person() -> None:
    assert [label for label in LABELS if any(word in label for word in OF_A_PERSON)] == []


def test_a_label_that_is_not_on_the_list_cannot_be_used() -> None:
    with pytest.raises(ValueError, match="student_number"):
        Metrics()._counter("thing_total", "A thing.", ("student_number",))  # noqa: SLF001 (the one way in)


def test_every_label_is_used_by_some_metric() -> None:
    used = {label for each in Metrics().definitions for label in each.labels}
    assert used == set(LABELS)


def test_every_metric_is_fed_by_some_code() -> None:
    defined = {name for name in vars(Metrics()) if hasattr(vars(Metrics())[name], "describe")}
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "sesame").rglob("*.py"))
    fed = {name for name in defined if re.search(rf"\.{name}\b(?! = self\._)", code)}
    assert defined - {"registry"} - fed == set()


def test_the_objectives_are_buckets_so_that_the_share_inside_is_exact() -> None:
    metrics = Metrics()
    metrics.propagation_seconds.labels("all", "personal").observe(900)
    buckets = {
        sample.labels["le"]
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
        if sample.name == "sesame_propagation_seconds_bucket"
    }
    assert {"900.0", "3600.0"} <= buckets


def test_two_processes_lives_share_nothing() -> None:
    first, second = Metrics(), Metrics()
    first.log_fields_dropped.inc(3)
    assert b"sesame_log_fields_dropped_total 3.0" in first.exposition()
    assert b"sesame_log_fields_dropped_total 0.0" in second.exposition()


def test_gauges_are_refreshed_when_somebody_looks() -> None:
    metrics = Metrics()
    metrics.refresh_with(lambda: metrics.outbox_rows.set(7))
    assert b"sesame_outbox_rows 7.0" in metrics.exposition()


def test_a_gauge_that_cannot_be_read_hides_nothing_and_is_counted() -> None:
    def broken() -> None:
        raise OSError("the disk is gone")

    metrics = Metrics()
    metrics.refresh_with(broken)
    metrics.refresh_with(lambda: metrics.outbox_rows.set(7))
    shown = metrics.exposition()
    assert b"sesame_outbox_rows 7.0" in shown
    assert b"sesame_scrape_errors_total 1.0" in shown
