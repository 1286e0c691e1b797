"""The SCIM connector passes the suite on a real server."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from consumers.scim.connector import Scim
from sandbox.scim import REFUSED, ScimServer
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.suite import *
from tests.integration.scim.scim_kit import Eyes


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectorBench]:
    with ScimServer(tmp_path_factory.mktemp("scim")) as server:
        yield ConnectorBench(
            connector=Scim,
            settings=lambda address: {
                "url": server.url.replace(f"127.0.0.1:{server.port}", address),
                "token_file": server.token_file,
                "groups": ("cohorts",),
            },
            address=f"127.0.0.1:{server.port}",
            stranger=lambda account: Eyes(server).make(
                "/Users", userName=account.principal, emails=[{"value": account.mail}]
            ),
            refuse=lambda account: account.model_copy(update={"mail": f"{account.login}{REFUSED}"}),
            product=f"scim2-server {version('scim2-server')}",
        )


def test_the_command_checks_each_section_and_the_list_says_what_is_proven(tmp_path: Path) -> None:
    with ScimServer(tmp_path / "scim") as server:
        config = tmp_path / "sesame.toml"
        config.write_text(
            f'data_dir = "{tmp_path}"\ntargets = ["library"]\n[library]\nconnector = "scim"\n'
            f'url = "{server.url}"\ntoken_file = "{server.token_file}"\n',
            encoding="utf-8",
        )

        def sesame(*words: str) -> Any:
            command = [sys.executable, "-m", "sesame", "--config", str(config), *words, "--json"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
            return json.loads(done.stdout)

        report = sesame("connector", "check", "library")
        assert (report["failed"], report["passed"] > 20) == ([], True)
        lines = {each["name"]: each for each in sesame("connector", "list")}
        assert len(lines["library"]["proven"]) == report["passed"]
        assert lines["scim"]["proven"] == []
        assert Eyes(server).users() == {}, "the check erases what it made"


def test_a_target_that_is_only_observed_is_not_checked(tmp_path: Path) -> None:
    with ScimServer(tmp_path / "scim", record=True) as server:
        config = tmp_path / "sesame.toml"
        config.write_text(
            f'data_dir = "{tmp_path}"\ntargets = ["scim"]\n[scim]\nmode = "observe"\n'
            f'url = "{server.url}"\ntoken_file = "{server.token_file}"\n',
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "sesame", "--config", str(config), "connector", "check", "scim"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        assert (done.returncode, "only observed" in done.stderr) == (2, True)
        assert server.requests() == []
