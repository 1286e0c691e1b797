"""Makes a hostile export in the Apogée profile: every kind of line that has ever hurt somebody, each once.

    python -m examples.hostile --out hostile.csv            one file, a case per line
    python -m examples.hostile --folder hostile             files that are no export as a whole
    python -m examples.hostile --table                      what each case must come to

What each case must come to stands beside it; a test imports the file and holds the importer to it. The file
is UTF-8 with `;`, except for the line whose encoding is another one.
"""

from __future__ import annotations

import argparse
import codecs
import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from examples import generate
from examples.generate import SEPARATOR

COLUMNS = (*generate.COLUMNS, "NUM_TEL_PORT")  # the optional one too

RECORDED = "recorded"
CANCELLED = "cancelled"
REPEATED = "repeated"
SKIPPED = "skipped"

_SOUND: Mapping[str, str] = {
    "COD_NNE_IND": "",
    "LIB_NOM_PAT_IND": "Le Goff",
    "LIB_NOM_USU_IND": "",
    "LIB_PR1_IND": "Énora",
    "DATE_NAI_IND": "07/03/2007",
    "MAIL_PERSO": "",
    "COD_ANU": "2026",
    "COD_ETP": "L1INFO",
    "COD_VRS_VET": "261",
    "COD_CMP": "SCI",
    "LIB_ETP": "Licence 1 Informatique",
    "TEM_IAE_PRM": "O",
    "ETA_IAE": "E",
    "ETA_PMT_IAE": "P",
    "IP_VALIDE": "O",
    "NUM_TEL_PORT": "",
}

_OTHER_STEP: Mapping[str, str] = {"COD_ETP": "DULSF", "TEM_IAE_PRM": "N"}


@dataclass(frozen=True)
class Case:
    """One line, or several about one student, and what must come of each.

    Attributes:
        name: what is hostile about it.
        outcome: `recorded`, `cancelled`, `repeated`, `skipped`, or the fault that refuses it.
        changes: what differs from a sound line; a mapping per line.
        raw: the line's bytes instead; `%s` stands for the student number.
    """

    name: str
    outcome: str
    changes: Sequence[Mapping[str, str]] = field(default_factory=lambda: ({},))
    raw: bytes | None = None


def _one(name: str, outcome: str, **changes: str) -> Case:
    return Case(name, outcome, (changes,))


def _sound_bytes(encoding: str = "utf-8", **changes: str) -> bytes:
    row = {**_SOUND, "COD_ETU": "%s", **changes}
    return SEPARATOR.join(row[column] for column in COLUMNS).encode(encoding)


