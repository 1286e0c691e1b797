"""Routes of open questions: identity doubts, adoptions, reopening after a restore."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Query

from sesame.acts.acts import ActRequest
from sesame.operations.identities import acts as identities
from sesame.operations.identities import settlement
from sesame.operations.identities.acts import (
    Decided,
    DoubtDecision,
    DoubtFilter,
    DoubtSummary,
    IdentityCase,
    Merge,
)
from sesame.operations.identities.settlement import Settled, Settlement, SettlementPreview
from sesame.operations.questions.adoption import acts as adoption
from sesame.operations.questions.adoption.acts import (
    AdoptionQuestion,
    AnswerRequest,
    QuestionFilter,
    QuestionsAnswered,
    QuestionShown,
)
from sesame.operations.questions.restored import questions as restored
from sesame.operations.questions.restored.questions import AskedAbout, RestoredAnswer, RestoreFilter
from sesame.web.api.routes import Caller, Name, route

Everything = Annotated[bool, Query(description="Decided ones, too.")]


class SettlementAgreed(ActRequest):
    """Doubts to be settled: what was asked of the preview, and what it answered. What is not as it was shown
    is left."""

    settlement: Settlement
    shown: SettlementPreview


@route("GET", "/identities", identities.listed)
def list_identities(call: Caller, *, everything: Everything = False) -> list[DoubtSummary]:
    """The doubts about who is who that wait for somebody."""
    return identities.listed(call.site, call.actor, DoubtFilter(everything=everything))


@route("GET", "/identities/{student_number}", identities.show)
def show_identity(call: Caller, student_number: Name) -> list[IdentityCase]:
    """Every doubt that a number has to do with, with both sides. Personal data."""
    return identities.show(call.site, call.actor, student_number)


@route("POST", "/identities/separate", identities.separate)
def separate_identities(call: Caller, request: DoubtDecision) -> Decided:
    """Say that two numbers are two people, or that a number stays with its first holder."""
    return identities.separate(call.site, call.actor, request)


@route("POST", "/identities/merge", identities.merge)
def merge_identities(call: Caller, request: Merge) -> Decided:
    """Say that two numbers are one person, or that a number's holder is the same."""
    return identities.merge(call.site, call.actor, request)


@route("POST", "/identities/settle/preview", settlement.preview)
def preview_settlement(call: Caller, request: Settlement) -> SettlementPreview:
    """What a rule would say of the open doubts, with both sides. Personal data; nothing is said."""
    return settlement.preview(call.site, call.actor, request)


@route("POST", "/identities/settle", settlement.settle)
def settle_identities(call: Caller, request: SettlementAgreed) -> Settled:
    """Say what a rule says of the doubts that a preview showed."""
    return settlement.settle(call.site, call.actor, request.settlement, request.shown, clock=call.clock)


@route("GET", "/adoption/questions", adoption.questions)
def list_adoption_questions(
    call: Caller, *, kind: str | None = None, everything: Everything = False
) -> list[AdoptionQuestion]:
    """The objects that an adoption or a comparison asks about, oldest first. Personal data."""
    return adoption.questions(call.site, call.actor, QuestionFilter(kind=kind, everything=everything))


@route("GET", "/adoption/questions/{question_id}", adoption.show)
def show_adoption_question(call: Caller, question_id: Name) -> QuestionShown:
    """One object, and whoever it may be: the registrar's word beside what the target shows now."""
    return adoption.show(call.site, call.actor, question_id)


@route("POST", "/adoption/decide", adoption.decide)
def answer_adoption_questions(call: Caller, request: AnswerRequest) -> QuestionsAnswered:
    """Say whose objects are; the next adoption acts on it, and nobody is asked again."""
    return adoption.decide(call.site, call.actor, request)


@route("GET", "/restored", restored.listed)
def list_restored(call: Caller, *, everything: Everything = False) -> list[AskedAbout]:
    """Whom a target showed shut after a restore, and the store does not know why."""
    return restored.listed(call.site, call.actor, RestoreFilter(everything=everything))


@route("POST", "/restored/answer", restored.answer, status=HTTPStatus.NO_CONTENT)
def answer_restored(call: Caller, request: RestoredAnswer) -> None:
    """Open the access of one who was asked about after a restore, or keep it shut."""
    restored.answer(call.site, call.actor, request)
