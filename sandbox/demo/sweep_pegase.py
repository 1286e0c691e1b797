"""Pégase: the addresses that it has, beside the directory's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sandbox.demo.finding import PROVISIONED, Announced, Disagreement
from sandbox.demo.sweep_directory import Entry

_WHERE = "pegase_mail"


def compare(
    mails: Mapping[str, str], entries: Mapping[str, Entry], announced: Mapping[str, Announced]
) -> Iterator[Disagreement]:
    """Addresses that are missing, too many or otherwise (by number)."""
    due = {number: entry["mail"][0] for entry in entries.values() for number in entry["supannEtuId"]}
    for number, said in announced.items():
        told = said.targets[_WHERE]["state"] == PROVISIONED
        if mails.get(number, "") != (due.get(number, "") if told else ""):
            yield Disagreement(number, _WHERE, "has no address, or another than the directory")