CASES: tuple[Case, ...] = (
    Case("nothing wrong at all", RECORDED),
    Case("the line stands twice, word for word", REPEATED, ({}, {})),
    Case(
        "two spellings of one student",
        "contradicting_person",
        ({}, {"COD_ETP": "DULSF", "LIB_PR1_IND": "Enora"}),
    ),
    Case(
        "two birth dates of one student",
        "contradicting_person",
        ({}, {"COD_ETP": "DULSF", "DATE_NAI_IND": "08/03/2007"}),
    ),
    Case(
        "two mail addresses of one student",
        "contradicting_person",
        ({"MAIL_PERSO": "enora@example.org"}, {**_OTHER_STEP, "MAIL_PERSO": "le.goff@example.org"}),
    ),
    Case(
        "a mail address, and then none",
        "contradicting_person",
        ({"MAIL_PERSO": "enora@example.org"}, _OTHER_STEP),
    ),
    Case(
        "two INE of one student",
        "contradicting_person",
        ({"COD_NNE_IND": "060904317KT"}, {**_OTHER_STEP, "COD_NNE_IND": "060904318BC"}),
    ),
    Case("two primary steps of one year", "several_primary_steps", ({}, {"COD_ETP": "DULSF"})),
    Case("one step in force and cancelled", "conflicting_lines", ({}, {"ETA_IAE": "A"})),
    _one("a step cancelled before it was ever recorded", CANCELLED, ETA_IAE="A"),
    _one(
        "a cancelled step with everything else wrong",
        CANCELLED,
        ETA_IAE="R",
        DATE_NAI_IND="?",
        LIB_PR1_IND="",
    ),
    _one("31 February", "bad_date", DATE_NAI_IND="31/02/2005"),
    _one("a date of zeros", "bad_date", DATE_NAI_IND="00/00/0000"),
    _one("a date with two digits for the year", "bad_date", DATE_NAI_IND="07/03/07"),
    _one("a date as a spreadsheet counts days", "bad_date", DATE_NAI_IND="39148"),
    _one("born tomorrow", "implausible_date", DATE_NAI_IND="07/03/2026"),
    _one("an ISO date", RECORDED, DATE_NAI_IND="2007-03-07"),
    _one("an LDAP filter as a name", RECORDED, LIB_NOM_PAT_IND="*)(uid=*"),
    _one("an LDAP filter as a step", "bad_code", COD_ETP="*)(uid=*"),
    _one("SQL as a name", RECORDED, LIB_NOM_PAT_IND="Robert'); DROP TABLE people;--"),
    _one("SQL as a component", "bad_code", COD_CMP=";DROP TABLE people"),
    _one("a formula as a name", RECORDED, LIB_PR1_IND="=cmd|' /C calc'!A0"),
    _one("a formula as a date", "bad_date", DATE_NAI_IND="=cmd|' /C calc'!A0"),
    _one("a script as a name", RECORDED, LIB_PR1_IND="<script>alert(1)</script>"),
    _one("a script as a step", "bad_code", COD_ETP="<script>alert(1)</script>"),
    _one("a template as a label", RECORDED, LIB_ETP="{0.__class__} {{7*7}} ${HOME} %s"),
    _one("a path as a step's version", "bad_code", COD_VRS_VET="/etc/passwd"),
    _one("a line break as it is quoted in CSV", "broken_quotes", LIB_PR1_IND='"Éno'),
    _one("a zero byte in a name", "control_character", LIB_PR1_IND="Éno\0ra"),
    _one("a bell in a name", "control_character", LIB_PR1_IND="Éno\x07ra"),
    _one("a line separator of Unicode in a name", "control_character", LIB_PR1_IND="Éno\u2028ra"),
    Case("a carriage return inside the line", "control_character", raw=_sound_bytes(LIB_PR1_IND="Éno\rra")),
    Case("a line in Windows-1252", "undecodable", raw=_sound_bytes("windows-1252")),
    _one("marks that turn the direction of writing", RECORDED, LIB_NOM_PAT_IND="\u202eLe\u200f Goff\u202c"),
    _one("combining marks instead of accents", RECORDED, LIB_PR1_IND="E\u0301nora"),
    _one("an emoji", RECORDED, LIB_PR1_IND="Énora 🎓"),
    _one("Arabic", RECORDED, LIB_NOM_PAT_IND="بن علي", LIB_PR1_IND="محمد"),
    _one("a name of one character", RECORDED, LIB_NOM_PAT_IND="O"),
    _one("a name of 200 characters", RECORDED, LIB_NOM_PAT_IND="N" * 200),
    _one("a name of 201 characters", "too_long", LIB_NOM_PAT_IND="N" * 201),
    _one("no family name", "missing_value", LIB_NOM_PAT_IND=" "),
    _one("apostrophes of all kinds", RECORDED, LIB_NOM_PAT_IND="L'Hô’Hʼo′"),  # noqa: RUF001 -- they are meant
    _one("a mail address without @", "bad_mail", MAIL_PERSO="enora.example.org"),
    _one("two mail addresses", "bad_mail", MAIL_PERSO="a@example.org,b@example.org"),
    _one("a mail header injected", "bad_mail", MAIL_PERSO="a@example.org Bcc: b@example.org"),
    _one("an internationalised mail address", RECORDED, MAIL_PERSO="énora@université.example"),
    _one("a mail address with a plus", RECORDED, MAIL_PERSO="enora+fac@example.org"),
    _one("a mail address in upper case", RECORDED, MAIL_PERSO="ENORA@EXAMPLE.ORG"),
    _one("two mobile numbers in one cell", "bad_mobile", NUM_TEL_PORT="06 12 34 56 78 / 07 12 34 56 78"),
    _one("a mobile number without its first 0", RECORDED, NUM_TEL_PORT="612345678"),
    _one("a mobile number of another country", RECORDED, NUM_TEL_PORT="+32 470 12 34 56"),
    _one("an INE that is too short", "bad_ine", COD_NNE_IND="12345"),
    _one("a year of two digits", "bad_year", COD_ANU="26"),
    _one("a year in other digits", "bad_year", COD_ANU="٢٠٢٦"),
    _one("an unknown state", "unknown_value", ETA_IAE="X"),
    _one("UTF-8 that was encoded twice", "damaged_text", LIB_PR1_IND="Ã‰nora"),
    _one("UTF-8 that a Macintosh encoded again", "damaged_text", LIB_PR1_IND="Herv√©"),
    _one("a name that was read as a Macintosh's", "damaged_text", LIB_PR1_IND="HÈlËne"),
    _one("a name that was read as a DOS program's", "damaged_text", LIB_PR1_IND="HÚlÞne"),
    _one("letters lost to question marks", "damaged_text", LIB_PR1_IND="H?l?ne"),
    _one("letters lost to replacement characters", "damaged_text", LIB_PR1_IND="H\ufffdl\ufffdne"),
    _one("a database's NULL as a name", "damaged_text", LIB_NOM_PAT_IND="NULL"),
    _one("a database's NULL as an optional name", "damaged_text", LIB_NOM_USU_IND="NULL"),
    _one("a database's NULL as a student number", "bad_student_number", COD_ETU="NULL"),
    _one("Python's None as a name", "damaged_text", LIB_PR1_IND="None"),
    _one("a spreadsheet's #N/A", "damaged_text", LIB_PR1_IND="#N/A"),
    _one("a spreadsheet's #REF!", "damaged_text", LIB_NOM_PAT_IND="#REF!"),
    _one("a spreadsheet's #NOM?", "damaged_text", LIB_PR1_IND="#NOM?"),
    _one("N/A typed by hand", "damaged_text", LIB_PR1_IND="n/a"),
    _one("a byte order mark inside a name", "damaged_text", LIB_PR1_IND="É\ufeffnora"),
    _one("HTML's code of a letter", "damaged_text", LIB_PR1_IND="&Eacute;nora"),
    _one("a URL's code of a letter", "damaged_text", LIB_PR1_IND="%C3%89nora"),
    _one("JSON's code of a letter", "damaged_text", LIB_PR1_IND="\\u00c9nora"),
    _one("UTF-8 that was encoded twice, in a mail address", "bad_mail", MAIL_PERSO="Ã©nora@example.org"),
    _one("a name with a Portuguese tilde", RECORDED, LIB_NOM_PAT_IND="Conceição", LIB_PR1_IND="João"),
    _one("a tilde on the first letter", RECORDED, LIB_PR1_IND="Ãlvaro"),
    _one("an apostrophe after one letter", RECORDED, LIB_NOM_PAT_IND="N'Guessan"),
    _one("a Czech name in capitals", RECORDED, LIB_NOM_PAT_IND="JANÍŠEK"),
    _one("a Vietnamese name", RECORDED, LIB_NOM_PAT_IND="Nguyễn", LIB_PR1_IND="Đặng"),
    Case("one field too many", "wrong_field_count", raw=_sound_bytes() + b";"),
    Case("one field too few", "wrong_field_count", raw=_sound_bytes().rpartition(b";")[0]),
    Case("a field of 10 MB", "line_too_long", raw=_sound_bytes(LIB_ETP="x" * 10_000_000)),
    _one("no student number", "missing_value", COD_ETU=""),
    _one("a number that a spreadsheet shortened", "lost_digits", COD_ETU="2,26E+07"),
    _one("an LDAP filter as a student number", "bad_student_number", COD_ETU="*)(uid=*"),
    _one("a student number of 33 characters", "bad_student_number", COD_ETU="9" * 33),
    Case("a line of nothing but separators", SKIPPED, raw=b";" * (len(COLUMNS) - 1)),
    Case("after all that, nothing wrong at all", RECORDED),
)

