"""Routes of open questions: identity doubts, adoptions, reopening after a restore."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from sesame.acts.acts import ActRequest
from sesame.operations.identities import acts as identities
from sesame.operations.identities import settlement
from sesame.operations.identities.acts import (
    DoubtsRequest,
    DoubtSummary,
)
from sesame.operations.identities.settlement import SettlementPreview, SettleReport, SettleRequest
from sesame.operations.questions.adoption import acts as adoption
from sesame.operations.questions.adoption.acts import (
    AdoptionQuestion,
    QuestionsRequest,
)
from sesame.operations.questions.restored import questions as restored
from sesame.operations.questions.restored.questions import AskedAbout, RestoredRequest
from sesame.web.api.routes import Caller, route

Everything = Annotated[bool, Query(description="Decided ones, too.")]


class SettleAgreedRequest(ActRequest):
    """Doubts to be settled: what was asked of the preview, and what it answered. What is not as it was shown
    is left."""

    settlement: SettleRequest
    shown: SettlementPreview


@route("GET", "/identities", identities.listed)
def list_identities(call: Caller, *, everything: Everything = False) -> list[DoubtSummary]:
    """The doubts about identities that wait for a decision."""
    return identities.listed(call.site, call.actor, DoubtsRequest(everything=everything))


@route("POST", "/identities/settle", settlement.settle)
def settle_identities(call: Caller, request: SettleAgreedRequest) -> SettleReport:
    """Say what a rule says of the doubts that a preview showed."""
    return settlement.settle(call.site, call.actor, request.settlement, request.shown, clock=call.clock)


@route("GET", "/adoption/questions", adoption.questions)
def list_adoption_questions(
    call: Caller, *, kind: str | None = None, everything: Everything = False
) -> list[AdoptionQuestion]:
    """The objects that an adoption or a comparison asks about, oldest first. Personal data."""
    return adoption.questions(call.site, call.actor, QuestionsRequest(kind=kind, everything=everything))


@route("GET", "/restored", restored.listed)
def list_restored(call: Caller, *, everything: Everything = False) -> list[AskedAbout]:
    """Whom a target showed shut after a restore, and the store does not know why."""
    return restored.listed(call.site, call.actor, RestoredRequest(everything=everything))
