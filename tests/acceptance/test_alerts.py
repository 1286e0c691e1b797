"""Alerts by real faults: Sésame's processes, and Prometheus and Alertmanager with what is shipped for them.

Intervals and waits are a second in place of minutes; expressions, routes and links are the shipped ones.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.demo.pipeline import SesameProcess
from sandbox.ports import free_port
from sandbox.postgres import Postgres
from sandbox.process import PATIENCE_S, ManagedProcess, MissingServer, wait_until
from sesame.testing.servers import require_service
from sesame.testing.servers.processes import MOODLE, PROPAGATION, REGISTRY, ManySite

pytestmark = pytest.mark.timeout(1800)

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "ops" / "prometheus"
STUDENTS = 5


class Watchers:
    """Prometheus and Alertmanager on loopback, who write down what they are told to say.

    Attributes:
        firing: the alerts that somebody was told of and that have not been resolved, by name and labels.
    """

    def __init__(self, folder: Path) -> None:
        self.firing: dict[tuple[str, frozenset[tuple[str, str]]], dict[str, Any]] = {}
        self._folder = folder
        self._targets = folder / "targets.json"
        self._pages = _serve(partial(_Quiet, directory=str(ROOT)))
        self._told = _serve(partial(_Receiver, self._note))
        port = free_port()
        self._processes = [self._alertmanager(port), self._prometheus(free_port(), port)]

    def start(self, *scraped: SesameProcess) -> None:
        """Watch these."""
        targets = [f"127.0.0.1:{process.port}" for process in scraped]
        self._targets.write_text(json.dumps([{"targets": targets}]), encoding="utf-8")
        for process in self._processes:
            process.start()

    def names(self, **labels: str) -> set[str]:
        """The alerts that fire, of those that have these labels."""
        return {name for name, has in list(self.firing) if labels.items() <= dict(has).items()}

    def link_opens(self, name: str) -> bool:
        """Whether the link of an alert that fires leads to the chapter that explains it."""
        [alert, *_] = [one for (known, _), one in self.firing.items() if known == name]
        with urllib.request.urlopen(alert["annotations"]["runbook_url"], timeout=PATIENCE_S) as answer:  # noqa: S310  # ours
            return f"\n## {name}\n" in answer.read().decode()

    def close(self) -> None:
        """End everything."""
        for process in self._processes:
            process.kill()
        for server in (self._pages, self._told):
            server.shutdown()
            server.server_close()

    def _note(self, message: dict[str, Any]) -> None:
        for alert in message["alerts"]:
            labels = dict(alert["labels"])
            key = labels.pop("alertname"), frozenset(labels.items())
            if alert["status"] == "firing":
                self.firing[key] = alert
            else:
                self.firing.pop(key, None)

    def _prometheus(self, port: int, alertmanager: int) -> ManagedProcess:
        rules = yaml.safe_load((SHIPPED / "rules.yml").read_text(encoding="utf-8"))
        for rule in (rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule):
            rule["for"] = "1s"
        (self._folder / "rules.yml").write_text(json.dumps(rules), encoding="utf-8")
        settings = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
        settings["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        pages = f"http://127.0.0.1:{self._pages.server_port}/docs/how-to/runbooks.md"
        settings["global"]["external_labels"]["runbooks"] = pages
        settings["alerting"]["alertmanagers"] = [
            {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}
        ]
        [job] = settings["scrape_configs"]
        del job["static_configs"]
        job["file_sd_configs"] = [{"files": [str(self._targets)], "refresh_interval": "1s"}]
        file = self._folder / "prometheus.yml"
        file.write_text(json.dumps(settings), encoding="utf-8")
        arguments = [f"--config.file={file}", f"--storage.tsdb.path={self._folder / 'tsdb'}"]
        return self._server("prometheus", port, arguments)

    def _alertmanager(self, port: int) -> ManagedProcess:
        settings = yaml.safe_load((SHIPPED / "alertmanager.yml").read_text(encoding="utf-8"))
        settings["global"] = {}
        settings["route"] |= {"group_wait": "1s", "group_interval": "1s"}
        for receiver in settings["receivers"]:
            receiver.pop("email_configs")
            url = f"http://127.0.0.1:{self._told.server_port}/"
            receiver["webhook_configs"] = [{"url": url, "send_resolved": True}]
        file = self._folder / "alertmanager.yml"
        file.write_text(json.dumps(settings), encoding="utf-8")
        storage = f"--storage.path={self._folder / 'alertmanager'}"
        arguments = [f"--config.file={file}", storage, "--cluster.listen-address="]
        return self._server("prometheus-alertmanager", port, arguments)

    def _server(self, name: str, port: int, arguments: list[str]) -> ManagedProcess:
        program = shutil.which(name)
        if program is None:
            raise MissingServer(name, name)

        def ready() -> bool:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5):  # ours
                return True

        return ManagedProcess(
            name,
            [program, f"--web.listen-address=127.0.0.1:{port}", *arguments],
            log_file=self._folder / f"{name}.log",
            ready=ready,
            start_timeout_s=60.0,
        )


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        pass


class _Receiver(BaseHTTPRequestHandler):
    def __init__(self, told: Any, *args: Any) -> None:
        self._note = told
        super().__init__(*args)

    def do_POST(self) -> None:
        self._note(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


def _serve(handler: Any) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def site(tmp_path: Path, own_postgres: Postgres) -> Iterator[ManySite]:
    with closing(ManySite(tmp_path, own_postgres.url(sslrootcert=str(own_postgres.ca_file)))) as site:
        yield site


@pytest.fixture
def watchers(tmp_path: Path) -> Iterator[Watchers]:
    folder = tmp_path / "watchers"
    folder.mkdir()
    with ExitStack() as stack:
        made = require_service(lambda: Watchers(folder))
        stack.callback(made.close)
        yield made


def test_alerts_are_fired_by_real_faults_arrive_and_clear(
    site: ManySite, watchers: Watchers, own_postgres: Postgres
) -> None:
    """A process is killed, then Moodle refuses us, then the database is away."""
    others = [site.start("consume", name) for name in (REGISTRY, PROPAGATION)]
    moodle, serving = site.start("consume", MOODLE), site.start("serve")
    watchers.start(*others, moodle, serving)
    instance = f"127.0.0.1:{moodle.port}"

    moodle.kill()
    dead = {"SesameProcessGone", "SesameProcessSilent", "SesameConsumerDown"}
    wait_until(lambda: dead <= watchers.names(), f"{dead} to arrive", PATIENCE_S)
    assert watchers.names(instance=instance) == {"SesameProcessGone"}
    assert watchers.names(consumer=MOODLE) == {"SesameProcessSilent", "SesameConsumerDown"}
    assert watchers.names() == dead
    assert all(watchers.link_opens(name) for name in dead)
    overview = site.sesame.run("overview").out
    assert re.search(
        r"^  moodle is silent for \d+ s \(\S+:\d+\), last state running$", overview, re.MULTILINE
    )
    moodle.start()
    wait_until(lambda: not watchers.firing, "the alerts of the dead process to clear", PATIENCE_S)

    site.moodle.control(service_user_suspended=True)
    site.enrol(STUDENTS)
    wait_until(lambda: site.accounts() == STUDENTS, "accounts", PATIENCE_S)
    site.activate()
    wait_until(
        lambda: watchers.names(consumer=MOODLE, instance=instance) == {"SesameTargetDown"},
        "Moodle's refusal to arrive",
        PATIENCE_S,
    )
    assert watchers.link_opens("SesameTargetDown")
    site.moodle.reset()
    wait_until(lambda: not watchers.firing, "the alert of the target to clear", PATIENCE_S)

    own_postgres.stop()
    wait_until(lambda: "SesameBlind" in watchers.names(), "blindness to arrive", PATIENCE_S)
    assert watchers.link_opens("SesameBlind")
    own_postgres.start()
    wait_until(lambda: not watchers.names() & {"SesameBlind"}, "sight to come back", PATIENCE_S)
    wait_until(lambda: site.settled() == STUDENTS, "everybody to be settled after all", PATIENCE_S)
