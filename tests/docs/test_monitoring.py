"""What is shipped for Prometheus and Grafana: current, well formed, and about metrics that exist."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from sesame.app.observability.metrics import Metrics

ROOT = Path(__file__).parents[2]
PROMETHEUS, GRAFANA = ROOT / "ops" / "prometheus", ROOT / "ops" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
RULES = yaml.safe_load((PROMETHEUS / "rules.yml").read_text(encoding="utf-8"))
ALL_RULES = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in ALL_RULES if "alert" in rule]
TEST_FILES = sorted(PROMETHEUS.glob("*.test.yml"))
TESTS = [test for path in TEST_FILES for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]]
INDEX, *_CHAPTERS = (ROOT / "docs" / "how-to" / "runbooks.md").read_text(encoding="utf-8").split("\n## ")
RUNBOOKS = dict(each.split("\n", 1) for each in _CHAPTERS)
"""The chapter of each alert."""

RECORDED = {rule["record"] for rule in ALL_RULES if "record" in rule}


def program(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"build_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def promtool() -> str:
    return the_program("promtool", "prometheus")


@pytest.fixture
def amtool() -> str:
    return the_program("amtool", "prometheus-alertmanager")


def the_program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        message = f"there is no {name}: make setup installs Debian's {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def queries() -> list[tuple[str, str]]:
    """Every query of every dashboard, with its panel."""
    return [
        (f"{path.stem}: {panel['title']}", target["expr"])
        for path in DASHBOARDS
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        for target in panel["targets"]
    ]


def series() -> dict[str, set[str]]:
    """Every series that a process shows, with its labels."""
    found: dict[str, set[str]] = {}
    for each in Metrics().definitions:
        labels = set(each.labels)
        if each.kind == "histogram":
            found |= {f"{each.name}_sum": labels, f"{each.name}_count": labels}
            found[f"{each.name}_bucket"] = labels | {"le"}
        else:
            found[each.name] = labels
    return found


def test_the_dashboards_are_those_that_are_written_down() -> None:
    texts = program(GRAFANA / "build.py").texts()
    assert {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS} == texts


def test_the_rules_are_those_that_are_written_down() -> None:
    assert (PROMETHEUS / "rules.yml").read_text(encoding="utf-8") == program(PROMETHEUS / "build.py").text()


@pytest.mark.parametrize(("panel", "query"), queries())
def test_a_query_names_series_and_labels_that_exist(panel: str, query: str) -> None:
    names_only_what_exists(query)


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_series_and_labels_that_exist(rule: dict[str, Any]) -> None:
    names_only_what_exists(rule["expr"])


def names_only_what_exists(query: str) -> None:
    known = series()
    named = re.findall(r"sesame_\w+", query)
    recorded = re.findall(r"sesame:[\w:]+", query)
    assert named or recorded or query.startswith('up{job="sesame"}')
    assert set(recorded) <= RECORDED
    assert set(named) <= known.keys()
    for name, matchers in re.findall(r"(sesame_\w+)\{([^}]*)\}", query):
        assert set(re.findall(r"(\w+)=~?\"", matchers)) <= known[name]
    grouped = {
        label for labels in re.findall(r"(?:by|on) \(([^)]*)\)", query) for label in labels.split(", ")
    }
    assert grouped <= set().union(*(known[name] for name in named), {"le", "instance"})


def test_prometheus_can_read_every_query_of_the_dashboards(promtool: str, tmp_path: Path) -> None:
    as_rules = [
        {
            "record": f"test:query{index}",
            "expr": query.replace("$__rate_interval", "5m").replace("$__range", "1h"),
        }
        for index, (_, query) in enumerate(queries())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": as_rules}]}), encoding="utf-8")
    checked = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(as_rules)} rules found" in checked.stdout


def test_prometheus_takes_the_configuration_and_the_alerts_fire_when_they_should(promtool: str) -> None:
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", *TEST_FILES]):
        ran = subprocess.run(
            [promtool, *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_is_tested_and_explained(rule: dict[str, Any]) -> None:
    wanted = [
        case
        for test in TESTS
        for case in test.get("alert_rule_test", ())
        if case["alertname"] == rule["alert"]
    ]
    assert any(case["exp_alerts"] for case in wanted), "no test sees it fire"
    assert rule["annotations"]["runbook_url"] == "{{ $externalLabels.runbooks }}#" + rule["alert"].lower()
    text = RUNBOOKS[rule["alert"]]
    assert all(f"**{part}**" in text for part in ("What it means", "Where to look", "Then"))


def test_every_runbook_is_some_alerts_and_is_found_in_the_table() -> None:
    assert RUNBOOKS.keys() == {rule["alert"] for rule in ALERTS}
    found = re.findall(r"\]\(#(\w+)\)", INDEX)
    assert sorted(found) == sorted(name.lower() for name in RUNBOOKS)


@pytest.mark.parametrize("file", [PROMETHEUS / "prometheus.yml", ROOT / "ops" / "compose" / "prometheus.yml"])
def test_the_links_of_alerts_have_a_beginning_and_processes_the_job_that_the_rules_know(file: Path) -> None:
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert settings["global"]["external_labels"]["runbooks"].startswith("https://")
    assert settings["global"]["external_labels"]["runbooks"].endswith("/docs/how-to/runbooks.md")
    assert [job["job_name"] for job in settings["scrape_configs"]] == ["sesame"]


def routed(amtool: str, **labels: str) -> str:
    command = [amtool, "config", "routes", "test", "--config.file", str(PROMETHEUS / "alertmanager.yml")]
    command += [f"{name}={value}" for name, value in labels.items()]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_alertmanager_takes_the_example_and_tells_the_right_people(amtool: str) -> None:
    checked = subprocess.run(
        [amtool, "check-config", PROMETHEUS / "alertmanager.yml"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    receivers = {"page": "at-once", "ticket": "during-the-day"}
    assert {rule["labels"]["severity"] for rule in ALERTS} == set(receivers)
    for rule in ALERTS:
        severity = rule["labels"]["severity"]
        assert routed(amtool, alertname=rule["alert"], severity=severity) == receivers[severity]
    settings = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text(encoding="utf-8"))
    names = {rule["alert"] for rule in ALERTS}
    for rule in settings["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            pattern = re.compile(re.search(r'"(.*)"', matcher)[1])  # type: ignore[index]
            assert any(pattern.fullmatch(name) for name in names), matcher
