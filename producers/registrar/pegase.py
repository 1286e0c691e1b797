"""Pégase: JSON lines, one object per student, period and path (chemin).

Source of the field names: PC-Scol's Pégase, as its enrolments are exported (codeApprenant, codePeriode, …).
Pégase knows no primary enrolment and says of payment only what it means for the enrolment's state.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from producers.registrar.profile import Column, FeedProfile, FileForm

_PERIOD = re.compile(
    r"(?<![0-9])(?P<first>(?:19|20)[0-9]{2})(?![0-9])"
    r"(?:\s*[-/–_]\s*(?P<second>(?:19|20)?[0-9]{2})(?![0-9]))?"
)
_STATES = MappingProxyType({"valide": "in_force", "en_attente": "pending", "annulee": "cancelled"})
_PEDAGOGICAL = MappingProxyType({"valide": "validated", "en_attente": "pending", "annulee": "pending"})


def academic_year(period: str) -> str:
    """The first calendar year that a period's code names: 2026, PER-2026, 2026-2027 or 2026/27 give 2026.

    A code that names no year, or two that do not follow each other, is given back as it is.
    """
    found = _PERIOD.search(period)
    if found is None:
        return period
    second = found["second"]
    if second is not None and int(second) % 100 != (int(found["first"]) + 1) % 100:
        return period
    return found["first"]


def path_code(path: str) -> str:
    """A path (chemin) as a step's version: `L1-INFO>PARC-A` gives `L1-INFO/PARC-A`: codes have no >."""
    return re.sub(r"\s*>\s*", "/", path)


def pegase(*, one_name: bool = False) -> FeedProfile:
    """Pégase. A pedagogical state that the export does not give is pending: nothing opens by omission.

    Args:
        one_name: see `FeedProfile`.
    """
    return FeedProfile(
        name="pegase",
        form=FileForm.JSON_LINES,
        payment_required=False,
        one_name=one_name,
        columns=(
            Column("student_number", "codeApprenant"),
            Column("ine", "ine"),
            Column("birth_name", "nomFamille"),
            Column("usage_name", "nomUsage"),
            Column("given_name", "prenom"),
            Column("preferred_given_name", "prenomUsage"),
            Column("birth_date", "dateNaissance"),
            Column("personal_mail", "mailPersonnel"),
            Column("year", "codePeriode", convert=academic_year),
            Column("step", "codeFormation"),
            Column("step_version", "codeChemin", convert=path_code),
            Column("component", "codeStructure"),
            Column("step_label", "libelleFormation"),
            Column("primary", default="true"),
            Column("state", "statutInscription", _STATES),
            Column("pedagogical", "statutInscriptionPedagogique", _PEDAGOGICAL, default="pending"),
        ),
    )
