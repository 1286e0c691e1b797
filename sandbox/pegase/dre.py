"""The DRE in miniature, in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg

COLUMNS = {
    "V32": ("annee_universitaire", "date_derniere_modification"),
    "V31": ("code_periode", "date_modification"),
}
"""What two releases call the year and the moment of the last change."""


def fill(url: str, rows: Iterable[Mapping[str, Any]], *, release: str = "V32") -> None:
    """Make the copy anew, of `rows.inscription` with `derniereModification`."""
    year, modified = COLUMNS[release]
    with psycopg.connect(url, autocommit=False) as connection:
        connection.execute("DROP SCHEMA IF EXISTS schema_ins CASCADE")
        connection.execute("CREATE SCHEMA schema_ins")
        connection.execute(
            f"CREATE TABLE schema_ins.inscription (id serial, code_apprenant text, {year} text,"
            f" code_formation text, code_chemin text, statut_inscription text, {modified} timestamptz)"
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO schema_ins.inscription VALUES (DEFAULT, %s, %s, %s, %s, %s, %s)",
                [_values(row, release) for row in rows],
            )


def _values(row: Mapping[str, Any], release: str) -> tuple[object, ...]:
    year = str(row["anneeUniversitaire"])
    return (
        row["codeApprenant"],
        year if release == "V32" else f"PER-{year}",
        row["formation"],
        ">".join(each["code"] for each in row["chemin"]),
        row["statutInscription"].upper(),
        datetime.fromtimestamp(row["derniereModification"], UTC),
    )
