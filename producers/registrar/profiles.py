"""Built-in profiles of registrars' exports, and the choice among them.

Sources of the columns and codes: Amue's Apogée, as SupAnn sites export it (COD_ETU, ETA_IAE, …; of teaching
units COD_ELP, LIB_ELP, COD_GPE); PC-Scol's Pégase, as its enrolments are exported (codeApprenant,
codePeriode, …; objets de formation, groupes). The state of the pedagogical enrolment is no Apogée field, nor
is whether an INE is provisional: the export computes them in separate columns. Pégase's exports name no
primary enrolment (its API does), and of payment only its effect on the enrolment's state. Neither software
has one export for teaching units: a site writes the query, or its timetable software does, and a mapping file
reads any other form.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType

from pipeline.errors import SesameError
from producers.registrar.mapping import read_groups_mapping, read_mapping
from producers.registrar.pegase.contract import CONFIRMED
from producers.registrar.profile import Column, FeedProfile, FileForm
from schemas.account import STAFF_PREFIX
from schemas.language import gettext

STAFF = "staff"
PROFILES = ("apogee", "pegase", STAFF)
"""The profiles that come with Sésame."""

SENT = "api"
"""The source of persons sent by programs one by one; no file is written so."""

GROUPS_SUFFIX = "_groups"
"""Suffix of a groups feed's name, after that of the registrar's main feed."""

_YES_NO = MappingProxyType({"O": "true", "N": "false"})
_PERIOD = re.compile(
    r"(?<![0-9])(?P<first>(?:19|20)[0-9]{2})(?![0-9])"
    r"(?:\s*[-/–_]\s*(?P<second>(?:19|20)?[0-9]{2})(?![0-9]))?"
)
_STATES = MappingProxyType({"valide": "in_force", "en_attente": "pending", "annulee": "cancelled"})
_PEDAGOGICAL = MappingProxyType({"valide": "validated", "en_attente": "pending", "annulee": "pending"})


class UnknownProfile(SesameError):
    """There is no such profile."""

    exit_code = 2


def choose(which: str | Path, *, payment_required: bool = True, one_name: bool = False) -> FeedProfile:
    """The profile of this name, or the one of the mapping file at this path.

    Args:
        which: `apogee`, `pegase`, `staff`, or the path of a file whose name ends in `.toml`.
        payment_required: for Apogée; see `apogee`. A mapping file states it, Pégase by the state.
        one_name: for the built-in ones; see `FeedProfile`. A mapping file states it.

    Raises:
        UnknownProfile: neither.
        MappingUnusable: the mapping file has faults.
    """
    if which == "apogee":
        return apogee(payment_required=payment_required, one_name=one_name)
    if which == "pegase":
        return pegase(one_name=one_name)
    if which == SENT:
        return sent(one_name=one_name)
    if which == STAFF:
        return staff(one_name=one_name)
    if str(which).endswith(".toml"):
        return read_mapping(Path(which))
    raise _no_such_profile(which)


def choose_groups(which: str | Path) -> FeedProfile:
    """The profile of this name, or a mapping file's [groups]; errors as `choose`."""
    built_in = {"apogee": apogee_groups, "pegase": pegase_groups}
    if str(which) in built_in:
        return built_in[str(which)]()
    if str(which).endswith(".toml"):
        return read_groups_mapping(Path(which), suffix=GROUPS_SUFFIX)
    raise _no_such_profile(which)


def _no_such_profile(which: str | Path) -> UnknownProfile:
    names = ", ".join(PROFILES)
    return UnknownProfile(
        gettext("{name}: no such profile", name=which),
        remedy=gettext("Choose {names}, or a mapping file whose name ends in .toml.", names=names),
    )


def apogee(*, payment_required: bool = True, one_name: bool = False) -> FeedProfile:
    """Apogée: CSV with a header, one line per student and step.

    Args:
        payment_required: False: ETA_PMT_IAE = A (awaiting payment) lets an enrolment be in force.
        one_name: see `FeedProfile`.
    """
    return FeedProfile(
        name="apogee",
        payment_required=payment_required,
        one_name=one_name,
        columns=(
            Column("student_number", "COD_ETU"),
            Column("ine", "COD_NNE_IND"),
            Column("ine_provisional", "INE_PROVISOIRE", _YES_NO, optional=True),
            Column("birth_name", "LIB_NOM_PAT_IND"),
            Column("usage_name", "LIB_NOM_USU_IND"),
            Column("given_name", "LIB_PR1_IND"),
            Column("birth_date", "DATE_NAI_IND"),
            Column("personal_mail", "MAIL_PERSO"),
            Column("mobile", "NUM_TEL_PORT", optional=True),
            Column("year", "COD_ANU"),
            Column("step", "COD_ETP"),
            Column("step_version", "COD_VRS_VET"),
            Column("component", "COD_CMP"),
            Column("step_label", "LIB_ETP"),
            Column("primary", "TEM_IAE_PRM", _YES_NO),
            Column(
                "state",
                "ETA_IAE",
                MappingProxyType({"C": "pending", "E": "in_force", "A": "cancelled", "R": "terminated"}),
            ),
            Column("payment", "ETA_PMT_IAE", MappingProxyType({"A": "awaiting", "P": "paid"})),
            Column("pedagogical", "IP_VALIDE", MappingProxyType({"O": "validated", "N": "pending"})),
        ),
    )


