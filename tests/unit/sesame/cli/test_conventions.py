"""The command line's conventions: where words go, exit codes, and errors that people can read."""

from __future__ import annotations

import errno
import gc
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from pipeline.errors import DependencyDown, Misconfigured, SesameError, TargetDown
from pipeline.eventlog.port import LogUnavailable
from sesame.app.doctor.checks import checks_for
from sesame.app.doctor.findings import Check, CheckResult, CheckState, examine, fail, ok, warn
from sesame.cli import main
from sesame.cli.commands import LazyGroup, RootGroup
from sesame.cli.errors import ExitCode, exit_code_of
from sesame.cli.man_page import walk
from sesame.cli.output import remark
from sesame.settings import SettingsError, load
from sesame.testing.servers.command import sesame
from sesame.testing.servers.narrowing import expect, present

ROOT = Path(__file__).parents[4]


pytestmark = pytest.mark.usefixtures("command_folder")


def group_raising(error: BaseException) -> RootGroup:
    @click.command()
    def work() -> None:
        raise error

    return RootGroup("sesame", commands={"work": work})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SesameError("no"), ExitCode.FAILED),
        (SettingsError("no"), ExitCode.USAGE),
        (DependencyDown("no"), ExitCode.DEPENDENCY_DOWN),
        (LogUnavailable("no"), ExitCode.DEPENDENCY_DOWN),
        (TargetDown("no"), ExitCode.DEPENDENCY_DOWN),
        (Misconfigured("no"), ExitCode.FAILED),
        (ZeroDivisionError("no"), ExitCode.FAILED),
    ],
)
def test_an_errors_kind_decides_the_exit_code(error: Exception, code: ExitCode) -> None:
    assert exit_code_of(error) is code
    assert CliRunner().invoke(group_raising(error), ["work"]).exit_code == code


def test_an_error_is_a_sentence_and_a_remedy_on_standard_error() -> None:
    result = CliRunner().invoke(group_raising(SesameError("the key is lost", remedy="Find it.")), ["work"])
    assert result.stdout == ""
    assert result.stderr == "sesame: the key is lost\nFind it.\n"


def test_an_error_without_a_remedy_says_what_its_kind_means() -> None:
    result = CliRunner().invoke(group_raising(Misconfigured("moodle: refused")), ["work"])
    assert result.stderr.startswith("sesame: moodle: refused\nThe target refuses the consumer itself")


def test_a_fault_of_ours_is_named_with_its_place_and_without_a_traceback() -> None:
    result = CliRunner().invoke(group_raising(ZeroDivisionError("by zero")), ["work"])
    assert "internal error, ZeroDivisionError at " in result.stderr
    assert "SESAME_DEBUG=1" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_traceback_is_shown_to_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME_DEBUG", "1")
    result = CliRunner().invoke(group_raising(ZeroDivisionError("by zero")), ["work"])
    assert "Traceback" in result.stderr


def test_an_interrupted_command_ends_with_130() -> None:
    result = CliRunner().invoke(group_raising(KeyboardInterrupt()), ["work"])
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_settings_are_shown_with_secrets_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME_STORE__URL", "postgresql://sesame:m0t@db:5432/sesame")
    monkeypatch.setenv("SESAME_MOODLE__TOKEN", "j3ton")
    plain, as_json = sesame("settings", "show"), sesame("settings", "show", "--json")
    for shown in (plain.stdout, as_json.stdout):
        assert "j3ton" not in shown
        assert "m0t" not in shown
    assert json.loads(as_json.stdout)["store.url"] == "postgresql://sesame:********@db:5432/sesame"
    assert "moodle.token = ********" in plain.stdout
    first, _, advanced = plain.stdout.partition("\n# Advanced\n")
    assert "store.url = " in first
    assert "engine.attempts_max = 12\n" in advanced
    assert len(json.loads(as_json.stdout)) == len((first + advanced).splitlines())


