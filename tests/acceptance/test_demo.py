"""The demo as it is typed: exit code, numbers, table, commands, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sandbox.demo import record, table
from sandbox.demo.world import OPERATOR
from sandbox.kafka import fetch_jars
from sandbox.process import PATIENCE_S, wait_until
from sesame.testing.servers import require_service
from sesame.testing.servers.narrowing import present
from tests.acceptance.acting import STUDENTS

pytestmark = [pytest.mark.timeout(1800), pytest.mark.usefixtures("demo_machine")]

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {"directory", "mailbox", "moodle"}
MARKED = re.compile(r"<!-- demo-table -->\s*```[a-z]*\n(.*?)\n```", re.DOTALL)


def demo(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "sandbox.demo", *map(str, words)]


def run_demo(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        demo(*words), cwd=ROOT, capture_output=True, encoding="utf-8", timeout=800, check=False
    )


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
    assert "Recevoir mon code" in read(found[1])
    assert re.search(r"^  student number \d+, personal address \S+@\S+$", str(text), re.MULTILINE)


def read(url: str, ca_file: str | None = None) -> str:
    """The page at an address on loopback."""
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls)
    with opener.open(url, timeout=PATIENCE_S) as answer:
        return str(answer.read().decode())


def test_it_shows_the_messages_that_it_sends(kept: Sequence[str | Path]) -> None:
    text, _, records = kept
    page = present(re.search(r"newest message: (\S+)$", str(text), re.MULTILINE))[1]
    assert "Aucun message" in read(page)
    (one,) = record.former(Path(records))
    sent = one.folder / "smtp" / "messages"
    for number, body in enumerate(("Votre code : 704 671", "Un <b>autre</b> https://127.0.0.1/lien")):
        content = f"X-Envelope-To: zoé@courriel.example\r\nSubject: N° {number} <i>\r\n\r\n{body}\r\n"
        (sent / f"{number}-00001.eml").write_bytes(content.encode())
    try:
        shown = read(page)
        assert re.findall(r'href="/([0-9-]+)">(.+?)</a>', shown) == [
            ("1-00001", "N° 1 &lt;i&gt;"),
            ("0-00001", "N° 0 &lt;i&gt;"),
        ]
        assert "704 671" in read(f"{page}/0-00001")
        assert '&lt;b&gt;autre&lt;/b&gt; <a href="https://127.0.0.1/lien">' in read(f"{page}/1-00001")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            read(f"{page}/../smtp.log")
    finally:
        for file in sent.glob("*-00001.eml"):
            file.unlink()


def test_each_door_is_named_with_a_login_that_opens_it(kept: Sequence[str | Path]) -> None:
    text, _, records = kept
    (one,) = record.former(Path(records))
    found = re.findall(r"^  (?:CAS|console): \S+, (\S+), password (\S+)$", str(text), re.MULTILINE)
    assert [login for login, _ in found][1:] == [OPERATOR]
    settings = tomllib.loads((one.folder / "sesame" / "sesame.toml").read_text(encoding="utf-8"))
    directory = settings["directory"]
    for login, password in found:
        who = f"uid={login},{directory['people_dn']}"
        address = ["-H", directory["uri"], "-D", who, "-w", password, "-b", who, "-s", "base"]
        asked = ["ldapsearch", "-x", "-ZZ", *address]
        environment = {**os.environ, "LDAPTLS_CACERT": directory["ca_file"]}
        assert f"dn: {who}" in subprocess.check_output(asked, env=environment, text=True)
    assert set(settings["portal"]["links"]) == {"ent", "mailbox", "moodle"}
    forgotten = f'<a href="{settings["portal"]["public_url"]}">Mot de passe oublié ?</a>'
    assert forgotten in read(settings["cas"]["server_url"] + "login", settings["cas"]["ca_file"])


def test_a_second_one_says_which_is_running(kept: Sequence[str | Path]) -> None:
    text, _, records = kept
    again = run_demo("run", "--students", "1", "--keep", "--records", records)
    assert again.returncode == 0
    assert again.stdout.startswith("A demo runs already: `make stop` ends it.\n")
    assert again.stdout.splitlines()[1:] == str(text)[str(text).index("\nEverything runs on") :].splitlines()
    (one,) = record.former(Path(records))
    assert one.kept


@pytest.mark.parametrize(
    ("words", "environment", "terminal", "stays"),
    [
        ([], {}, True, True),
        (["KEEP=0"], {}, True, False),
        (["JSON=numbers.json"], {}, True, False),
        ([], {"CI": "true"}, True, False),
        ([], {}, False, False),
        (["KEEP=1"], {}, False, True),
    ],
)
def test_on_a_terminal_the_demo_stays(
    tmp_path: Path, words: list[str], environment: dict[str, str], terminal: bool, stays: bool
) -> None:
    program = tmp_path / "bin" / "python"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$*" >"$0.asked"\n', encoding="utf-8")
    program.chmod(0o755)
    make = ["make", "-s", "-o", "python", "-o", "servers", "demo", f"VENV={tmp_path}", *words]
    without = {name: value for name, value in os.environ.items() if name not in ("CI", "MAKEFLAGS")}
    master, slave = os.openpty()
    out = slave if terminal else subprocess.DEVNULL
    subprocess.run(make, cwd=ROOT, env=without | environment, stdout=out, check=True, timeout=PATIENCE_S)
    os.close(slave)
    os.close(master)
    asked = program.with_name("python.asked").read_text(encoding="utf-8").split()
    assert ("--keep" in asked) is stays


def test_stop_ends_and_removes_what_was_kept(kept: Sequence[str | Path]) -> None:
    _, _, records = kept
    (one,) = record.former(Path(records))
    beside = {"cas", "mail sink", "messages", "sesame console", "sesame run", "sesame web"}
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
