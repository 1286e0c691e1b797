"""Moodle passes the connectors' suite, on the stand-in that answers as the recorded site did."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from consumers.kit.connector import SiteFacts
from consumers.moodle.connector import MoodleConnector
from pipeline.db.database import Database
from sandbox.moodle import FaultKind, MoodleStandIn
from schemas.account import Account
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.suite import *
from sesame.testing.servers.moodle_kit import Operator
from sesame.testing.servers.stores import sqlite_store


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MoodleStandIn]:
    with MoodleStandIn(tmp_path_factory.mktemp("moodle")) as server:
        yield server


def refused(account: Account) -> Account:
    """Somebody whose mail address Moodle alone can refuse: PHP's filter takes no two dots in a row."""
    return account.model_copy(update={"mail": account.mail.replace("@", "..@")})


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(sqlite_store(tmp_path_factory.mktemp("store")))
    yield database
    database.close()


@pytest.fixture
def bench(site: MoodleStandIn, database: Database) -> ConnectorBench:
    return ConnectorBench(
        MoodleConnector,
        lambda address: {"base_url": f"http://{address}", "token": site.token, "timeout_s": 1.5},
        site.url.removeprefix("http://"),
        stranger=lambda account: Operator(site).create_user(account.login.lower()),  # Moodle takes no others
        refuse=refused,
        site=SiteFacts(database=database),
    )


# --- the command, on a site of its own ---

CHECK = ("connector", "check", "moodle")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[MoodleStandIn, Callable[..., Any]]]:
    """A site that nobody else writes to, and the command."""
    with MoodleStandIn(tmp_path / "moodle") as server:
        token = tmp_path / "token"
        token.touch(mode=0o600)
        token.write_text(server.token, encoding="ascii")
        config = tmp_path / "sesame.toml"
        config.write_text(
            f'data_dir = "{tmp_path}"\ntargets = ["moodle"]\n[moodle]\nbase_url = "{server.url}"\n'
            f'token_file = "{token}"\ntimeout_s = 2.0\n[lifecycle]\nerase = true\n',
            encoding="utf-8",
        )

        def sesame(*words: str) -> Any:
            command = [sys.executable, "-m", "sesame", "--config", str(config), *words]
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)

        yield server, sesame


def ours(operator: Operator) -> tuple[list[str], list[str]]:
    """Users and cohorts of the suite's own."""
    found = operator.call("core_user_get_users", **{"criteria[0][key]": "email", "criteria[0][value]": "%"})
    users = [each["username"] for each in found["users"] if each["username"].startswith("zz")]
    cohorts = [each["idnumber"] for each in operator.call("core_cohort_get_cohorts")]
    return users, [each for each in cohorts if each.startswith("zz")]


def doctor(sesame: Callable[..., Any]) -> tuple[str, bool]:
    """What it says of Moodle, and whether it names the right."""
    sesame("migrate")
    [found] = [each for each in json.loads(sesame("doctor", "--json").stdout) if each["check"] == "moodle"]
    return found["state"], "moodle/user:delete" in found["remedy"]


def test_without_the_right_to_delete_nothing_is_made_and_with_it_nothing_is_left(
    world: tuple[MoodleStandIn, Callable[..., Any]],
) -> None:
    server, sesame = world
    operator = Operator(server)
    server.set(missing_capabilities=["moodle/user:delete"])
    refused = sesame(*CHECK)
    assert (refused.returncode, "moodle/user:delete" in refused.stderr) == (1, True), refused
    assert doctor(sesame) == ("warn", True), "the site erases: the right is asked for before it is needed"
    assert ours(operator) == ([], [])
    server.reset()
    assert doctor(sesame) == ("ok", False)
    operator.create_user("zz01234567", idnumber="zz01234567")  # as a run that was killed has left
    operator.create_cohort("zz-check")
    operator.create_user("somebody", idnumber="22600001")
    server.set(missing_capabilities=["moodle/cohort:manage"])
    halfway = sesame(*CHECK, "--clean")
    server.reset()
    assert halfway.returncode == 1, halfway
    cleaned = sesame(*CHECK, "--clean", "--json")
    assert json.loads(cleaned.stdout) == {"passed": 0, "failed": [], "skipped": [], "left": []}
    assert ours(operator) == ([], [])
    assert operator.user("22600001")["username"] == "somebody"


def test_what_the_suite_leaves_is_listed(world: tuple[MoodleStandIn, Callable[..., Any]]) -> None:
    server, sesame = world
    operator = Operator(server)
    id_ = operator.create_user("zz01234567", idnumber="zz01234567")
    server.fault(FaultKind.DEADLOCK, calls=1000, wsfunction="core_user_delete_users")
    left = sesame(*CHECK, "--clean")
    assert left.returncode == 1
    assert f"left: {id_} (zz01234567)" in left.stdout
    assert "sesame connector check moodle --clean" in left.stderr