def test_checking_the_settings_reads_every_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sesame("settings", "check").exit_code == 0
    monkeypatch.setenv("SESAME_MOODLE__TOKEN_FILE", str(tmp_path / "nowhere"))
    result = sesame("settings", "check")
    assert result.exit_code == 2
    assert "moodle.token_file" in result.stderr


def test_the_vaults_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    assert sesame("vault", "init").exit_code == 0
    key = tmp_path / "data" / "vault.key"
    first = key.read_text(encoding="ascii")
    again = sesame("vault", "init")
    assert key.stat().st_mode & 0o777 == 0o600
    assert again.exit_code == 1
    assert "left as it is" in again.stderr
    assert key.read_text(encoding="ascii") == first


def examined(name: str) -> CheckResult:
    return examine(next(check for check in checks_for(load()) if check.name == name))


def test_the_doctor_is_content_once_its_remedies_were_applied() -> None:
    sesame("vault", "init")
    sesame("migrate")
    names = ("disk", "vault", "store", "log")
    result = sesame("doctor", *(f"--only={name}" for name in names), "--json")
    assert [each["state"] for each in json.loads(result.stdout)] == ["ok"] * 4
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([ok("fine"), warn("odd", "look")], 0),
        ([ok("fine"), fail("wrong", "mend it")], 1),
        ([fail("wrong", "mend it"), fail("away", "start it", down=True)], 4),
    ],
)
def test_the_doctors_exit_code_tells_down_from_wrong(
    monkeypatch: pytest.MonkeyPatch, findings: list[CheckResult], code: int
) -> None:
    checks = [Check(f"check{number}", lambda found=found: found) for number, found in enumerate(findings)]  # type: ignore[misc]
    monkeypatch.setattr("sesame.app.doctor.checks.checks_for", lambda _settings: checks)
    result = sesame("doctor")
    assert result.exit_code == code
    told = [line for line in result.stdout.splitlines() if line.startswith(("ok", "warn", "fail"))]
    assert len(told) == len(findings)


def raising(error: Exception) -> Check:
    def run() -> CheckResult:
        raise error

    return Check("thing", run)


def test_whatever_a_check_raises_is_a_finding() -> None:
    away, wrong, fault = (
        examine(raising(error))
        for error in (TargetDown("no answer"), Misconfigured("no right"), KeyError("x"))
    )
    assert (away.state, away.down, away.text) == (CheckState.FAIL, True, "no answer")
    assert (wrong.state, wrong.down) == (CheckState.FAIL, False)
    assert "KeyError" in fault.text


def test_one_command_does_not_load_the_others() -> None:
    code = (
        "import sys; from sesame.cli import main; main(['version'], standalone_mode=False); "
        "print(*sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(ended.stdout.split())
    assert "sesame.cli.installation" in loaded
    assert not loaded & {"sqlalchemy", "ldap3", "httpx", "fastapi", "sesame.app.wiring", "sesame.cli.doctor"}


def test_every_command_and_every_option_has_help() -> None:
    for context in walk(main, "sesame"):
        assert context.command.help, f"{context.command_path} has no help"
        options = [each for each in context.command.params if isinstance(each, click.Option)]
        silent = [option.opts[0] for option in options if not option.help]
        assert silent == [], f"{context.command_path}: {silent} without help"


def test_every_command_is_in_the_table_of_its_group() -> None:
    group = expect(LazyGroup, main)
    context = click.Context(group)
    for name in group.list_commands(context):
        assert present(group.get_command(context, name)).name == name


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_list_of_commands_is_in_sections_and_cuts_no_summary(language: str) -> None:
    shown = sesame("--lang", language, "--help").stdout
    commands = shown[shown.index("-h, --help") :].splitlines()
    heads = [line for line in commands if line.rstrip(" :") and not line.startswith((" ", "-"))]
    named = [line.split()[0] for line in commands if re.match(r"  [a-z]", line)]
    assert len(heads) > 5
    assert sorted(named) == sorted(main.list_commands(click.Context(main)))
    for context in walk(main, "sesame"):
        if isinstance(context.command, click.Group):
            words = [*context.command_path.split()[1:], "--lang", language, "--help"]
            assert "..." not in re.sub(r"[A-Z\]]\.{3}", "", sesame(*words).stdout), words


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("statu 22600001", "'status'"),
        ("dead-leters list", "'dead-letters'"),
        ("importt", "'import'"),
        ("hold lst", "'list'"),
    ],
)
def test_a_command_mistyped_is_answered_with_the_one_that_was_meant(typed: str, meant: str) -> None:
    result = sesame(*typed.split())
    assert result.exit_code == 2
    assert meant in result.stderr.rpartition("Did you mean")[2]


