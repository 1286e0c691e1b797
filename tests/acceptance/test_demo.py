"""The demo as it is typed: exit code, numbers, table, commands, and that nothing is left of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sandbox.demo import machine, record, table
from sandbox.kafka import fetch_jars
from sandbox.process import PATIENCE_S, MissingServer, wait_until
from sesame.testing.servers import require_service
from tests.acceptance.acting import STUDENTS

pytestmark = pytest.mark.timeout(1800)

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {"directory", "mailbox", "moodle"}
MARKED = re.compile(r"<!-- demo-table -->\s*```[a-z]*\n(.*?)\n```", re.DOTALL)


def demo(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "sandbox.demo", *map(str, words)]


def run_demo(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        demo(*words), cwd=ROOT, capture_output=True, encoding="utf-8", timeout=800, check=False
    )


@pytest.fixture(scope="module", autouse=True)
def _machine() -> None:
    """Skip, or fail in CI, where the servers are not installed."""

    def check() -> None:
        try:
            machine.check()
        except machine.MachineUnfit as unfit:
            raise MissingServer(str(unfit), "") from unfit

    require_service(check)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[str | Path]]:
    """Standard output of a whole demo that was told to stay, its JSON file, and the folder of its record."""
    folder = tmp_path_factory.mktemp("a folder with blanks")
    records, numbers = folder / "records", folder / "numbers.json"
    done = run_demo("run", "--students", str(STUDENTS), "--json", numbers, "--keep", "--records", records)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield done.stdout, numbers, records
    finally:
        run_demo("stop", "--records", records)


def numbers_of(text: str, label: str) -> int:
    found = re.search(rf"^  {label} +(\d+)", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1])


def test_the_json_file_has_these_keys_and_adds_up(kept: Sequence[str | Path]) -> None:
    _, file, _ = kept
    document = json.loads(Path(file).read_text(encoding="utf-8"))
    counts = ("students", "rejected_rows", "completed", "waiting", "dead_letters")
    windows = ("within_15_min", "within_60_min", "beyond")
    assert list(document) == [*counts, *windows, "seconds"]
    assert document["students"] == STUDENTS
    assert document["rejected_rows"] > 0
    assert document["completed"] + document["waiting"] + document["dead_letters"] == STUDENTS
    assert document["completed"] > 0
    assert sum(document[name] for name in windows) == document["completed"]
    assert set(document["seconds"]) == {"all", *TARGETS}
    for quantiles in document["seconds"].values():
        assert list(quantiles) == ["p50", "p95", "p99", "max"]
        assert 0 < quantiles["p50"] <= quantiles["p95"] <= quantiles["p99"] <= quantiles["max"]


def test_the_table_says_what_the_json_file_says(kept: Sequence[str | Path]) -> None:
    text, file, _ = kept
    document = json.loads(Path(file).read_text(encoding="utf-8"))
    assert numbers_of(str(text), "complete") == document["completed"]
    assert numbers_of(str(text), "waiting") == document["waiting"]
    assert numbers_of(str(text), "inside 15 min") == document["within_15_min"]


def test_the_table_has_the_shape_that_the_readme_shows(kept: Sequence[str | Path]) -> None:
    text, _, _ = kept
    shown = MARKED.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown is not None, "README.md has no block after <!-- demo-table -->"
    whole = table.shape(str(text))
    expected = table.shape(shown[1])
    start = whole.index(expected[0])
    assert whole[start : start + len(expected)] == expected


def test_its_stages_say_how_long_they_took(kept: Sequence[str | Path]) -> None:
    text, _, _ = kept
    stages = re.findall(r"^== (\w+) +ok +\d+\.\d s$", str(text), re.MULTILINE)
    assert stages == ["machine", "servers", "import", "activate", "sweep", "demo"]


def test_its_commands_show_the_entry_and_the_mailbox_to_their_owner(kept: Sequence[str | Path]) -> None:
    text, _, _ = kept
    number = re.search(r"Look at one student \((\d+)\)", str(text))
    assert number is not None
    commands = re.findall(r"^  ((?:LDAPTLS_CACERT=|curl |python3 |\S+/sesame ).*)$", str(text), re.MULTILINE)
    said = [
        subprocess.run(
            ["bash", "-c", command], capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=True
        ).stdout
        for command in commands[:3]
    ]
    assert f"supannEtuId: {number[1]}" in said[0]
    assert "Subject:" in said[1]
    assert "completed" in said[2]


def test_it_names_the_students_pages_and_somebody_who_may_activate_by_hand(
    kept: Sequence[str | Path],
) -> None:
    text, _, _ = kept
    found = re.search(r"^Activate an account by hand: (http://127\.0\.0\.1:\d+)$", str(text), re.MULTILINE)
    assert found is not None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(found[1], timeout=PATIENCE_S) as answer:
        assert "Recevoir mon code" in answer.read().decode()
    assert re.search(r"^  student number \d+, personal address \S+@\S+$", str(text), re.MULTILINE)


def test_stop_ends_and_removes_what_was_kept(kept: Sequence[str | Path]) -> None:
    _, _, records = kept
    (one,) = record.former(Path(records))
    beside = {"cas", "mail sink", "sesame console", "sesame run", "sesame web"}
    assert {process.name for process in one.processes if process.alive} == {*TARGETS, *beside}

    assert run_demo("stop", "--records", records).returncode == 0

    assert [process for process in one.processes if process.alive] == []
    assert not one.folder.exists()
    assert list(record.former(Path(records))) == []


def begun(records: Path) -> subprocess.Popen[str]:
    """A demo whose servers run and which is not at its end."""
    process = subprocess.Popen(
        demo("run", "--students", str(STUDENTS), "--records", records),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )

    def is_up() -> bool:
        assert process.poll() is None
        mine = [one for one in record.former(records) if one.driver.pid == process.pid]
        return bool(mine) and len(mine[0].processes) > len(TARGETS) + 1

    wait_until(is_up, "the demo's servers to run")
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with begun(tmp_path) as process:
        (one,) = record.former(tmp_path)
        process.send_signal(number)
        assert process.wait(timeout=PATIENCE_S) == 128 + number
    assert [each for each in one.processes if each.alive] == []
    assert not one.folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_demo_takes_its_servers_with_it_and_the_next_run_removes_its_folder(tmp_path: Path) -> None:
    with begun(tmp_path) as process:
        (one,) = record.former(tmp_path)
        assert len([each for each in one.processes if each.alive]) == len(TARGETS) + 2
        process.kill()
        process.wait(timeout=PATIENCE_S)
    wait_until(lambda: not any(each.alive for each in one.processes), "its servers to end")
    assert one.folder.exists()

    with begun(tmp_path) as second:
        assert not one.folder.exists()
        second.terminate()
        assert second.wait(timeout=PATIENCE_S) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_on_kafka_the_demo_ends_as_on_the_embedded_log() -> None:
    require_service(fetch_jars)
    done = run_demo("run", "--students", "12", "--kafka")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sweep  agrees with what was announced" in done.stdout
    assert "all 9 topics" in done.stdout
