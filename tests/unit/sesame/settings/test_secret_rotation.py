"""A secret's file that changes while a process runs: what is taken, what is not, and what is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from sesame.settings import LiveSecret, MoodleSettings, SecretUnreadable


class Clock:
    """Epoch seconds that the test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path, clock: Clock) -> Path:
    return write(tmp_path / "token", "premier", at=clock.now - 60)


def write(path: Path, text: str, *, at: float, mode: int = 0o600) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    os.utime(path, (at, at))
    return path


def live(file: Path, clock: Clock) -> LiveSecret:
    return LiveSecret(MoodleSettings(token_file=file), "token", clock=clock)


def test_a_file_that_has_changed_is_read_again(file: Path, clock: Clock) -> None:
    secret = live(file, clock)
    assert secret() == "premier"
    write(file, "second\n", at=clock.now)
    clock.now += 30
    assert secret() == "second"


def test_a_file_that_was_put_in_its_place_by_a_rename_is_read_again(file: Path, clock: Clock) -> None:
    secret = live(file, clock)
    write(file.with_name("new"), "deuxieme", at=file.stat().st_mtime).rename(file)
    assert secret() == "deuxieme"


def test_a_file_that_somebody_may_still_be_writing_is_not_taken_yet(file: Path, clock: Clock) -> None:
    secret = live(file, clock)
    write(file, "deux", at=clock.now)
    clock.now += 0.2
    assert secret() == "premier"
    write(file, "deuxieme", at=clock.now)
    clock.now += 2
    assert secret() == "deuxieme"


@pytest.mark.parametrize(("text", "mode"), [("", 0o600), ("\n", 0o600), ("second", 0o644)])
def test_a_file_that_cannot_be_used_leaves_the_last_secret_in_use_and_is_said_once(
    file: Path, clock: Clock, text: str, mode: int
) -> None:
    secret = live(file, clock)
    write(file, text, at=clock.now, mode=mode)
    clock.now += 30
    with capture_logs() as logs:
        assert [secret(), secret()] == ["premier", "premier"]
    assert [line["event"] for line in logs] == ["secret_kept"]
    assert str(file) in logs[0]["reason"]
    assert str(file) in secret.told
    write(file, "troisieme", at=clock.now)
    clock.now += 30
    with capture_logs() as logs:
        assert secret() == "troisieme"
    assert [line["event"] for line in logs] == ["secret_read_again"]
    assert str(file) not in secret.told
    assert "troisieme" not in repr(logs) + secret.told + repr(secret)


def test_a_file_whose_mode_was_mended_is_read_again(file: Path, clock: Clock) -> None:
    secret = live(file, clock)
    write(file, "second", at=clock.now, mode=0o644)
    clock.now += 30
    assert secret() == "premier"
    file.chmod(0o600)
    assert secret() == "second"


def test_a_file_that_has_gone_leaves_the_last_secret_in_use(file: Path, clock: Clock) -> None:
    secret = live(file, clock)
    file.unlink()
    assert secret() == "premier"
    write(file, "second", at=clock.now - 60)
    assert secret() == "second"


def test_at_the_start_there_is_no_earlier_secret_to_keep(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(SecretUnreadable, match="empty"):
        live(write(tmp_path / "token", "", at=clock.now), clock)


def test_it_is_said_when_the_secret_was_read(file: Path, clock: Clock) -> None:
    secret = live(file, clock)
    first = secret.told
    assert "moodle.token_file" in first
    write(file, "second", at=clock.now + 3500)
    clock.now += 3600
    secret()
    assert secret.told != first


def test_a_secret_of_the_environment_stays_and_it_is_said_that_a_change_needs_a_restart(clock: Clock) -> None:
    secret = LiveSecret(MoodleSettings(token=SecretStr("fixe")), "token", clock=clock)
    assert secret() == "fixe"
    assert "restart" in secret.told
