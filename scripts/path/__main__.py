"""Write ARCHITECTURE's path of one student: `python -m scripts.path run|describe`.

`run`: the demo of one student runs with every process under an instrument (`sitecustomize.py`); a file is
listed under who held the student's number in it first. `describe` renews the descriptions of the files that
are there: each is its module's first sentence.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts import evidence

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "ARCHITECTURE.md"
NUMBER = "22600001"  # the first student of the demo's campus
PARTS = {
    "import": "File",
    "registry": "Registry",
    "activate": "Activation",
    "directory": "Directory",
    "mailbox": "Mailbox",
    "moodle": "Moodle",
    "propagation": "Completion",
}
"""By who ran it: a command, or the threads of a consumer (`directory-run-1`)."""
_ROW = re.compile(r"^\| ([^|]+) \| `([\w/]+\.py)` \| `([\w.]+)` \|", re.MULTILINE)


def main() -> int:
    """Write the table; 2: neither of the commands was given."""
    if sys.argv[1:] not in (["run"], ["describe"]):
        print(__doc__, file=sys.stderr)
        return 2
    rows = run() if sys.argv[1] == "run" else _ROW.findall(evidence.written("path", PAGE))
    lines = (
        f"| {part} | `{file}` | `{function}` | {sentence(ROOT / file)} |" for part, file, function in rows
    )
    head = ("| Part | File | First in | What it is |", "|---|---|---|---|")
    evidence.write("path", "\n".join((*head, *lines)), PAGE)
    return 0


def run() -> list[tuple[str, str, str]]:
    """Run the demo; the part, the file and the function of each first look, by part."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "path"
        traced = {"PATH_OUT": str(out), "PATH_ROOT": f"{ROOT}/", "PATH_NUMBER": NUMBER}
        environment = {**os.environ, **traced, "PYTHONPATH": str(Path(__file__).parent)}
        subprocess.run(["make", "demo", "KEEP=0", "STUDENTS=1"], cwd=ROOT, env=environment, check=True)
        lines = [line.split("\t") for line in out.read_text(encoding="utf-8").splitlines()]
    first: dict[str, tuple[str, str, str]] = {}
    for file, function, by in lines:
        first.setdefault(file, (PARTS.get(by.split("-")[0], ""), file, function))
    order = list(PARTS.values())
    return sorted((row for row in first.values() if row[0]), key=lambda row: order.index(row[0]))


def sentence(file: Path) -> str:
    """The first sentence of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".").replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
