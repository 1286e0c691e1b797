"""The nightly proof: what the live flow missed, by Pégase's own copy. It mends nothing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from pipeline.settings import read_secret
from producers.registrar.feed_memory import feed_rows
from producers.registrar.import_runs import imports
from producers.registrar.pegase.dre import DreUnusable, EnrolmentKey, read_copy
from schemas.language import gettext
from sesame.acts.acts import OFFICE, Actor, ActRequest, Report, act, shown, utc
from sesame.acts.ports import Registering
from sesame.operations.imports.acts import erased_among
from sesame.operations.imports.polls import FEED

_WHOLE_SHARE_MIN: Final = 0.5
"""A copy with fewer of our enrolments is taken for half imported."""


class ProofRequest(ActRequest):
    """`url_file`: holds the DRE's address, with a user that may only read."""

    url_file: Path


class UnprovenEnrolment(Report):
    """An enrolment that one side has, and the other has not."""

    student_number: str
    year: int
    step: str
    step_version: str


class Proof(Report):
    """What both sides have.

    Attributes:
        form: the release of Pégase whose columns the DRE has.
        through: when the newest enrolment of the DRE was modified. What is newer here is not judged.
        dre, live: enrolments in force there, and by the live flow.
        missed: in force there, and not here.
        extra: in force here, and not there.
    """

    form: str
    through: datetime
    dre: int
    live: int
    missed: tuple[UnprovenEnrolment, ...]
    extra: tuple[UnprovenEnrolment, ...]


@act(
    "import.prove",
    OFFICE,
    shows=lambda proof, _asked: shown(one.student_number for one in (*proof.missed, *proof.extra)),
)
def prove(site: Registering, _actor: Actor, request: ProofRequest) -> Proof:
    """Compare the live flow's enrolments with the DRE.

    Raises:
        DreUnusable: it is away, half imported, or of an unknown release; AddressRefused: of its address.
    """
    copy = read_copy(read_secret(request.url_file, "--dre"))
    with site.database.read() as connection:
        ours = _ours(connection)
    here = ours.keys() & (copy.valid | copy.cancelled)
    if not copy.valid or len(here) < _WHOLE_SHARE_MIN * len(ours):
        raise DreUnusable(
            gettext("the DRE has {n} of our {m} enrolments: it is half imported", n=len(here), m=len(ours)),
            remedy=gettext("Prove again after its import, at 4:00 by default. Nothing was compared."),
        )
    missed = sorted(copy.valid - ours.keys())
    forgotten = erased_among(site, {each.student_number for each in missed})
    extra = sorted(key for key, at in ours.items() if key not in copy.valid and at <= copy.through)
    return Proof(
        form=copy.form,
        through=utc(copy.through),
        dre=len(copy.valid),
        live=len(ours),
        missed=tuple(_told(key) for key in missed if key.student_number not in forgotten),
        extra=tuple(map(_told, extra)),
    )


def _ours(connection: Connection) -> dict[EnrolmentKey, float]:
    """The enrolments in force by the live flow, and when each was last changed."""
    rows = feed_rows.c
    query = (
        select(rows.student_number, rows.year, rows.step, rows.step_version, imports.c.started_at)
        .join(imports, imports.c.id == rows.import_id)
        .where(rows.source == FEED, rows.live.is_not(False))
    )
    return {EnrolmentKey(*row[:4]): row.started_at for row in connection.execute(query)}


def _told(key: EnrolmentKey) -> UnprovenEnrolment:
    return UnprovenEnrolment(**key._asdict())
