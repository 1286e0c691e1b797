"""The port for metrics and health, over real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from consumers.propagation import times
from consumers.propagation.times import ClosedWindow
from pipeline import accounts
from pipeline.errors import DependencyDown
from sandbox.process import PATIENCE_S
from schemas.account import Lane, Membership, Requirement
from sesame.app.health import health_server, portal_health_server
from sesame.app.observability.http import Check, HttpServer, PortTaken
from sesame.app.observability.metrics import Metrics
from sesame.app.wiring import build
from sesame.operations.people.diagnosis.figures import PropagationFigures
from sesame.settings import Settings
from sesame.settings.runtime import HttpSettings
from sesame.testing.servers.accounts import account_of


def fine() -> str | None:
    return None


def store_away() -> str | None:
    raise DependencyDown("the database is away")


def no_figures() -> PropagationFigures:
    raise DependencyDown("the database is away")


def unforeseen() -> str | None:
    raise KeyError("zoe.lefevre")


@contextmanager
def serving(
    *, live: dict[str, Check] | None = None, ready: dict[str, Check] | None = None, check_s_max: float = 5.0
) -> Iterator[str]:
    server = HttpServer(
        Metrics(), live=live or {}, ready=ready or {}, figures=no_figures, check_s_max=check_s_max
    )
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


def test_metrics_are_served_in_prometheus_text_form() -> None:
    with serving() as url:
        answer = httpx.get(f"{url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "sesame_scrape_errors_total 0.0" in answer.text


def test_health_says_ok_and_names_each_check() -> None:
    with serving(live={"loops": fine}, ready={"store": fine, "log": fine}) as url:
        live, ready = httpx.get(f"{url}/livez"), httpx.get(f"{url}/readyz")
    assert live.json() == {"status": "ok", "checks": {"loops": "ok"}}
    assert ready.json() == {"status": "ok", "checks": {"store": "ok", "log": "ok"}}


def test_a_missing_dependency_makes_a_process_unready_and_not_dead() -> None:
    with serving(live={"loops": fine}, ready={"store": store_away, "log": fine}) as url:
        live, ready = httpx.get(f"{url}/livez"), httpx.get(f"{url}/readyz")
    assert (live.status_code, ready.status_code) == (200, 503)
    assert ready.json()["checks"] == {"store": "the database is away", "log": "ok"}


def test_a_fault_that_nobody_foresaw_is_named_by_its_class_only() -> None:
    with serving(ready={"odd": unforeseen, "told": lambda: "the key is missing"}) as url:
        answer = httpx.get(f"{url}/readyz")
    assert answer.json()["checks"] == {"odd": "KeyError", "told": "the key is missing"}


def test_a_check_that_hangs_is_a_failed_check() -> None:
    let_go = threading.Event()

    def hangs() -> str | None:
        let_go.wait(PATIENCE_S)
        return None

    with serving(ready={"store": hangs}, check_s_max=0.05) as url:
        answer = httpx.get(f"{url}/readyz")
        let_go.set()
    assert answer.status_code == 503
    assert "no answer within" in answer.json()["checks"]["store"]


def test_nothing_else_is_served() -> None:
    with serving() as url:
        found = [httpx.get(f"{url}/{path}").status_code for path in ("", "docs", "openapi.json")]
        posted = httpx.post(f"{url}/metrics").status_code
    assert (found, posted) == ([404, 404, 404], 405)


def test_a_port_that_is_taken_is_an_error_that_says_what_to_set() -> None:
    with serving() as url:
        port = int(url.rpartition(":")[2])
        other = HttpServer(Metrics(), live={}, ready={}, figures=no_figures, port=port)
        with pytest.raises(PortTaken) as caught:
            other.start()
        other.stop()
    assert "http.port" in caught.value.remedy


def test_a_server_that_was_stopped_listens_no_more() -> None:
    with serving() as url:
        assert httpx.get(f"{url}/livez").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/livez")


@pytest.mark.parametrize("wanted", [None, 0])
def test_the_pages_have_a_port_for_operators_if_one_is_named(tmp_path: Path, wanted: int | None) -> None:
    metrics = Metrics()
    metrics.portal_passwords.labels("activated").inc()
    application = build(Settings(data_dir=tmp_path, portal={"metrics_port": wanted}))
    server = portal_health_server(application, metrics)
    assert (server is None) == (wanted is None)
    if server is not None:
        server.start()
        try:
            shown = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text
        finally:
            server.stop()
        assert 'sesame_portal_passwords_total{result="activated"} 1.0' in shown
        assert 'sesame_portal_refusals_total{kind="code"} 0.0' in shown
    application.close()


def test_how_fast_it_is_can_be_read_by_every_site(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, http=HttpSettings(port=0))
    application = build(settings)
    server = health_server(application, Metrics(), {})
    assert server is not None
    server.start()
    try:
        answer = httpx.get(f"http://127.0.0.1:{server.port}/metrics/propagation.json")
    finally:
        server.stop()
        application.close()
    assert answer.json()["lanes"]["personal"]["all"] is None
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "public, max-age=60"


def test_the_quantiles_of_each_span_are_metrics_and_a_small_cohort_is_none(tmp_path: Path) -> None:
    application = build(Settings(data_dir=tmp_path, http=HttpSettings(port=0)))
    with application.database.write() as connection:
        now = application.database.now(connection)
        for place in range(10):
            cohorts = [_cohort("L1INFO-2026"), *([_cohort("rare")] if place else [])]
            account = account_of(
                f"{place}", f"login.{place}", activated_at=datetime.fromtimestamp(now, UTC), cohorts=cohorts
            )
            accounts.save(connection, account, now)
        done = [ClosedWindow(f"{n}", Lane.PERSONAL, now, now - 4.0, 4.0, {"moodle": 2.0}) for n in range(10)]
        times.count(connection, application.database, done)
    metrics = Metrics()
    server = health_server(application, metrics, {})
    assert server is not None
    shown = [line for line in metrics.exposition().decode().splitlines() if line.startswith("sesame_window_")]
    application.close()
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in shown}
    for span in ("hour", "day", "year"):
        for target, cohort, seconds in (
            ("all", "all", 4.0),
            ("moodle", "all", 2.0),
            ("all", "L1INFO-2026", 4.0),
        ):
            of = f'cohort="{cohort}"'
            whose = f'span="{span}",start="activation",target="{target}"'
            assert values[f"sesame_window_students{{{of},{whose}}}"] == 10.0
            median = values[f'sesame_window_seconds{{{of},quantile="0.5",{whose}}}']
            assert median == pytest.approx(seconds, rel=0.025)
    assert len(values) == 3 * 3 * (1 + 3)
    assert "rare" not in str(shown)


def _cohort(key: str) -> Membership:
    return Membership(key=key, name=key, requires=Requirement.PEDAGOGICAL, met=True)
