"""Examples of operations, and formats of values, for the API's description.

Bodies are written here. Answers are those of the filled store of the tests, in `examples.json`:
`EXAMPLES=record pytest tests/integration/api/test_api_documented.py` records them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

_NUMBER: Final = {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$", "examples": ["22600005"]}
_NAME: Final = {"pattern": "^[a-z][a-z0-9_]{0,63}$", "examples": ["moodle"]}
_RULE: Final = {"pattern": "^[a-z][a-z0-9_-]{0,63}$", "examples": ["same-ine-and-birth"]}
FORMS: Final[Mapping[str, Mapping[str, Any]]] = {
    **dict.fromkeys(("student_number", "other", "students"), _NUMBER),
    **dict.fromkeys(("consumer", "target", "targets"), _NAME),
    "rule": _RULE,
}
"""The form of a text, by the name of its property or parameter."""

PLACES: Final[Mapping[str, str | int]] = {
    "student_number": "22600005",
    "letter": "2d80741270d4",
    "replay_id": "mzft5H7t-vj5",
    "import_id": 7,
    "plan_id": "8c1f0a52b7d3",
    "question_id": "5be2f1c09a44",
    "erasure_id": "5f0c2b7a91de",
    "target": "moodle",
    "receiver": "idp",
    "source": "pegase",
    "day": "2026-11-27",
    "list": "pix",
    "eppn": "lea.martin@etu.univ.example",
    "cohort": "M2INFO-2026",
    "action": "hold",
}
"""An example of each path parameter, and of some query parameters."""

_ENROLMENT: Final = {
    "codeApprenant": "22600001",
    "ine": "000104729VN",
    "nomFamille": "Barbier",
    "nomUsage": None,
    "prenom": "Corentin",
    "prenomUsage": None,
    "dateNaissance": "2006-05-14",
    "mailPersonnel": "corentin.barbier1@courriel.example",
    "codePeriode": "PER-2026",
    "codeFormation": "L3PC",
    "codeChemin": "L3PC>PARCOURS-261",
    "codeStructure": "SCI",
    "libelleFormation": "Licence 3 Physique, chimie",
    "statutInscription": "valide",
    "statutInscriptionPedagogique": "valide",
}
_TEACHING: Final = {
    "codeApprenant": "22600001",
    "codePeriode": "PER-2026",
    "codeObjet": "UE11",
    "libelleObjet": "Histoire médiévale",
    "codeGroupe": "TD3",
    "libelleGroupe": "Groupe 3",
}
_HOLD: Final = {"student_number": "22600005", "kind": "suspended", "reason": "stolen telephone"}
_TWO: Final = {"student_number": "22700001", "other": "22600001", "reason": "twins"}
_TARGET: Final = {"target": "moodle", "reason": "upgrade"}
_SETTLEMENT: Final = {"rule": "same-ine-and-birth", "limit": 50}
BODIES: Final[Mapping[str, Any]] = {
    "search_students": {"text": "amelie.bernard"},
    "activate_students": {"students": ["22600020"], "dry_run": True},
    "provision_student": {"student_number": "22600005", "targets": ["moodle"]},
    "place_hold": _HOLD,
    "lift_hold": _HOLD,
    "prolong_access": {"student_number": "22600005", "days": 30, "reason": "thesis"},
    "invite_guest": {
        "sponsor": "22600001",
        "birth_name": "Lovelace",
        "given_name": "Ada",
        "birth_date": "1980-12-10",
        "personal_mail": "ada@ailleurs.example",
        "until": "2027-01-31",
        "reason": "seminar",
    },
    "end_invitation": {"student_number": "G-04718230", "reason": "wrong address"},
    "dismiss_dead_letters": {"letters": ["2d80741270d4"], "reason": "left the university"},
    "select_students": {"consumer": "moodle", "cause": "moodle_email_taken"},
    "preview_replay": {"consumer": "moodle", "students": ["22600012"], "selected": 1},
    "begin_replay": {
        "consumer": "moodle",
        "students": ["22600012"],
        "lane": "personal",
        "reason": "the address is free",
        "first": 1,
    },
    "resume_replay": {"replay_id": "mzft5H7t-vj5", "first": 50},
    "lift_quarantine": {"consumer": "moodle", "reason": "the token was renewed"},
    "pause_target": _TARGET,
    "resume_target": _TARGET,
    "compare_targets": {"targets": ["moodle"], "sample": 100},
    "make_evidence": {"framework": "recyf"},
    "open_review": {"days": 30},
    "show_review": {"component": "SCI"},
    "decide_review": {
        "component": "SCI",
        "students": ["22600001"],
        "decision": "end",
        "reason": "left in June",
    },
    "poll_events": {"maxEvents": 20, "ack": ["0f7c1e5a9b"]},
    "separate_identities": _TWO,
    "merge_identities": {**_TWO, "reason": "one person", "keep": "22600001", "dry_run": True},
    "preview_settlement": _SETTLEMENT,
    "settle_identities": {
        "settlement": _SETTLEMENT,
        "shown": {
            "rule": "same-ine-and-birth",
            "decision": "merge",
            "settled": [],
            "left": [],
            "beyond": 0,
            "others": 2,
        },
    },
    "answer_adoption_questions": {"ids": ["5be2f1c09a44"], "answer": "separate", "reason": "a namesake"},
    "answer_restored": {"student_number": "22600005", "answer": "kept", "reason": "still suspended"},
    "erase_person": {"student_number": "22600005", "reason": "asked for in writing"},
    "import_enrolments": _ENROLMENT,
    "import_teachings": _TEACHING,
    "receive_webhook": {"type": "enrolments", "data": [_ENROLMENT]},
}
"""A body for each operation that takes one."""


@cache
def answers() -> Mapping[str, Any]:
    """Recorded answers of operations, by their ids."""
    found: Mapping[str, Any] = json.loads(files(__package__).joinpath("examples.json").read_text("utf-8"))
    return found


def add(document: dict[str, Any]) -> None:
    """Put forms and examples into a description (OpenAPI 3.1)."""
    for schema in document["components"]["schemas"].values():
        for name, value in schema.get("properties", {}).items():
            _give_form(value, FORMS.get(name, {}))
    for path in document["paths"].values():
        for operation in path.values():
            _exemplify(operation)


def _exemplify(operation: dict[str, Any]) -> None:
    name = operation["operationId"]
    for each in operation.get("parameters", ()):
        if each["name"] in PLACES:
            each["example"] = PLACES[each["name"]]
    taken = operation.get("requestBody", {}).get("content", {})
    if name in BODIES:
        taken["application/json"]["example"] = BODIES[name]
    for status, answer in operation["responses"].items():
        if status.startswith("2") and name in answers():
            [kind, *_] = answer["content"].values()
            kind["example"] = answers()[name]


def _give_form(schema: dict[str, Any], form: Mapping[str, Any]) -> None:
    for each in _texts(schema):
        if not each.keys() & {"pattern", "enum", "$ref"}:
            each.update(form)


def _texts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schemas of texts that a value may be, or that a list of it has."""
    if schema.get("type") == "string":
        yield schema
    for each in (*schema.get("anyOf", ()), schema.get("items")):
        if isinstance(each, dict):
            yield from _texts(each)
