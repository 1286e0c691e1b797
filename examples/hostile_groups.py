"""Makes a hostile file of teaching units and groups, in the Apogée form: every kind of line, each once.

    python -m examples.hostile_groups --out hostile-groups.csv
    python -m examples.hostile_groups --table                what each case must come to

As `examples.hostile` does for the main file; a test imports it and holds the importer to it. What is refused
must take nothing from its student, which is what the cases about lists are for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from examples.generate import SEPARATOR
from examples.groups import COLUMNS
from examples.hostile import REPEATED, Case

LISTED = "listed"
TEACHINGS_MAX = 500

_SOUND: Mapping[str, str] = {
    "COD_ANU": "2026",
    "COD_ELP": "INF101",
    "LIB_ELP": "Programmation 1",
    "COD_GPE": "TD2",
}


def _one(name: str, outcome: str, **changes: str) -> Case:
    return Case(name, outcome, (changes,))


def _sound(**changes: str) -> str:
    row = {**_SOUND, "COD_ETU": "%s", **changes}
    return SEPARATOR.join(row[column] for column in COLUMNS)


CASES: tuple[Case, ...] = (
    Case("nothing wrong at all", LISTED),
    _one("a unit without a group", LISTED, COD_GPE=""),
    _one("a unit without a name", LISTED, LIB_ELP=""),
    Case("two groups of one unit", LISTED, ({}, {"COD_GPE": "TP1"})),
    Case("a unit with and without its group", LISTED, ({}, {"COD_GPE": ""})),
    Case("the line stands twice, word for word", REPEATED, ({}, {})),
    Case("two names of one unit and group", "conflicting_lines", ({}, {"LIB_ELP": "Programmation I"})),
    Case(
        "one line too many for any student",
        "too_many_teachings",
        tuple({"COD_ELP": f"UE{number}"} for number in range(TEACHINGS_MAX + 1)),
    ),
    _one("an LDAP filter as a unit", "bad_code", COD_ELP="*)(uid=*"),
    _one("SQL as a group", "bad_code", COD_GPE="x' OR 1=1--"),
    _one("a formula as a group", "bad_code", COD_GPE="=cmd|' /C calc'!A0"),
    _one("a formula as a name", LISTED, LIB_ELP="=cmd|' /C calc'!A0"),
    _one("a script as a unit", "bad_code", COD_ELP="<script>alert(1)</script>"),
    _one("a script as a name", LISTED, LIB_ELP="<script>alert(1)</script>"),
    _one("a template as a name", LISTED, LIB_ELP="{0.__class__} {{7*7}} ${HOME} %s"),
    _one("a template as a unit", "bad_code", COD_ELP="{year}"),
    _one("a path as a group", "bad_code", COD_GPE="/etc/passwd"),
    _one("a unit of 64 characters", LISTED, COD_ELP="U" * 64),
    _one("a unit of 65 characters", "bad_code", COD_ELP="U" * 65),
    _one("a name of 513 characters", "too_long", LIB_ELP="N" * 513),
    _one("an accent in a group", "bad_code", COD_GPE="Tdé"),
    _one("a zero byte in a name", "control_character", LIB_ELP="Prog\0rammation"),
    _one("a line separator of Unicode in a unit", "control_character", COD_ELP="INF\u2028101"),
    _one("marks that turn the direction of writing", LISTED, LIB_ELP="\u202eProgrammation\u202c"),
    _one("no unit", "missing_value", COD_ELP=" "),
    _one("a year of two digits", "bad_year", COD_ANU="26"),
    _one("a year as a period", "bad_year", COD_ANU="2026-2027"),
    Case("a quote left open", "broken_quotes", raw=_sound(LIB_ELP='"Programmation').encode()),
    Case("a line in Windows-1252", "undecodable", raw=_sound(LIB_ELP="Algèbre").encode("windows-1252")),
    Case("one field too many", "wrong_field_count", raw=_sound().encode() + b";"),
    Case("a field of 10 MB", "line_too_long", raw=_sound(LIB_ELP="x" * 10_000_000).encode()),
    _one("an LDAP filter as a student number", "bad_student_number", COD_ETU="*)(uid=*"),
    _one("no student number", "missing_value", COD_ETU=""),
    Case("after all that, nothing wrong at all", LISTED),
)


def lines() -> Iterator[tuple[Case, bytes]]:
    """Every line below the header with its case, in order, without its line break."""
    for number, case in enumerate(CASES, start=1):
        student = str(97_000_000 + number)
        if case.raw is not None:
            yield case, case.raw.replace(b"%s", student.encode())
            continue
        for changes in case.changes:
            row = {**_SOUND, "COD_ETU": student, **changes}
            yield case, SEPARATOR.join(row[column] for column in COLUMNS).encode()


def export() -> bytes:
    """The whole file."""
    header = SEPARATOR.join(COLUMNS).encode() + b"\n"
    return header + b"".join(line + b"\n" for _case, line in lines())


def table() -> str:
    """What each case must come to, in Markdown."""
    return "\n".join(
        ["| Case | Outcome |", "|---|---|", *(f"| {each.name} | `{each.outcome}` |" for each in CASES)]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make a hostile file of teaching units and groups.")
    parser.add_argument("--out", type=Path, help="write the file")
    parser.add_argument("--table", action="store_true", help="print what each case must come to")
    options = parser.parse_args(arguments)
    if not (options.out or options.table):
        parser.error("say what to do: --out or --table")
    if options.out:
        options.out.write_bytes(export())
    if options.table:
        sys.stdout.write(table() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
