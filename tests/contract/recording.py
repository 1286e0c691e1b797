"""The recorded contract: its entries, and the same entries under other names.

Renaming is consistent over requests and answers and keeps what matters: which names are equal, which differ
in case only, which are malformed. An answer that was stored instead of computed does not survive it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTRACT_FILE = Path(__file__).with_name("moodle-contract.json")

RECORDED_SERVICE_USER = "wsprov"

_START = r"(?<![A-Za-z0-9])"


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded exchange or look into the database; `key` is unique, names are not."""

    index: int
    name: str
    fields: dict[str, Any]

    @property
    def key(self) -> str:
        return f"{self.index:03d} {self.name}"

    @property
    def expected(self) -> Any:
        return self.fields.get("response")


@dataclass(frozen=True, slots=True)
class Naming:
    """A consistent renaming of usernames, idnumbers, mails, cohorts and persons."""

    name: str
    service_user: str
    text: Callable[[str], str]

    def value(self, value: Any) -> Any:
        """Return the value with every string in it renamed."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return value


def _renamed(text: str) -> str:
    text = re.sub(_START + r"c(?=\d)", "zoe.dupre-", text)
    text = re.sub(_START + r"C(?=\d)", "ZOE.DUPRE-", text)
    text = re.sub(_START + r"k(?=\d|zz\b|race\b)", "l3-info-", text)
    text = re.sub(_START + r"d(?=\d)", "promo_", text)
    text = re.sub(_START + r"D(?=\d)", "PROMO_", text)
    for old, new in (
        ("univ", "campus"),
        ("UNIV", "CAMPUS"),
        ("Élodie", "Maëlys"),
        ("O'Neil-Çà", "D'Œuvray-Ñíguez"),
        ("Cohort", "Parcours"),
        (RECORDED_SERVICE_USER, "robot-sesame"),
        ("Lab Moodle", "Moodle de l'université"),
    ):
        text = text.replace(old, new)
    return re.sub(r"\bnosuch\b", "inconnue", text)


RECORDED = Naming("recorded", RECORDED_SERVICE_USER, lambda text: text)
RENAMED = Naming("renamed", _renamed(RECORDED_SERVICE_USER), _renamed)


def load_entries() -> list[Entry]:
    """Return the contract's entries in the order in which they were recorded."""
    recorded = json.loads(CONTRACT_FILE.read_text(encoding="utf-8"))["entries"]
    return [Entry(index, fields["name"], fields) for index, fields in enumerate(recorded)]