_HEADER = SEPARATOR.join(COLUMNS).encode() + b"\n"
_LINE = _sound_bytes().replace(b"%s", b"98000001") + b"\n"

FILES: Mapping[str, tuple[bytes, str]] = {
    "empty.csv": (b"", "the file is empty"),
    "blank.csv": (b"\n \r\n\n", "the file is empty"),
    "header-only.csv": (_HEADER, "line 1: a header, and no line below it"),
    "no-header.csv": (_LINE, "line 1: no header"),
    "missing-column.csv": (
        (_HEADER + _LINE).replace(b"DATE_NAI_IND", b"NE_LE"),
        "line 1: the header lacks DATE_NAI_IND",
    ),
    "twice-a-column.csv": (
        _HEADER.replace(b"\n", b";COD_ETU\n") + _LINE.replace(b"\n", b";98000001\n"),
        "line 1: the header names COD_ETU more than once",
    ),
    "wrong-separator.csv": (
        (_HEADER + _LINE).replace(b";", b"~"),
        "separated by semicolons, commas, tabs or |",
    ),
    "spreadsheet.csv": (b"PK\x03\x04\x14\x00\x06\x00", "damaged, or packed in an unknown way"),
    "utf-16.csv": ("COD_ETU".encode("utf-16-le"), "zero bytes"),  # without its mark
    "utf-16-cut.csv": (codecs.BOM_UTF16_LE + "COD_ETU".encode("utf-16-le")[:-1], "it is damaged"),
    "zero-bytes.csv": (b"\0" * 4096, "zero bytes"),
    "no-line-breaks.csv": (b"x" * 1_000_000, "line 1: the header is longer than"),
    "json.csv": (b'[{"codeApprenant": "98000001"}]\n', "line 1: no header"),
}
"""Files that are no export as a whole, and what the refusal must say."""