@pytest.mark.parametrize(
    ("typed", "found"), [("hol", {"hold"}), ("hold l", {"lift", "list"}), ("hold list --k", {"--kind"})]
)
def test_the_shell_completes_what_is_typed(tmp_path: Path, typed: str, found: set[str]) -> None:
    program = tmp_path / "sesame"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{COMPLETE}' \"$@\"\n", encoding="utf-8")
    program.chmod(0o755)
    script = tmp_path / "script"
    script.write_text(sesame("completion", "bash").stdout, encoding="utf-8")
    words = ["sesame", *typed.split()]
    typing = f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}"
    asked = f"source {script}; {typing}; _sesame_completion sesame; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(
        ["bash", "-c", asked],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == found


COMPLETE = 'from sesame.cli import main; main(prog_name="sesame")'


def test_every_command_has_a_man_page_that_says_its_help(tmp_path: Path) -> None:
    folder = tmp_path / "man1"
    assert sesame("man", str(folder)).exit_code == 0
    pages = {path.stem: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    contexts = {context.command_path.replace(" ", "-"): context for context in walk(main, "sesame")}
    assert set(pages) == set(contexts)
    for name, context in contexts.items():
        lines = pages[name].splitlines()
        assert lines[0].startswith(f'.TH "{name.upper()}" 1 ')
        assert [line for line in lines if line.startswith("'")] == []
        said = " ".join(pages[name].replace(r"\-", "-").split())
        for option in context.command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.opts[0] in said, name
                assert " ".join(str(option.help).split()) in said, name


def test_a_remark_made_again_is_counted_at_the_end() -> None:
    @click.command()
    def work() -> None:
        for number in range(20):
            remark("the same for all")
            remark(f"another, {number % 2}")

    result = CliRunner().invoke(RootGroup("sesame", commands={"work": work}), ["work"])
    lines = result.stderr.splitlines()
    assert lines[:3] == ["the same for all", "another, 0", "another, 1"]
    assert lines[3:] == ["the same for all (20 times)", "another, 0 (10 times)", "another, 1 (10 times)"]


def test_a_fault_of_ours_quotes_nobody() -> None:
    result = CliRunner().invoke(group_raising(ValueError("input_value='Zoé Lefèvre'")), ["work"])
    assert "Zoé" not in result.output
    assert "Zoé" not in examine(raising(KeyError("Zoé"))).text


def test_a_log_that_run_would_refuse_is_refused_by_the_doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sesame("hold", "place", "22600001", "--reason", "makes the log")
    monkeypatch.setenv("SESAME_LOG__PARTITIONS", "3")
    assert "partitions" in examined("log").text
    monkeypatch.delenv("SESAME_LOG__PARTITIONS")
    assert examined("log").state is CheckState.OK
    (tmp_path / "data" / "events.db").write_bytes(b"no database" * 100)
    assert examined("log").state is CheckState.FAIL


@pytest.mark.parametrize("command", [["migrate"], ["vault", "init"]])
def test_a_folder_that_cannot_be_made_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SESAME_DATA_DIR", str(tmp_path / "file" / "data"))
    result = sesame(*command)
    assert result.exit_code == 1
    assert f"{tmp_path / 'file' / 'data'} cannot be used" in result.stderr
    assert "data_dir" in result.stderr


def test_a_data_folder_that_a_command_makes_is_closed_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESAME_DATA_DIR", str(tmp_path / "fresh"))
    sesame("vault", "init")
    assert (tmp_path / "fresh").stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("reason", ["", "  ", "x" * 513, "two\nlines"])
def test_a_reason_that_is_not_one_line_of_text_is_wrong_usage(reason: str) -> None:
    result = sesame("hold", "place", "22600001", "--reason", reason)
    assert result.exit_code == 2
    assert "--reason" in result.stderr


@pytest.mark.parametrize(
    ("free", "state"),
    [
        (0, CheckState.FAIL),
        (15_000_000, CheckState.FAIL),
        (400_000_000, CheckState.WARN),
        (600_000_000, CheckState.OK),
    ],
)
def test_a_full_disk_fails_the_doctor_and_one_that_fills_warns(
    monkeypatch: pytest.MonkeyPatch, free: int, state: CheckState
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=free))
    assert examined("disk").state is state


