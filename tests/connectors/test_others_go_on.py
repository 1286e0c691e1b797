"""A connector of somebody else that cannot be used: the others go on, and the operator reads which one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from consumers.kit import registration
from consumers.kit.connector import ConnectorUnusable
from consumers.program.connector import ProgramConnector
from pipeline.db.database import Database
from pipeline.errors import Misconfigured
from pipeline.target import Task
from pipeline.vault import Vault
from sesame.app import targets
from sesame.settings import SettingsError, load
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.servers.stores import sqlite_store
from tests.connectors.sample import TEMPLATE

SAMPLE = (TEMPLATE / "connector.txt").read_text(encoding="utf-8")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder whose `library.py` a package brings, beside ours."""
    ours = entry_points(group=registration.GROUP)
    theirs = EntryPoint("library", "library:Library", registration.GROUP)
    monkeypatch.setattr(registration, "entry_points", lambda **_group: [*ours, theirs])
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield tmp_path
    forget()


def no_vault() -> Vault:
    raise AssertionError("this connector is given no passwords")


def forget() -> None:
    """As a process that begins knows it."""
    registration.installed.cache_clear()
    registration._load.cache_clear()  # noqa: SLF001
    sys.modules.pop("library", None)


def brought(folder: Path, text: str | None = None) -> None:
    """The module that the package names: the sample, if no other text is given."""
    (folder / "library.py").write_text(SAMPLE if text is None else text, encoding="utf-8")


def settings_of(folder: Path, text: str) -> Path:
    path = folder / "sesame.toml"
    path.write_text(f'data_dir = "{folder}"\n{text}', encoding="utf-8")
    return path


WITH = 'targets = ["moodle", "library"]\n[library]\nurl = "https://library.univ-exemple.fr"\n'


def test_a_package_s_connector_has_a_section_a_title_and_a_handler(installed: Path) -> None:
    brought(installed)
    settings = load(settings_of(installed, WITH + 'title = "La BU"\n'))
    assert settings.targets == ("moodle", "library")
    assert settings.titles["library"] == {"fr": "La BU", "en": "La BU"}
    assert getattr(settings, "library").url == "https://library.univ-exemple.fr"  # noqa: B009
    database = Database("sqlite://")
    handler = targets.handler("library", settings, database, no_vault, None)
    assert handler.describe().system == "Library https://library.univ-exemple.fr"
    handler.close()
    database.close()


def test_a_section_of_another_name_may_say_which_connector_it_is(installed: Path) -> None:
    brought(installed)
    text = WITH.replace("[library]", '[law]\nconnector = "library"').replace('"library"]', '"law"]')
    settings = load(settings_of(installed, text))
    assert settings.targets == ("moodle", "law")
    assert settings.titles["law"]["en"] == "The library"


def test_the_environment_sets_it_as_any_other_section(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought(installed)
    monkeypatch.setenv("SESAME_LIBRARY__BATCH_SIZE", "7")
    settings = load(settings_of(installed, WITH))
    assert getattr(settings, "library").batch_size == 7  # noqa: B009


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import a_library_that_is_not_there\n", "cannot be imported"),
        ("raise RuntimeError('secret of the author')\n", "cannot be imported: RuntimeError"),
        ("class Library: pass\n", "not a subclass"),
        ("Library = 3\n", "not a subclass"),
        (SAMPLE.replace("HttpConnectorSettings", "ConnectorSettings"), "its section has no batch_size"),
    ],
)
def test_a_package_that_cannot_be_used_is_its_own_trouble(installed: Path, text: str, says: str) -> None:
    brought(installed, text)
    settings = load(settings_of(installed, WITH))
    assert settings.targets == ("moodle", "library"), "the others are as they were"
    database = Database(sqlite_store(installed))
    handler = targets.handler("library", settings, database, no_vault, None)
    account = ConnectorBench(ProgramConnector, lambda _address: {}).account()
    for call in (handler.probe, lambda: handler.handle([Task(account)]), lambda: handler.preview([account])):
        with pytest.raises(Misconfigured) as stopped:
            call()
        assert says in str(stopped.value)
        assert "library" in str(stopped.value)
        assert stopped.value.remedy
        assert "secret" not in str(stopped.value)
    database.close()


def test_a_section_that_is_wrong_is_its_own_trouble_and_names_the_line(installed: Path) -> None:
    brought(installed)
    settings = load(settings_of(installed, WITH + "batch_size = 0\n"))
    fault = settings.connectors["library"].fault
    assert isinstance(fault, ConnectorUnusable)
    assert "line 5, library.batch_size: must be at least 1, and is 0" in str(fault)
    handler = targets.handler("library", settings, Database("sqlite://"), no_vault, None)
    with pytest.raises(Misconfigured, match="batch_size"):
        handler.probe()


def test_what_is_wrong_elsewhere_is_refused_as_ever(installed: Path) -> None:
    brought(installed)
    with pytest.raises(SettingsError, match=r"http\.port"):
        load(settings_of(installed, WITH + "[http]\nport = 70000\n"))


def test_a_target_that_nobody_brings_is_refused_with_the_nearest_name(installed: Path) -> None:
    brought(installed)
    with pytest.raises(SettingsError, match="did you mean library"):
        load(settings_of(installed, WITH.replace('"moodle", "library"', '"moodle", "libary"')))