def academic_year(period: str) -> str:
    """The first year of a period's code (2026, PER-2026, 2026-2027, 2026/27). Any other code as it is."""
    found = _PERIOD.search(period)
    if found is None:
        return period
    second = found["second"]
    if second is not None and int(second) % 100 != (int(found["first"]) + 1) % 100:
        return period
    return found["first"]


def path_code(path: str) -> str:
    """A path (chemin) as a step's version. `L1-INFO>PARC-A` gives `L1-INFO/PARC-A`."""
    return re.sub(r"\s*>\s*", "/", path)


def _unless_confirmed(state: str) -> str:
    """Whether a master INE is provisional, by its state: all but a confirmed one is."""
    return "false" if state == CONFIRMED else "true"


def pegase(*, one_name: bool = False) -> FeedProfile:
    """Pégase. A missing pedagogical state counts as pending, so that nothing opens by omission."""
    return FeedProfile(
        name="pegase",
        form=FileForm.JSON_LINES,
        payment_required=False,
        one_name=one_name,
        columns=(
            Column("student_number", "codeApprenant"),
            Column("ine", "ine"),
            Column("ine_provisional", "etatIneMaitre", convert=_unless_confirmed, optional=True),
            Column("birth_name", "nomFamille"),
            Column("usage_name", "nomUsage"),
            Column("given_name", "prenom"),
            Column("preferred_given_name", "prenomUsage"),
            Column("birth_date", "dateNaissance"),
            Column("personal_mail", "mailPersonnel"),
            Column("mobile", "telephonePortable"),
            Column("year", "codePeriode", convert=academic_year),
            Column("step", "codeFormation"),
            Column("step_version", "codeChemin", convert=path_code),
            Column("component", "codeStructure"),
            Column("step_label", "libelleFormation"),
            Column(
                "primary",
                "inscriptionPrincipale",
                MappingProxyType({"oui": "true", "non": "false"}),
                default="true",
                optional=True,
            ),
            Column("state", "statutInscription", _STATES),
            Column("pedagogical", "statutInscriptionPedagogique", _PEDAGOGICAL, default="pending"),
        ),
    )


def sent(*, one_name: bool = False) -> FeedProfile:
    """Persons sent by programs one by one, with their names for the attributes."""
    return FeedProfile(
        name=SENT,
        form=FileForm.JSON_LINES,
        one_name=one_name,
        columns=(
            Column("student_number", "studentNumber"),
            Column("ine", "ine"),
            Column("birth_name", "familyName"),
            Column("usage_name", "usageName"),
            Column("given_name", "givenName"),
            Column("preferred_given_name", "preferredGivenName"),
            Column("birth_date", "birthDate"),
            Column("personal_mail", "personalMail"),
            Column("mobile", "mobile"),
            Column("year", "year"),
            Column("step", "step"),
            Column("step_version", "stepVersion"),
            Column("component", "component"),
            Column("step_label", "stepLabel"),
            Column("primary", "primary"),
            Column("state", "administrative"),
            Column("payment", "payment"),
            Column("pedagogical", "pedagogical"),
        ),
    )


def staff(*, one_name: bool = False) -> FeedProfile:
    """Staff: CSV with a header, one line per person, population and employer. No HR system's own form."""
    return FeedProfile(
        name=STAFF,
        prefix=STAFF_PREFIX,
        payment_required=False,
        one_name=one_name,
        columns=(
            Column("student_number", "MATRICULE"),
            Column("birth_name", "NOM_FAMILLE"),
            Column("usage_name", "NOM_USAGE", optional=True),
            Column("given_name", "PRENOM"),
            Column("birth_date", "DATE_NAISSANCE"),
            Column("ine", "INE", optional=True),
            Column("personal_mail", "MAIL_PERSO", optional=True),
            Column("mobile", "NUM_TEL_PORT", optional=True),
            Column("population", "POPULATION", convert=str.lower),
            Column("component", "EMPLOYEUR"),
            Column("ends_on", "DATE_FIN"),
        ),
    )


def apogee_groups() -> FeedProfile:
    """CSV with a header, in Apogée's words: one line per student, unit and group."""
    return FeedProfile(
        name="apogee" + GROUPS_SUFFIX,
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
        name="pegase" + GROUPS_SUFFIX,
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
