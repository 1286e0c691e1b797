"""One pass over Pégase's flow: all enrolments of a window of time, page by page.

The window's end is frozen for all pages. A row that is modified meanwhile leaves the window, and offset
paging then skips another one: a total that changes is noticed, and the pass is read again. A window overlaps
the former one, since transactions end later than their time stamp says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from producers.registrar.pegase.client import PegaseClient, PegaseDown
from producers.registrar.pegase.contract import CONFIRMED, FlowEnrolment, Line, enrolment_of, group_lines
from producers.registrar.pegase.settings import year_of

OVERLAP_S: Final = 600
PAGE_ROWS: Final = 500
"""The API's bound."""
_ATTEMPTS: Final = 3
_FLOW: Final = "/api/ins/ext/v2/gestion/flux-inscriptions/pagine"
_GROUPS: Final = "/api/ext/chc/v1/groupes/{establishment}/{period}"
_IDENTITIES: Final = "/api/idt/ext/v1/etablissements/{establishment}/identites/apprenants"
_ONE_BY_ONE_MAX: Final = 20  # more students' INEs are looked up by reading all


@dataclass(frozen=True)
class FlowPass:
    """What one pass read.

    Attributes:
        through: end of its window, exclusive; epoch seconds of Pégase's clock.
        enrolments: the newest of each student and step.
        differences: from the contract, with how many rows have each.
    """

    through: int
    enrolments: tuple[FlowEnrolment, ...]
    differences: Counter[str]


def read_pass(client: PegaseClient, since: int, progress: Callable[[], None] = lambda: None) -> FlowPass:
    """Read everything modified from `since` (epoch seconds; 0: all) until now.

    `progress` is called after each page, and may raise.

    Raises:
        PegaseDown: no answer, no flow, or pages that contradict one another.
        PegaseRefuses: see `PegaseClient.read`.
    """
    for _ in range(_ATTEMPTS):
        through = client.clock()
        differences: Counter[str] = Counter()
        newest: dict[tuple[str, ...], FlowEnrolment] = {}
        rows = _rows(client, since, through, progress)
        if rows is None:
            continue
        for stated in rows:
            enrolment = enrolment_of(stated, differences)
            known = newest.get(enrolment.key)
            if known is None or known.modified <= enrolment.modified:
                newest[enrolment.key] = enrolment
        return FlowPass(through, tuple(newest[key] for key in sorted(newest)), differences)
    raise PegaseDown("the flow's pages change while they are read")


def read_groups(client: PegaseClient, establishment: str, period: str) -> list[Line]:
    """The groups of a period, a line for each of their students.

    Raises:
        PegaseDown, PegaseRefuses: see `PegaseClient.read`.
    """
    path = _GROUPS.format(establishment=establishment, period=period)
    told = client.read("chc", path, params={"planification": "true"}, body=[])
    if not isinstance(told, list):
        raise PegaseDown(f"chc answers with no list at {path}")
    return list(group_lines(told, year_of(period)))


def confirmed_ines(
    client: PegaseClient, establishments: Iterable[str], students: Collection[str]
) -> dict[str, str]:
    """The INEs that the national service has confirmed, of these students (`idt`).

    Raises:
        PegaseDown, PegaseRefuses: see `PegaseClient.read`.
    """
    found: dict[str, str] = {}
    few = sorted(students) if len(students) <= _ONE_BY_ONE_MAX else [""]
    for establishment in establishments if students else ():
        for student in few:
            for each in _identities(client, establishment, student):
                number, ine = each.get("codeApprenant"), each.get("ineMaitre")
                if isinstance(number, str) and number in students and isinstance(ine, str):
                    found[number] = ine.replace(" ", "").upper()
    return found


def _identities(client: PegaseClient, establishment: str, student: str) -> Iterator[Mapping[str, Any]]:
    """The identities with a confirmed INE, page by page; of one student, or of all."""
    path, page, pages = _IDENTITIES.format(establishment=establishment), 0, 1
    while page < pages:
        asked = {"page": str(page), "taille": str(PAGE_ROWS), "etatIneMaitre": CONFIRMED}
        told = client.read("idt", path, params=asked | ({"codeApprenant": student} if student else {}))
        found = told.get("items", told.get("resultats")) if isinstance(told, dict) else None
        if not isinstance(found, list):
            raise PegaseDown("idt answers with no page of identities")
        yield from (each for each in found if isinstance(each, dict))
        more = told.get("totalPages")
        page, pages = page + 1, more if type(more) is int else 1


def _rows(
    client: PegaseClient, since: int, through: int, progress: Callable[[], None]
) -> list[Mapping[str, Any]] | None:
    """All rows of the window; None: they moved between two pages."""
    rows: list[Mapping[str, Any]] = []
    total, size, page = None, PAGE_ROWS, 0
    while total is None or len(rows) < total:
        asked = {"page": str(page), "taille": str(PAGE_ROWS), "jusqua": str(through)}
        if since:
            asked["depuis"] = str(since)
        told = client.read("ins", _FLOW, params=asked)
        found = told.get("resultats") if isinstance(told, dict) else None
        of = told.get("totalElements") if isinstance(told, dict) else None
        if not isinstance(found, list) or type(of) is not int:
            raise PegaseDown("ins answers with no page of enrolments")
        if total is None and found and told.get("taille") == len(found):
            size = len(found)  # its pages may be smaller than asked
        if told.get("page", page) != page or total not in (None, of):
            return None
        total = of
        rows += [each for each in found if isinstance(each, dict)]
        if len(rows) < total and len(found) < size:
            return None
        page += 1
        progress()
    return rows if len(rows) == total else None


@dataclass
class Seen:
    """The enrolments imported lately: the overlap of two windows counts once."""

    _known: dict[tuple[str, ...], FlowEnrolment] = field(default_factory=dict)

    def new_among(self, enrolments: Iterable[FlowEnrolment]) -> list[FlowEnrolment]:
        """Those not seen so. None is older than what was seen: a copy may be stale."""
        found = []
        for each in enrolments:
            known = self._known.get(each.key)
            if known is None or (each.modified >= known.modified and each.line != known.line):
                found.append(each)
        return found

    def add(self, enrolments: Iterable[FlowEnrolment]) -> None:
        """Record that these are imported."""
        self._known |= {each.key: each for each in enrolments}

    def forget_before(self, moment: int) -> None:
        """Forget those modified before then (epoch s): no later window has them."""
        self._known = {key: seen for key, seen in self._known.items() if seen.modified >= moment}
