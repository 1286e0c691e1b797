"""Objects of `ins` and `chc` from the columns of the registrar's examples."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

_UUIDS = uuid.UUID("8a2f4e0c-6a51-4b0e-9a77-3f6f5c0a7d11")


def inscription(line: Mapping[str, str]) -> dict[str, Any]:
    """A `VueInscription` of a line. The server sets its modification time."""
    day, month, year = line["DATE_NAI_IND"].split("/")
    step, version, student = line["COD_ETP"], line["COD_VRS_VET"], line["COD_ETU"]
    mail = line["MAIL_PERSO"]
    return {
        "UAI": "0751717J",
        "idApprenant": str(uuid.uuid5(_UUIDS, student)),
        "codeApprenant": student,
        "dateInscription": f"{line['COD_ANU']}-07-10T00:00:00",
        "INE": line["COD_NNE_IND"] or None,
        "civilite": "F",
        "nomUsage": line["LIB_NOM_USU_IND"] or line["LIB_NOM_PAT_IND"],
        "nomFamille": line["LIB_NOM_PAT_IND"],
        "prenom": line["LIB_PR1_IND"],
        "dateDeNaissance": f"{year}-{month}-{day}",
        "nationalite": "100",
        "droitPhoto": False,
        "regime": "10",
        "bourses": [],
        "boursesCompletes": [],
        "profilsExonerants": [],
        "mobilite": "SANS",
        "statutPaiement": "paye",
        "statutInscription": "annulee" if line["ETA_IAE"] in ("A", "R") else "valide",
        "inscriptionPrincipale": line["TEM_IAE_PRM"] == "O",
        "formation": step,
        "anneeUniversitaire": int(line["COD_ANU"]),
        "periode": f"Année {line['COD_ANU']}",
        "chemin": [
            {
                "code": version,
                "type": "ANNEE",
                "libelleCourt": step,
                "libelleLong": line["LIB_ETP"],
                "idChemin": str(uuid.uuid5(_UUIDS, step)),
                "idPeriode": str(uuid.uuid5(_UUIDS, line["COD_ANU"])),
            }
        ],
        "UAIStructurePrincipale": line["COD_CMP"],
        "codeDiplomeSISE": None,
        "adresses": [],
        "mels": [_contact("Mel", mail=mail)] if mail else [],
        "telephones": [],
    }


def composition(unit: str, label: str, groups: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """A `Composition` of a teaching unit: its groups, each with its students."""
    return {
        "code": unit,
        "libelleCourt": unit,
        "libelleLong": label,
        "estActive": True,
        "groupes": [
            {
                "code": group,
                "libelleCourt": group,
                "libelleLong": group,
                "planifiable": True,
                "estActif": True,
                "typeGroupe": {"code": "TGR001"},
                "apprenants": [
                    {"codeApprenant": each, "nomFamille": "", "prenom": "", "dateNaissance": "2006-01-01"}
                    for each in students
                ],
            }
            for group, students in groups.items()
        ],
        "formationsAssociees": [],
        "objetFormationsAssocies": [],
    }


def _contact(kind: str, **value: str) -> dict[str, Any]:
    return {"canalCommunication": f"VueContact{kind}", "code": "PERSO", "libelle": "Personnel", **value}