def lines() -> Iterator[tuple[Case, bytes]]:
    """Every line below the header with its case, in order, without its line break."""
    for number, case in enumerate(CASES, start=1):
        student = str(98_000_000 + number)
        if case.raw is not None:
            yield case, case.raw.replace(b"%s", student.encode())
            continue
        for changes in case.changes:
            row = {**_SOUND, "COD_ETU": student, **changes}
            yield case, _csv([row[column] for column in COLUMNS])


def _csv(cells: list[str]) -> bytes:
    """A line as software writes it: quoted where it must be; an open quote stays open."""
    if any(cell.startswith('"') for cell in cells):
        return SEPARATOR.join(cells).encode()
    text = io.StringIO()
    csv.writer(text, delimiter=SEPARATOR, lineterminator="").writerow(cells)
    return text.getvalue().encode("utf-8", "surrogatepass")


def export() -> bytes:
    """The whole file."""
    return _HEADER + b"".join(line + b"\n" for _case, line in lines())


def table() -> str:
    """What each case must come to, in Markdown."""
    rows = [f"| {case.name} | `{case.outcome}` |" for case in CASES]
    files = [f"| {name} | refused as a whole: {says} |" for name, (_content, says) in FILES.items()]
    return "\n".join(["| Case | Outcome |", "|---|---|", *rows, *files])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make a hostile registrar's export.")
    parser.add_argument("--out", type=Path, help="write the file with a case per line")
    parser.add_argument("--folder", type=Path, help="write the files that are no export as a whole")
    parser.add_argument("--table", action="store_true", help="print what each case must come to")
    options = parser.parse_args(arguments)
    if not (options.out or options.folder or options.table):
        parser.error("say what to do: --out, --folder or --table")
    if options.out:
        options.out.write_bytes(export())
    if options.folder:
        options.folder.mkdir(exist_ok=True)
        for name, (content, _says) in FILES.items():
            (options.folder / name).write_bytes(content)
    if options.table:
        sys.stdout.write(table() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