def test_a_read_only_file_system_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _folder: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert "read-only" in examined("disk").text


def test_what_the_system_refuses_is_no_fault_of_ours() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    result = CliRunner().invoke(group_raising(full), ["work"])
    assert result.stderr == "sesame: the system refused: No space left on device\n"
    assert result.exit_code == 1


LOOKS = """
import atexit, gc, sys
from sesame.cli import main
atexit.register(lambda: print(gc.get_freeze_count(), len(gc.get_objects()), file=sys.stderr))
before = gc.get_stats()[0]["collections"]
try:
    main(["overview"], prog_name="sesame")
except SystemExit as end:
    assert end.code == 0
servers = {"fastapi", "alembic", "ldap3", "requests", "cas", "kafka", "httpx", "icalendar"}
pages = {"jinja2", "babel", "zxcvbn"}
work = {"cloudevents", "schemas.events", "cryptography", "prometheus_client", "pygments", "pipeline.runner"}
elsewhere = {"sqlalchemy.dialects.postgresql", "consumers.program.connector", "consumers.scim.connector"}
print(*sorted((servers | pages | work | elsewhere) & set(sys.modules)), file=sys.stderr)
collections = gc.get_stats()[0]["collections"] - before
print(collections, gc.get_freeze_count(), *gc.get_threshold(), file=sys.stderr)
"""


def test_a_command_that_looks_loads_only_what_it_asks_for_and_never_walks_through_it() -> None:
    assert sesame("migrate").exit_code == 0
    done = subprocess.run([sys.executable, "-c", LOOKS], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("0 activated")
    unwanted, collector, at_the_end = done.stderr.splitlines()
    assert unwanted == "", "nothing of servers, nor of work that it does not do"
    collections, frozen, *thresholds = map(int, collector.split())
    assert (collections < 5, frozen) == (True, 0), "some 200 otherwise"
    assert thresholds == list(gc.get_threshold()), "the collector is left as it was"
    left_alone, looked_at = map(int, at_the_end.split())
    assert left_alone > 10 * looked_at, "a command that ends looks for no garbage in what it leaves"


def test_no_command_compiles_the_packages_that_it_loads() -> None:
    """`make python` has compiled them: who runs Sésame on a server may not write beside them."""
    assert sesame("migrate").exit_code == 0
    done = subprocess.run([sys.executable, "-v", "-c", LOOKS], capture_output=True, text=True, check=True)
    loaded = [line for line in done.stderr.splitlines() if line.startswith("# code object from ")]
    packages = [line for line in loaded if "site-packages" in line]
    assert packages
    assert [line for line in packages if ".pyc" not in line] == []
