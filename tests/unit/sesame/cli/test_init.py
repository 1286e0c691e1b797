"""`sesame init`: from an empty folder to a site whose key and database are there."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sesame.testing.servers.command import sesame

SECRETS = {"cas-probe-password", "doveadm-key", "ldap-password", "moodle-token", "smtp-password"}


@pytest.fixture(params=["named", "here"])
def site(
    request: pytest.FixtureRequest, tmp_path: Path, no_variables: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, list[str]]]:
    """An empty folder, and how a command names its settings: by `--config`, or by nothing."""
    folder = tmp_path / "site"
    folder.mkdir(mode=0o755)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    named = request.param == "named"
    monkeypatch.chdir(elsewhere if named else folder)
    yield folder, ["--config", str(folder / "sesame.toml")] if named else []
    assert list(elsewhere.iterdir()) == []


def fill(folder: Path) -> None:
    for name in SECRETS:
        (folder / name).write_text(f"of {name}\n", encoding="utf-8")
    file = folder / "sesame.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"/var/lib/sesame"', '"data"'), encoding="utf-8")


def test_settings_and_an_empty_file_for_each_secret_are_written(site: tuple[Path, list[str]]) -> None:
    folder, config = site
    (folder / "moodle-token").write_text("there before\n", encoding="utf-8")
    done = sesame(*config, "init")
    assert done.exit_code == 0
    assert {each.name for each in folder.iterdir()} == SECRETS | {"sesame.toml"}
    assert (folder / "moodle-token").read_text(encoding="utf-8") == "there before\n"
    written = [each for each in folder.iterdir() if each.name != "moodle-token"]
    assert {each.stat().st_mode & 0o777 for each in written} == {0o600}
    assert all((name in done.stderr) for name in SECRETS)
    settings = tomllib.loads((folder / "sesame.toml").read_text(encoding="utf-8"))
    assert settings["directory"]["bind_password_file"] == "ldap-password"


def test_a_folder_that_gives_its_group_gives_it_these_files_too(site: tuple[Path, list[str]]) -> None:
    folder, config = site
    folder.chmod(0o2750)
    sesame(*config, "init")
    assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o640}


def test_a_secret_that_is_still_empty_is_named_and_nothing_is_made(site: tuple[Path, list[str]]) -> None:
    folder, config = site
    sesame(*config, "init")
    fill(folder)
    (folder / "doveadm-key").write_text("", encoding="utf-8")
    refused = sesame(*config, "init")
    assert refused.exit_code == 2
    assert "mailbox.api_key_file" in refused.stderr
    assert "ldap-password" not in refused.stderr
    assert not (folder / "data").exists()


def test_root_makes_no_file_in_another_user_s_folder(
    site: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, config = site
    sesame(*config, "init")
    fill(folder)
    data = folder / "data"
    data.mkdir(mode=0o700)
    if os.getuid() == 0:
        os.chown(data, 54321, 54321)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    refused = sesame(*config, "init")
    user = "'#54321'" if os.getuid() == 0 else data.owner()
    assert refused.exit_code == 2
    assert f": sudo -u {user} sesame init" in refused.stderr
    assert list(data.iterdir()) == []
    os.chown(data, os.getuid(), os.getgid())
    monkeypatch.undo()
    assert sesame(*config, "--config", str(folder / "sesame.toml"), "init").exit_code == 0


def test_filled_in_they_give_key_and_database_once(site: tuple[Path, list[str]]) -> None:
    folder, config = site
    sesame(*config, "init")
    fill(folder)
    assert sesame(*config, "init").exit_code == 0
    key = (folder / "data" / "vault.key").read_bytes()
    assert sesame(*config, "doctor", "--only", "store", "--only", "vault").exit_code == 0
    assert sesame(*config, "init").exit_code == 0
    assert (folder / "data" / "vault.key").read_bytes() == key


def test_a_database_whose_key_is_gone_is_given_no_other_key(site: tuple[Path, list[str]]) -> None:
    folder, config = site
    sesame(*config, "init")
    fill(folder)
    sesame(*config, "init")
    (folder / "data" / "vault.key").unlink()
    refused = sesame(*config, "init")
    assert refused.exit_code == 1
    assert "vault.key" in refused.stderr
    assert not (folder / "data" / "vault.key").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, no_variables: None) -> None:
    refused = sesame("--config", str(tmp_path / "nowhere" / "sesame.toml"), "init")
    assert refused.exit_code == 1
    assert str(tmp_path / "nowhere") in refused.stderr
