"""Play a twin that `sesame rehearse` wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sandbox.demo.live import read
from sandbox.demo.stage import say


def files(folder: Path) -> tuple[Path, Path]:
    """The twin's export and groups."""
    return folder / "registrar.csv", folder / "groups.csv"


def come(folder: Path, activate: Callable[[Sequence[str]], object]) -> float:
    """Activate each student when it comes; those who came meanwhile together. Return when the first came."""
    due = [(float(line["seconds"]), line["student_number"]) for line in read(folder / "arrivals.csv")]
    began, done = time.monotonic(), 0
    while done < len(due):
        time.sleep(max(0.0, began + due[done][0] - time.monotonic()))
        now = time.monotonic() - began
        numbers = [number for at, number in due[done:] if at <= now]
        activate(numbers)
        done += len(numbers)
        say(f"   {now:.0f} s: {done} of {len(due)} have come")
    return began


def compare(folder: Path, happened_s: float) -> None:
    """Show what was promised, and what happened."""
    told = json.loads((folder / "rehearsal.json").read_text(encoding="utf-8"))
    promised = told["cause"] if told["seconds"] is None else f"{told['seconds']:.0f} s, brake {told['brake']}"
    say(f"   rehearsed: {promised}; from the first one who came until all were done: {happened_s:.0f} s")
