"""The tutorial and *Run on one server*, typed word by word: each block, and the answer that is shown."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from email import message_from_string
from email.policy import default
from itertools import pairwise
from pathlib import Path
from typing import Self

import pytest

from sandbox.demo.world import World
from sandbox.process import PATIENCE_S, wait_until
from sesame.testing.servers.narrowing import present
from tests.docs.documents import ROOT, Block, blocks

pytestmark = [pytest.mark.timeout(1800), pytest.mark.usefixtures("demo_machine")]

TUTORIAL = "docs/tutorial/first-accounts.md"
ONE_SERVER = "docs/how-to/run-on-one-server.md"
VARIES = {
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d CES?T": "TIME",
    r"\d+\.\d+ s\b": "SECONDS",
    r"/tmp/sesame-\w+": "FOLDER",  # noqa: S108 (the page's)
    r"[ \t]+": " ",
}
"""What differs from run to run, and its name instead."""
NOTHING = Path(os.devnull)
LOOKS = ("sesame status", "sesame overview", "entry", "systemctl is-active", "curl")
"""Commands that change nothing: a reader who was faster than the servers types them again."""


class Shell:
    """A reader's bash, which takes one block after the other. `said`: the answers so far."""

    def __init__(self, folder: Path, path: Path, *starter: str | Path, pasted: Path = NOTHING) -> None:
        self._folder, self._pasted, self.said = folder, pasted, list[str]()
        self.replaced: dict[str, str] = {}
        known = {key: value for key, value in os.environ.items() if key in ("HOME", "PYTHONPATH")}
        self._process = subprocess.Popen(
            [*starter, "bash", "--noprofile", "--norc"],
            cwd=folder,
            env={
                **known,
                "PATH": f"{path}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL": "C.UTF-8",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def type(self, *lines: str) -> str:
        """Type these lines; return what they print."""
        text = "\n".join(lines)
        for shown, real in self.replaced.items():
            text = text.replace(shown, real)
        typed = self._folder / "typed.sh"
        typed.write_text(text + "\n", encoding="utf-8")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f". {typed} <{self._pasted}; echo; echo ==typed==\n")
        self._process.stdin.flush()
        answer = "".join(iter(self._process.stdout.readline, "==typed==\n"))
        assert self._process.poll() is None, answer
        self.said.append(answer.rstrip("\n"))
        return self.said[-1]

    def try_block(self, block: Block, shown: Block | None) -> None:
        """Type a block, and compare the answer with the one shown; look again if only a look differs."""
        *acts, look = block.lines if block.lines[-1].startswith(LOOKS) else (*block.lines, "")
        first = self.type(*acts)
        if shown is None:
            self.type(look)
            return
        answers = [""]

        def as_shown() -> bool:
            answers[0] = "\n".join(filter(None, (first, self.type(look))))
            return matches(answers[0], shown.lines)

        try:
            wait_until(as_shown, f"{block.document}: line {shown.line}", PATIENCE_S / 4 if look else 1.0)
        except TimeoutError:
            raise AssertionError(f"{shown.document}, line {shown.line}: {answers[0]}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


def matches(answer: str, shown: tuple[str, ...]) -> bool:
    """Whether the answer is as shown. A line of `…` stands for any lines, one in a line for its rest."""
    pattern = "".join(
        r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r" ?\n"
        for line in map(_alike, shown)
    )
    return re.fullmatch(pattern, _alike(answer) + "\n") is not None


def _alike(text: str) -> str:
    for found, name in VARIES.items():
        text = re.sub(found, name, text)
    return text.replace("\ufeff", "")


def read(page: str) -> Iterator[tuple[Block, Block | None]]:
    """The page's blocks to type, each with the answer shown below it."""
    mine = [block for block in blocks() if block.document == page]
    for block, after in pairwise([*mine, Block(page, 0, "", ())]):
        if block.language == "sh":
            yield block, after if after.language == "text" else None


@pytest.mark.parametrize(
    ("answer", "shown", "same"),
    [
        ("at 2026-06-30 15:53:27 CEST, 1.02 s", "at 2026-11-24 16:00:15 CET, 0.2 s", True),
        ("/tmp/sesame-abc_1/x  4", "/tmp/sesame-0welype6/x 4", True),  # noqa: S108 (the page's)
        ("a\nb\nc", "a\n…", True),
        ("a\nb\nc", "…\nb\n…", True),
        ("49 complete", "50 complete", False),
        ("a\nb", "a", False),
        ("waiting", "completed\n…", False),
        ("", "a", False),
    ],
)
def test_an_answer_is_the_one_shown_but_for_times_and_folders(answer: str, shown: str, same: bool) -> None:
    assert matches(answer, tuple(shown.split("\n"))) is same


def program(folder: Path, name: str, text: str) -> None:
    """A program that the page calls, found before the machine's."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def cloned(folder: Path) -> Path:
    """What `git clone` would bring, as the files are now, with the environment that is there already."""
    folder.mkdir()
    named = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, named.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    return folder


def test_the_tutorial_can_be_typed(tmp_path: Path) -> None:
    clone, path = cloned(tmp_path / "clone"), tmp_path / "bin"
    program(path, "apt-get", ":")  # `make machine` has installed it
    program(path, "git", f'[ "$1 $3" = "clone sesame" ] && mv {clone} sesame')
    program(path, "make", 'exec /usr/bin/make -o python -o servers "$@"')
    page = (ROOT / TUTORIAL).read_text(encoding="utf-8")
    (start, shown), *steps, (stop, _) = read(TUTORIAL)
    with Shell(tmp_path, path) as shell:
        try:
            shell.try_block(start, shown)
            demo = shell.said[0]
            for folder in re.findall(r"/tmp/sesame-\w+", page):  # noqa: S108 (the page's)
                shell.replaced[folder] = present(re.search(r"SESAME_CONFIG=(/.+)/sesame/", demo))[1]
            for step in steps:
                shell.try_block(*step)
            [curl] = re.findall(r"^  (curl .+)$", demo, re.MULTILINE)
            user = present(re.search(r"--user '[^']+'", page))[0]
            assert "Bienvenue" in header(shell.type(re.sub(r"--netrc-file \S+", user, curl)))
            by_hand = next(block for block in blocks() if block.lines[:1] and "by hand" in block.lines[0])
            assert matches(demo, ("…", *by_hand.lines, "…"))
        finally:
            shell.type(*stop.lines)
    assert list((tmp_path / "sesame" / ".demo").glob("*.json")) == []


def header(message: str) -> str:
    """The subject of a message."""
    return str(message_from_string(message, policy=default)["Subject"])


MACHINE = """
set -e
mount --make-rprivate /
for place in etc opt usr/local/bin usr/local/share usr/share/bash-completion/completions var/lib srv; do
  mkdir -p {machine}/$place
  [ $place != etc ] || cp -a /etc {machine}
  mount --bind {machine}/$place /$place
done
mkdir -p /srv/apogee /etc/systemd/system
cp {file} /srv/apogee/export.csv
exec "$@"
"""
"""The folders that the page writes to are another machine's."""
SYSTEMCTL = """
units=/etc/systemd/system
start() {
  file=$units/$1.service
  user=$(sed -n 's/^User=//p' $file)
  cd "$(sed -n 's/^WorkingDirectory=//p' $file)"
  setsid runuser -u "$user" -- env -i $(sed -n 's/^Environment=//p' $file) \\
    $(sed -n 's/^ExecStart=//p' $file) >{logs}/$1.log 2>&1 </dev/null &
  echo $! >{logs}/$1.pid
}
case $1 in
  daemon-reload) systemd-analyze verify --man=no $units/sesame*.* ;;
  enable)
    [ "$2" = --now ] || exit 1
    for unit in "${@:3}"; do
      case $unit in *.target) ;; *) unit=$unit.service ;; esac
      wanted=$(sed -n 's/^WantedBy=//p' $units/$unit) || exit 1
      echo "Created symlink $units/$wanted.wants/$unit"
      case $unit in *.service) start ${unit%.service} ;; esac
    done ;;
  is-active)
    for unit in "${@:2}"; do
      pgrep -s "$(cat {logs}/$unit.pid)" >/dev/null && echo active || echo failed
    done ;;
  *) exit 1 ;;
esac
"""
"""systemd's part, where it does not run: verify units, start their commands as their users."""


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """The folder that `make wheels` fills."""
    folder = tmp_path / "wheels"
    environment = {**os.environ, "VENV": str(Path(sys.executable).parents[1])}
    subprocess.run([ROOT / "scripts" / "wheels", folder], env=environment, check=True, timeout=PATIENCE_S)
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another machine's root")
@pytest.mark.usefixtures("wheels")
def test_one_server_is_set_up_as_its_page_says(tmp_path: Path) -> None:
    path, logs, file = tmp_path / "bin", tmp_path / "logs", tmp_path / "export.csv"
    logs.mkdir()
    rows = (ROOT / "examples" / "registrar-2026.csv").read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(rows[:21]) + "\n", encoding="utf-8")
    program(path, "apt-get", ":")
    program(path, "systemctl", SYSTEMCTL.replace("{logs}", str(logs)))
    program(path, "machine", MACHINE.format(machine=tmp_path / "machine", file=file))
    apart = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", path / "machine")
    with World(tmp_path / "records") as world:
        world.start()
        with Shell(tmp_path, path, *apart, pasted=world.moodle.token_file) as shell:
            ports = {9464: world.http_port, 8080: world.pages.port, 8081: world.console.port}
            shell.replaced = {f"127.0.0.1:{usual}/": f"127.0.0.1:{port}/" for usual, port in ports.items()}
            for block, shown in read(ONE_SERVER):
                if block.lines[0] == "sesame init":
                    shell.type(*edited(world, tmp_path))
                shell.try_block(block, shown)
            assert "sesame-hold-list.1" in shell.type("ls /usr/local/share/man/man1")
            assert "pytest" not in shell.type("/opt/sesame/bin/pip list")
            assert "Recevoir mon code" in shell.type(f"curl -s {world.pages.url}")


def edited(world: World, folder: Path) -> Iterator[str]:
    """What an editor does: the world's settings, with secrets and certificates in the page's folder."""
    text = world.settings_file.read_text(encoding="utf-8").replace(
        f'data_dir = "{world.private}/data"', 'data_dir = "/var/lib/sesame"'
    )
    named = {
        "bind_password_file": "ldap-password",
        "api_key_file": "doveadm-key",
        "token_file": "moodle-token",
        "probe_password_file": "cas-probe-password",
    }
    for setting, real in re.findall(r'^(\w+_file) = "(.+)"$', text, re.MULTILINE):
        own = named.get(setting) or real.replace("/", "-").strip("-")
        text = text.replace(f'"{real}"', f'"/etc/sesame/{own}"')
        yield f"cat {real} >/etc/sesame/{own}"
    (folder / "edited.toml").write_text(text, encoding="utf-8")
    yield f"cat {folder / 'edited.toml'} >/etc/sesame/sesame.toml"
