"""What the stand-in has, and which faults its next answers meet."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Conditions:
    """Lasting conditions; times in seconds.

    Attributes:
        token_in: where `token=true` is wanted: `form` (since V31) or `query` (before).
        token_s: a token's lifetime; an expired one is answered 401 by `ins` and 403 by `chc`.
        latency_s: before each answer.
        ahead_s: how far the server's clock is ahead.
        rights: modules that the account may call.
        establishment: the one whose identities these are.
        rewrite: fields that every row has otherwise; null takes a field away.
        page_max: rows in a page, at most, however many are asked for.
    """

    token_in: str = "form"
    token_s: float = 21_600.0
    latency_s: float = 0.0
    ahead_s: float = 0.0
    rights: tuple[str, ...] = ("ins", "chc", "idt")
    establishment: str = "ETAB00"
    rewrite: Mapping[str, Any] = field(default_factory=dict)
    page_max: int = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the next `calls` calls of `module`.

    Attributes:
        page: only of calls for this page; None: of any.
        path: only of calls with this in their path.
        status: an HTTP status, with an error body.
        html: 200 with a page of HTML.
        hang_up: the connection is closed without an answer.
        delay_s: before the answer.
        skip: so many pages further than asked.
        touch: after the answer these students' rows are modified.
        stale_s: rows as they were so long ago.
    """

    module: str = "ins"
    calls: int = 1
    page: int | None = None
    path: str = ""
    status: int = 0
    html: bool = False
    hang_up: bool = False
    delay_s: float = 0.0
    skip: int = 0
    touch: tuple[str, ...] = ()
    stale_s: float = 0.0


class State:
    """Rows, groups, conditions, faults and tokens. Thread-safe."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.conditions = Conditions()
        self.groups: dict[str, list[dict[str, Any]]] = {}  # "ESTABLISHMENT/PERIOD" to compositions
        self.calls: list[dict[str, str]] = []
        self.mails: dict[str, str] = {}  # a student's institutional address
        self.ine_states: dict[str, str] = {}  # of a student's INE; CONFIRME, unless it is said here
        self._rows: dict[str, list[dict[str, Any]]] = {}  # key to all its versions, the newest last
        self._faults: list[Fault] = []
        self._tokens: dict[str, float] = {}
        self._lock = threading.Lock()

    def now(self) -> float:
        """The server's clock."""
        return time.time() + self.conditions.ahead_s

    def wish(self, wish: Mapping[str, Any]) -> None:
        """Carry out a wish: `clear`, `set`, `faults`, `put` (rows), `groups`, `mails`, `ine_states`."""
        with self._lock:
            if wish.get("clear"):
                self.conditions = Conditions()
                for kept in (
                    self._rows,
                    self._faults,
                    self._tokens,
                    self.groups,
                    self.calls,
                    self.mails,
                    self.ine_states,
                ):
                    kept.clear()
            given: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in wish.get("set", {}).items()
            }
            self.conditions = dataclasses.replace(self.conditions, **given)
            self._faults += [Fault(**each) for each in wish.get("faults", ())]
            for row in wish.get("put", ()):
                self._put(row)
            self.groups |= wish.get("groups", {})
            self.mails |= wish.get("mails", {})
            self.ine_states |= wish.get("ine_states", {})

    def token(self) -> str:
        """A new token."""
        token = ".".join(secrets.token_urlsafe(12) for _ in range(3))
        with self._lock:
            self._tokens[token] = time.monotonic() + self.conditions.token_s
        return token

    def admits(self, token: str) -> bool:
        """Whether this token is valid."""
        return time.monotonic() < self._tokens.get(token, 0.0)

    def fault_of(self, module: str, page: int | None, path: str) -> Fault:
        """The fault that strikes this call, used up by one; one without effect: none."""
        with self._lock:
            for at, fault in enumerate(self._faults):
                if fault.module == module and fault.page in (None, page) and fault.path in path:
                    left = dataclasses.replace(fault, calls=fault.calls - 1)
                    self._faults[at : at + 1] = [left] if left.calls > 0 else []
                    return fault
        return Fault()

    def note(self, module: str, query: str) -> None:
        """Note a call."""
        with self._lock:
            self.calls.append({"module": module, "query": query})

    def window(self, since: int, until: int, student: str, *, stale_s: float) -> list[dict[str, Any]]:
        """The rows modified in this window, in the order in which they were made."""
        with self._lock:
            found = []
            for versions in self._rows.values():
                known = [each for each in versions if _moment(each) <= self.now() - stale_s] or versions[:1]
                row = known[-1]
                inside = since <= _moment(row) and (not until or _moment(row) < until)
                if inside and student in ("", row["codeApprenant"]):
                    found.append(self._shown(row))
        return found

    def identities(self, student: str, ine_state: str = "") -> list[dict[str, Any]]:
        """The identities of the students who have rows, or of a code, whatever the case of its letters.

        `ine_state`: only those whose INE is in this state.
        """
        with self._lock:
            rows = {versions[-1]["codeApprenant"]: versions[-1] for versions in self._rows.values()}
            return [
                {
                    "id": f"IDT-{code}",
                    "codeApprenant": code,
                    "nomFamille": row["nomFamille"],
                    "prenom": row["prenom"],
                    "courrielInstitutionnel": self.mails.get(code) or None,
                    "ineMaitre": row["INE"],
                }
                for code, row in rows.items()
                if student.lower() in ("", code.lower())
                and ine_state in ("", self.ine_states.get(code, "CONFIRME"))
            ]

    def set_mail(self, identity: str, mail: str) -> bool:
        """Set an identity's institutional address; False: there is no such identity."""
        code = identity.removeprefix("IDT-")
        with self._lock:
            if not any(versions[-1]["codeApprenant"] == code for versions in self._rows.values()):
                return False
            self.mails[code] = mail
            return True

    def touch(self, students: tuple[str, ...]) -> None:
        """Modify these students' rows now."""
        with self._lock:
            for versions in list(self._rows.values()):
                if versions[-1]["codeApprenant"] in students:
                    self._put({**versions[-1], "derniereModification": int(self.now())})

    def _put(self, row: dict[str, Any]) -> None:
        moment = int(self.now())
        whole = {"derniereModification": moment, "derniereModificationApprenant": moment, **row}
        path = ">".join(each["code"] for each in row["chemin"])
        what = row["codeApprenant"], str(row["anneeUniversitaire"]), row["formation"], path
        key = "|".join((*what, row["dateInscription"] or ""))  # an enrolment that is made again is another
        self._rows.setdefault(key, []).append(whole)

    def _shown(self, row: dict[str, Any]) -> dict[str, Any]:
        changed = {**row, **self.conditions.rewrite}
        gone = {name for name, value in self.conditions.rewrite.items() if value is None}
        return {name: value for name, value in changed.items() if name not in gone}


def _moment(row: Mapping[str, Any]) -> int:
    return int(max(row["derniereModification"], row["derniereModificationApprenant"]))
