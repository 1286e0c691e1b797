"""Files as a university's offices send them, odd and hostile, and what becomes of each row: a page in French.

The page is made of real runs: `python -m tests.docs.office_files` writes it, a test compares it. Each file is
written by hand here, so that nothing of the importer's own reading takes part.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sesame.testing.servers.command import sesame
from tests.docs.documents import ROOT
from tests.unit.producers.registrar.workbook_kit import (
    DATE,
    LETTER,
    PERCENT,
    ZEROS,
    number,
    ods,
    row,
    table,
    table_row,
    xlsx,
    zipped,
)

PAGE: Final = ROOT / "docs" / "fr" / "fichiers-du-bureau.md"
MAPPING: Final = """\
name = "bureau"
[fields]
student_number = "N° étudiant"
birth_name = "Nom"
given_name = "Prénom"
birth_date = "Né(e) le"
step = "Étape"
step_version = { constant = "1" }
step_label = { constant = "Licence" }
component = { constant = "SCI" }
year = { constant = 2026 }
primary = { constant = true }
state = { constant = "in_force" }
pedagogical = { constant = "validated" }
"""
HEADER: Final = ("N° étudiant", "Nom", "Prénom", "Né(e) le", "Étape")
BORN: Final = 39148
"""7 March 2007, as Excel counts days."""

Row = tuple[str, ...]


@dataclass(frozen=True)
class OfficeFile:
    """One file.

    Attributes:
        title, story: what it is, in French.
        name: of the file.
        content: its bytes.
        rows: what its rows show to whoever opens it, by line; none, where the file is refused as a whole.
        options: of the import.
    """

    title: str
    story: str
    name: str
    content: bytes
    rows: Mapping[int, Row] = field(default_factory=dict)
    options: tuple[str, ...] = ()


def _numbered(*rows: Row) -> dict[int, Row]:
    return dict(enumerate(rows, start=1))


def _text(rows: Sequence[Row], separator: str = ";", end: str = "\r\n") -> str:
    return "".join(separator.join(each) + end for each in rows)


def _made(write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made"
        write(path)
        return path.read_bytes()


def _formula(text: str, value: str | None) -> str:
    return f"<c><f>{text}</f>{'' if value is None else f'<v>{value}</v>'}</c>"


def _excel() -> Iterator[OfficeFile]:
    title = ("Inscriptions 2026-2027, édition du 01/09/2026",)
    cells = (
        row(*title),
        row(*HEADER),
        row(number("22610001.0"), "Le Goff", "Énora", number(BORN, DATE), "L1INFO"),
        row("22610002.0", "N'Diaye", "Mamadou", "12/03/2007 00:00:00", "L1INFO"),
        row(number("2.2610003E7"), "Œuvrard", "Zoé", "12/03/2007", "L1INFO"),
        row("2.26E7", "Roux", "Léa", "12/03/2007", "L1INFO"),
        row(number(610005, ZEROS), "Martin", "Paul", "2007-03-12", "L1INFO"),
        row(number(2261, LETTER), "Petit", "Anaïs", "12/03/2007", "L1INFO"),
        row(number("0.5", PERCENT), "Faure", "Hugo", "12/03/2007", "L1INFO"),
        row(number("2261000812345678"), "Morel", "Inès", "12/03/2007", "L1INFO"),
        row(number(22610009), "Blanc", "Jules", number(BORN), "L1INFO"),
        row(number(22610010), "Garnier", "Lina", "12/03/2007 08:30:00", "L1INFO"),
        "<row/>",
        row("Total", number(8)),
    )
    shown: list[Row] = [
        title,
        HEADER,
        ("22610001 (nombre)", "Le Goff", "Énora", "07/03/2007 (date)", "L1INFO"),
        ("22610002.0", "N'Diaye", "Mamadou", "12/03/2007 00:00:00", "L1INFO"),
        ("2,2610003E+07 (nombre)", "Œuvrard", "Zoé", "12/03/2007", "L1INFO"),
        ("2.26E7", "Roux", "Léa", "12/03/2007", "L1INFO"),
        ("00610005 (nombre, format 00000000)", "Martin", "Paul", "2007-03-12", "L1INFO"),
        ('E2261 (nombre, format "E"0000)', "Petit", "Anaïs", "12/03/2007", "L1INFO"),
        ("50 % (nombre)", "Faure", "Hugo", "12/03/2007", "L1INFO"),
        ("2261000812345670 (seize chiffres)", "Morel", "Inès", "12/03/2007", "L1INFO"),
        ("22610009 (nombre)", "Blanc", "Jules", "39148 (nombre sans format de date)", "L1INFO"),
        ("22610010 (nombre)", "Garnier", "Lina", "12/03/2007 08:30:00", "L1INFO"),
        (),
        ("Total", "8"),
    ]
    yield OfficeFile(
        "Un classeur Excel, avec titre, total et nombres réécrits",
        "Excel garde les numéros comme des nombres à virgule et les dates comme des jours comptés.",
        "inscriptions.xlsx",
        _made(lambda path: xlsx(path, {"Feuil1": "".join(cells)})),
        _numbered(*shown),
    )
    formulas = (
        row(*HEADER),
        row(_formula("A1+1", "22610021"), "Le Goff", "Énora", number(BORN, DATE), "L1INFO"),
    )
    yield OfficeFile(
        "Des formules",
        "C'est la valeur enregistrée avec la formule qui compte.",
        "formules.xlsx",
        _made(lambda path: xlsx(path, {"Feuil1": "".join(formulas)})),
        _numbered(HEADER, ("=A1+1 (22610021)", "Le Goff", "Énora", "07/03/2007", "L1INFO")),
    )
    unsaved = (row(*HEADER), row(_formula("A1+1", None), "Le Goff", "Énora", "07/03/2007", "L1INFO"))
    yield OfficeFile(
        "Des formules qui n'ont jamais été calculées",
        "Le fichier sort d'un programme qui écrit des formules sans leur valeur.",
        "formules-sans-valeur.xlsx",
        _made(lambda path: xlsx(path, {"Feuil1": "".join(unsaved)})),
    )
    line = ("Le Goff", "Énora", "07/03/2007", "L1INFO")
    first, second = row(*HEADER) + row("22610031", *line), row(*HEADER) + row("22610032", *line)
    sheets = _made(lambda path: xlsx(path, {"Licence": first, "Master": second}))
    yield OfficeFile(
        "Deux feuilles remplies", "Rien ne dit laquelle est la bonne.", "deux-feuilles.xlsx", sheets
    )
    yield OfficeFile(
        "Les mêmes, la feuille nommée",
        "`--sheet` choisit.",
        "deux-feuilles.xlsx",
        sheets,
        _numbered(HEADER, ("22610032", *line)),
        ("--sheet", "Master"),
    )
    yield OfficeFile(
        "Un million de lignes vides",
        "LibreOffice a gardé la mise en forme de toute la feuille.",
        "million.ods",
        _made(
            lambda path: ods(
                path,
                table(
                    "Feuille1", table_row(*HEADER), table_row("22610041", *line), table_row(times=1_000_000)
                ),
            )
        ),
        _numbered(HEADER, ("22610041", *line)),
    )
    last = 1_048_576
    yield OfficeFile(
        "Une cellule oubliée tout en bas",
        "Une touche frappée par mégarde à la dernière ligne d'Excel.",
        "tout-en-bas.xlsx",
        _made(
            lambda path: xlsx(path, {"Feuil1": row(*HEADER) + row("22610042", *line) + row("x", number=last)})
        ),
        {1: HEADER, 2: ("22610042", *line), last: ("x",)},
    )
    yield OfficeFile(
        "Un classeur de l'ancien Excel",
        "Ou protégé par un mot de passe : les deux commencent de même.",
        "ancien.xls",
        bytes.fromhex("D0CF11E0A1B11AE1") + bytes(504),
    )


def _csv() -> Iterator[OfficeFile]:
    shown: list[Row] = [
        ("sep=;",),
        HEADER,
        ('="00123456"', "Le Goff", "Énora", "07/03/2007", "L1INFO"),
        ("22 610 052", "Roux", "Léa", "07/03/2007", "L1INFO"),
        ("22\u00a0610\u00a0053", "Petit", "Hugo", "07/03/2007", "L1INFO"),
        ("22610054", "=cmd|' /C calc'!A0", "Léa", "07/03/2007", "L1INFO"),
        ("22610055", "Faure", "Anaïs", "=AUJOURDHUI()", "L1INFO"),
        ("22610059", "Simon", "Louis", "31/02/2007", "L1INFO"),
        ("22610056", "Morel", "Inès", "07/03/1907", "L1INFO"),
        ("22610057", "Garnier", "", "07/03/2007", "L1INFO"),
        ("22610058", "Blanc", "H?l?ne", "07/03/2007", "L1INFO"),
        ("", "", "", "", ""),
        ("Édité le 01/09/2026", "", "", "", ""),
    ]
    yield OfficeFile(
        "Un CSV d'Excel, avec `sep=;` et de mauvaises valeurs",
        "Un nom qui est une formule, un jour qui n'existe pas, un prénom oublié, des lettres perdues.",
        "export.csv",
        _text(shown).encode("utf-8-sig"),
        _numbered(*shown),
    )
    rows: list[Row] = [HEADER, ("22610061", "Lefèvre", "Noël", "07/03/2007", "L1INFO")]
    for title, name, encoding in (
        ("Un vieux poste sous DOS (cp850)", "vieux-poste.csv", "cp850"),
        ("Un vieux Mac (Mac Roman)", "vieux-mac.csv", "mac-roman"),
        ("Un poste sous Windows (Windows-1252)", "windows.csv", "windows-1252"),
    ):
        yield OfficeFile(
            title,
            "L'en-tête a des accents : ils disent dans quel encodage est le fichier.",
            name,
            _text(rows).encode(encoding),
            _numbered(*rows),
        )
    yield OfficeFile(
        "Le « Texte Unicode » d'Excel (UTF-16)",
        "Des tabulations, et deux octets par caractère.",
        "texte-unicode.txt",
        _text(rows, "\t").encode("utf-16"),
        _numbered(*rows),
    )
    yield OfficeFile(
        "Des barres verticales, des titres, un pied de page",
        "Une édition mise en page, puis exportée.",
        "edition.txt",
        (
            "Université de l'Exemple\n\n" + _text(rows, "|", "\n") + "\nScolarité centrale\nPage 1/1\n"
        ).encode(),
        _numbered(("Université de l'Exemple",), (), *rows, (), ("Scolarité centrale",), ("Page 1/1",)),
    )
    lacking = [("N° étudiant", "Nom de famille", "Prénom", "Né le", "Étape"), rows[1]]
    yield OfficeFile(
        "Un en-tête qui ne convient pas",
        "Deux colonnes ont changé de nom.",
        "autre-en-tete.csv",
        _text(lacking).encode(),
    )


def _packed() -> Iterator[OfficeFile]:
    rows: list[Row] = [HEADER, ("22610071", "Le Goff", "Énora", "07/03/2007", "L1INFO")]
    content = _text(rows).encode()
    yield OfficeFile(
        "Un CSV dans un zip",
        "Il est lu tel quel.",
        "export.zip",
        zipped(export__csv=content),
        _numbered(*rows),
    )
    yield OfficeFile(
        "Un CSV comprimé", "De même.", "export.csv.gz", gzip.compress(content, mtime=0), _numbered(*rows)
    )
    yield OfficeFile(
        "Un zip dans un zip",
        "Une archive qui en contient une autre n'est jamais ouverte.",
        "poupees.zip",
        zipped(export__zip=zipped(export__csv=content)),
    )
    yield OfficeFile(
        "Deux fichiers dans un zip",
        "Rien ne dit lequel est le bon.",
        "deux.zip",
        zipped(licence__csv=content, master__csv=content),
    )
    yield OfficeFile(
        "Une image nommée `.csv`",
        "Le contenu compte, pas le nom.",
        "image.csv",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    )


def office_files() -> Iterator[OfficeFile]:
    """Every file, in the page's order."""
    yield from _excel()
    yield from _csv()
    yield from _packed()


