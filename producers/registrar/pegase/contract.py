"""Read Pégase's answers as lines of the file profiles, tolerantly.

The contract breaks about once a quarter, by new enumeration values and nullable fields. So an answer is read
field by field, and what differs is counted; what the import needs and does not find is refused there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from schemas.scalars import phone_number

Line = dict[str, str]
"""An object of the file profile `pegase` or `pegase_groups`."""

_TEXT, _WHOLE, _TRUTH, _LIST = (str,), (int,), (bool,), (list,)
_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "codeApprenant": _TEXT,
    "INE": _TEXT,
    "nomFamille": _TEXT,
    "nomUsage": _TEXT,
    "prenom": _TEXT,
    "dateDeNaissance": _TEXT,
    "mels": _LIST,
    "telephones": _LIST,
    "formation": _TEXT,
    "chemin": _LIST,
    "anneeUniversitaire": _WHOLE,
    "inscriptionPrincipale": _TRUTH,
    "statutInscription": _TEXT,
    "UAI": _TEXT,
    "UAIStructurePrincipale": _TEXT,
    "derniereModification": _WHOLE,
    "derniereModificationApprenant": _WHOLE,
}
"""Fields that are read, with their types; each may be null."""

_UNREAD: Final = frozenset(
    {
        *("idApprenant", "dateInscription", "civilite", "nationalite", "droitPhoto", "photo", "regime"),
        *("bourses", "boursesCompletes", "profilsExonerants", "mobilite", "statutPaiement", "periode"),
        *("codeDiplomeSISE", "adresses", "statusInscription"),
    }
)
"""The other fields of `ins` 2.6.1. `statusInscription` is required there by mistake, and never sent."""

CONFIRMED: Final = "CONFIRME"
"""The state of an INE that is not provisional (`idt` 1.6: `StatutIne`)."""

VALID, CANCELLED = "valide", "annulee"
PENDING = "en_attente"
"""What an unknown status is read as: such an enrolment opens nothing."""


class FlowEnrolment(NamedTuple):
    """One enrolment as Pégase gives it.

    Attributes:
        line: for the import.
        modified: epoch seconds of its last modification, or of its student's.
        status: `VALID`, `CANCELLED`, or a value that the contract did not know.
    """

    line: Line
    modified: int
    status: str

    @property
    def key(self) -> tuple[str, ...]:
        """Student, year, step and path."""
        return tuple(self.line[name] for name in _KEY)

    @property
    def is_unknown(self) -> bool:
        """Whether its status is none that the contract knew."""
        return self.status not in (VALID, CANCELLED)


_KEY: Final = ("codeApprenant", "codePeriode", "codeFormation", "codeChemin")


def enrolment_of(stated: Mapping[str, Any], differences: Counter[str]) -> FlowEnrolment:
    """Read one object of `ins`; count what is not as the contract says."""
    for name in stated.keys() - _FIELDS.keys() - _UNREAD:
        differences[f"new field {name}"] += 1
    given = {name: _given(stated, name, kinds, differences) for name, kinds in _FIELDS.items()}
    path = [each for each in given["chemin"] or () if isinstance(each, Mapping)]
    status = str(given["statutInscription"] or "")
    if status not in (VALID, CANCELLED):
        differences[f"unknown statutInscription {status or 'null'}"] += 1
    leaf = path[-1] if path else {}
    line = {
        "codeApprenant": _text(given["codeApprenant"]),
        "ine": _text(given["INE"]),
        "nomFamille": _text(given["nomFamille"]),
        "nomUsage": _text(given["nomUsage"]) if given["nomUsage"] != given["nomFamille"] else "",
        "prenom": _text(given["prenom"]),
        "dateNaissance": _text(given["dateDeNaissance"]),
        "mailPersonnel": next(_contacts(given["mels"], "mail"), ""),
        "telephonePortable": next(filter(phone_number, _contacts(given["telephones"], "telephone")), ""),
        "codePeriode": _text(given["anneeUniversitaire"]),
        "codeFormation": _text(given["formation"]),
        "codeChemin": ">".join(_text(each.get("code")) for each in path) or _text(given["formation"]),
        "codeStructure": _text(given["UAIStructurePrincipale"]) or _text(given["UAI"]),
        "libelleFormation": _text(leaf.get("libelleLong")) or _text(given["formation"]),
        "inscriptionPrincipale": "non" if given["inscriptionPrincipale"] is False else "oui",
        "statutInscription": status if status in (VALID, CANCELLED) else PENDING,
        "statutInscriptionPedagogique": VALID if status == VALID else PENDING,
    }
    moments = given["derniereModification"], given["derniereModificationApprenant"]
    return FlowEnrolment(line, max(each or 0 for each in moments), status)


def group_lines(compositions: Iterable[Any], year: int) -> Iterator[Line]:
    """A line for each student of each active group of `chc`. A composition is the unit."""
    for unit in _objects(compositions):
        if unit.get("estActive") is False:
            continue
        for group in _objects(unit.get("groupes")):
            if group.get("estActif") is False:
                continue
            for student in _objects(group.get("apprenants")):
                yield {
                    "codeApprenant": _text(student.get("codeApprenant")),
                    "codePeriode": str(year),
                    "codeObjet": _text(unit.get("code")),
                    "libelleObjet": _text(unit.get("libelleLong")),
                    "codeGroupe": _text(group.get("code")),
                }


def _given(stated: Mapping[str, Any], name: str, kinds: tuple[type, ...], differences: Counter[str]) -> Any:
    """The value of a field; None: it has none, or one of another type."""
    if name not in stated:
        differences[f"no field {name}"] += 1
        return None
    value = stated[name]
    if value is None or type(value) in kinds:
        return value
    differences[f"{name} is {type(value).__name__}, not {kinds[0].__name__}"] += 1
    if kinds == _WHOLE and isinstance(value, str) and value.isdecimal():
        return int(value)
    return str(value) if kinds == _TEXT and type(value) is int else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    for each in value if isinstance(value, Iterable) and not isinstance(value, str) else ():
        if isinstance(each, Mapping):
            yield each


def _contacts(value: object, field: str) -> Iterator[str]:
    """The student's own contacts: one with an owner is somebody else's."""
    for each in _objects(value):
        if not each.get("proprietaire") and isinstance(told := each.get(field), str):
            yield told.strip()
