"""How each registrar's file of teaching units and groups is written.

Source of Apogée's columns: Amue's Apogée (COD_ELP, LIB_ELP, COD_GPE of pedagogical enrolments and groups); of
Pégase's names: PC-Scol's Pégase (objets de formation, groupes). Neither software has one export for this: a
site writes the query, or its timetable software does, and a mapping file reads any other form.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from producers.registrar.mapping import read_groups_mapping
from producers.registrar.pegase import academic_year
from producers.registrar.profile import Column, FeedProfile, FileForm
from producers.registrar.profiles import no_such_profile

SUFFIX = "_groups"
"""A feed of groups is named after the registrar's main one, with this behind it."""


def choose_groups(which: str | Path) -> FeedProfile:
    """The profile of this name, or the one that the mapping file at this path describes under [groups].

    Args:
        which: `apogee`, `pegase`, or the path of a file whose name ends in `.toml`.

    Raises:
        UnknownProfile: neither.
        MappingUnusable: the mapping file has faults, or no table [groups].
    """
    built_in = {"apogee": apogee_groups, "pegase": pegase_groups}
    if str(which) in built_in:
        return built_in[str(which)]()
    if str(which).endswith(".toml"):
        return read_groups_mapping(Path(which), suffix=SUFFIX)
    raise no_such_profile(which)


def apogee_groups() -> FeedProfile:
    """CSV with a header, in Apogée's words: one line per student, unit and group."""
    return FeedProfile(
        name="apogee" + SUFFIX,
        columns=(
            Column("student_number", "COD_ETU"),
            Column("year", "COD_ANU"),
            Column("element", "COD_ELP"),
            Column("element_label", "LIB_ELP"),
            Column("group", "COD_GPE"),
        ),
    )


def pegase_groups() -> FeedProfile:
    """JSON lines, in Pégase's words: one object per student, unit and group."""
    return FeedProfile(
        name="pegase" + SUFFIX,
        form=FileForm.JSON_LINES,
        columns=(
            Column("student_number", "codeApprenant"),
            Column("year", "codePeriode", convert=academic_year),
            Column("element", "codeObjet"),
            Column("element_label", "libelleObjet"),
            Column("group", "codeGroupe"),
            Column(
                "state",
                "statutInscription",
                MappingProxyType({"valide": "in_force", "annulee": "cancelled"}),
                default="in_force",
            ),
        ),
    )