_HEAD: Final = """\
# Les fichiers d'un bureau, et le sort de chaque ligne

<!-- Écrit par `python -m tests.docs.office_files`, à partir de vrais imports. -->

Des fichiers tels que les bureaux les envoient : curieux, endommagés ou hostiles. Chacun a été importé, et
cette page montre ce que la commande a répondu et ce qu'il est advenu de chaque ligne. Elle est réécrite à
partir des imports eux-mêmes, et un test la compare : elle ne peut pas se tromper. En bref :
[les fichiers acceptés](importer-chaque-nuit.md#les-fichiers-acceptés) et
[les lignes refusées, avec leur remède](lignes-refusees.md), qui n'est donné ici qu'une fois par fichier.

Le fichier de correspondance de ces exemples, `bureau.toml` :

```toml
"""


def page() -> str:
    """The page, of imports made now."""
    parts = [_HEAD + MAPPING + "```\n"]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("data").mkdir()
        Path("sesame.toml").write_text('data_dir = "data"\n', encoding="utf-8")
        Path("bureau.toml").write_text(MAPPING, encoding="utf-8")
        parts += [_told(file) for file in office_files()]
    return "\n".join(parts)


def _told(file: OfficeFile) -> str:
    """What is said of a file, and what becomes of its rows."""
    Path(file.name).write_bytes(file.content)
    words = ("import", file.name, "--profile", "bureau.toml", *file.options)
    found = sesame(*words, "--dry-run", "--lang", "fr")
    said = [f"## {file.title}", "", file.story, ""]
    said += ["```sh", shlex.join(("sesame", *words, "--dry-run")), "```", ""]
    said += [
        "```text",
        *found.output.rstrip("\n").split("\n"),
        f"(code de sortie {found.exit_code})",
        "```",
        "",
    ]
    if file.rows:
        said += ["| Ligne | Contenu | Sort |", "|---|---|---|"]
        fates = _fates(words, Path(file.name).with_suffix(".rejects.csv"))
        for number, cells in file.rows.items():
            content = " · ".join(cells).replace("|", "\\|")
            fate = "en-tête" if cells == HEADER else fates.get(number, "ignorée")
            said.append(f"| {number} | {f'`{content}`' if content.strip(' ·') else ''} | {fate} |")
        said.append("")
    return "\n".join(said)


def _fates(words: Sequence[str], rejects: Path) -> dict[int, str]:
    """What becomes of each line that is read as one: from the rejects file, and from what is explained."""
    explained = json.loads(sesame(*words, "--explain", "1000", "--json").stdout)
    fates = {
        line["line"]: "acceptée : numéro `{student_number}`, né(e) le {birth_date}".format(
            **{name: each["value"] for name, each in line["fields"].items()}
        )
        for line in explained["read"]
    }
    if rejects.exists():
        told: set[str] = set()
        with rejects.open(encoding="utf-8-sig", newline="") as file:
            for number, _, column, value, detail, remedy, fault in [*csv.reader(file, delimiter=";")][1:]:
                shown = f"`{value}`" if value else "vide"
                end = "" if detail.endswith("?") else "."
                todo = "" if fault in told else f" {remedy}"
                told.add(fault)
                fates[int(number)] = f"**refusée** (`{fault}`) : {column}, {shown} : {detail}{end}{todo}"
    return fates


if __name__ == "__main__":
    os.environ.pop("SESAME_CONFIG", None)
    PAGE.write_text(page(), encoding="utf-8")
