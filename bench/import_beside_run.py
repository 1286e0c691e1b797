"""The rows `import-beside-run` and `registry-facts`: import a file while `sesame run` works.

Store and log are SQLite. The registry works through the enrolments of a first file, first alone, then while
the command imports a second file of other students, then to the end. The rates beside each other are compared
with the undisturbed ones of the same run.
"""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from sqlalchemy import func, select

from bench.rows import Row
from consumers.registry.people import people
from examples.generate import write
from pipeline.db.database import Database

STUDENTS, ALONE = 4_000, 600
SHARE_OF_IMPORT, SHARE_OF_RUN = 0.5, 0.8
_PATIENCE_S = 600.0
_PARTLY = 3
_SETTINGS = """
data_dir = "data"
targets = ["timetable"]
[registrar]
profile = "apogee"
[registry]
mail_domain = "etu.univ-exemple.fr"
scope = "univ-exemple.fr"
[timetable]
calendar_url = "https://127.0.0.1:1/ical/{login}.ics"
probe_url = "https://127.0.0.1:1/ical/salle-a101.ics"
[http]
port = 0
"""


class Site:
    """A site in a folder, and the commands on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "sesame.toml").write_text(_SETTINGS, encoding="utf-8")
        (folder / "data").mkdir(mode=0o700)
        self.sesame("vault", "init")
        self.sesame("migrate")

    def command(self, *words: str) -> list[str]:
        """A command of Sésame's."""
        return [sys.executable, "-m", "sesame", "--config", str(self.folder / "sesame.toml"), *words]

    def sesame(self, *words: str) -> None:
        """Run a command to its end."""
        ended = subprocess.run(self.command(*words), cwd=self.folder, check=False, capture_output=True)
        if ended.returncode not in (0, _PARTLY):  # the generator's files have lines that are refused
            raise RuntimeError(ended.stderr.decode()[-500:])

    def imported(self, file: Path) -> float:
        """Import a file; lines a second, the command's start included."""
        lines = file.read_bytes().count(b"\n") - 1
        begun = time.perf_counter()
        self.sesame("import", str(file))
        return lines / (time.perf_counter() - begun)

    @contextmanager
    def running(self) -> Iterator[None]:
        """`sesame run`, for as long as the block lasts."""
        with subprocess.Popen(self.command("run"), cwd=self.folder, stderr=subprocess.DEVNULL) as run:
            try:
                yield
            finally:
                run.terminate()


def exports(folder: Path, students: int) -> tuple[Path, Path]:
    """Two files of about so many students each; together twice as many."""
    whole = io.StringIO()
    write(whole, students=2 * students, year=2026)
    head, *lines = whole.getvalue().splitlines(keepends=True)
    first, second = folder / "first.csv", folder / "second.csv"
    half = len(lines) // 2
    while lines[half].partition(";")[0] == lines[half - 1].partition(";")[0]:
        half += 1
    first.write_text(head + "".join(lines[:half]), "utf-8")
    second.write_text(head + "".join(lines[half:]), "utf-8")
    return first, second


class Measured(NamedTuple):
    """An import's lines a second, alone and beside the run, and the registry's students a second.

    `facts`: from the beginning of the second import until all of its students have their accounts.
    """

    import_alone: float
    import_beside: float
    run_alone: float
    run_beside: float
    facts: float


def measured(students: int = STUDENTS, alone: int = ALONE) -> Measured:
    """Measure once: two files of so many students, of whom so many are made before the second is imported."""
    with TemporaryDirectory(prefix="sesame-bench-") as name:
        folder = Path(name)
        first, second = exports(folder, students)
        site = Site(folder)
        import_alone = site.imported(first)
        with closing(Database(f"sqlite:///{folder / 'data' / 'sesame.db'}")) as store, site.running():
            until(lambda: registered(store) > 0)
            begun, before = time.perf_counter(), registered(store)
            until(lambda: registered(store) >= before + alone)
            run_alone = (registered(store) - before) / (time.perf_counter() - begun)
            begun, before = time.perf_counter(), registered(store)
            import_beside = site.imported(second)
            run_beside = (registered(store) - before) / (time.perf_counter() - begun)
            until(lambda: registered(store) == 2 * students)
            facts = (2 * students - before) / (time.perf_counter() - begun)
        return Measured(import_alone, import_beside, run_alone, run_beside, facts)


def registered(store: Database) -> int:
    """The number of students in the registry."""
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(people)).scalar_one()


def until(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds."""
    ends_at = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > ends_at:
            raise TimeoutError("the registry does not get on")
        time.sleep(0.05)


def rows(runs: int) -> Sequence[Row]:
    """`import-beside-run`, `run-beside-import` and `registry-facts`."""
    found = Measured._make(map(median, zip(*(measured() for _ in range(runs)), strict=True)))
    note = f"SQLite; {STUDENTS} students in each of two files, no target has work"
    return [
        Row(
            "import-beside-run",
            "lines/s",
            found.import_beside,
            SHARE_OF_IMPORT,
            ratio=found.import_beside / found.import_alone,
            peers={"alone": found.import_alone},
            note=note,
        ),
        Row(
            "run-beside-import",
            "students/s",
            found.run_beside,
            SHARE_OF_RUN,
            ratio=found.run_beside / found.run_alone,
            peers={"alone": found.run_alone},
            note=note,
        ),
        Row("registry-facts", "students/s", found.facts, note=f"{note}; until all have their accounts"),
    ]


if __name__ == "__main__":
    for row in rows(1):
        print(row.as_json())
