"""The inbox: each kind of question to a person at the desk, as data.

A kind says who may see and answer it, what is shown, which answers it takes and what each does. Its texts are
in `words.toml`, in the tables `questions` (headings) and `answers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from schemas.language import gettext
from sesame.acts.acts import Actor
from sesame.operations.identities import acts as identities
from sesame.operations.identities.acts import DoubtSummary, IdentityCase, Merge
from sesame.operations.people.diagnosis.words import word
from sesame.operations.people.known_persons import Side
from sesame.operations.people.target_look import TargetLook
from sesame.operations.questions.adoption import acts as adoption
from sesame.operations.questions.adoption.acts import (
    AdoptionQuestion,
    AnswerRequest,
    QuestionReport,
    QuestionsRequest,
)
from sesame.operations.questions.adoption.questions import QuestionKind
from sesame.operations.questions.restored import questions as restored
from sesame.operations.questions.restored.questions import AskedAbout, RestoredAnswerRequest, RestoredRequest


class Question(NamedTuple):
    """One question: what the list shows of it, and what its own page adds.

    Attributes:
        key: names it among those of its kind.
        numbers: the students whom it is about.
        heading, remedy: the question, and what to do about it.
        notes: what raised it.
        answers: tokens of those that it takes.
        state: of an object's answered one; empty: it is open.
        target, object: what it is about; empty: no object.
        at_once: an answer counts at once, not at the next adoption.
        sides: both who may be one person.
        student, look: whose the object may be, and what the target shows now.
    """

    key: str
    numbers: tuple[str, ...]
    heading: str
    remedy: str = ""
    notes: tuple[str, ...] = ()
    since: datetime | None = None
    answers: tuple[str, ...] = ()
    state: str = ""
    target: str = ""
    object: str = ""
    at_once: bool = False
    sides: tuple[Side, Side | None] | None = None
    student: Side | None = None
    look: TargetLook | None = None


class InboxKind(NamedTuple):
    """One kind of question; its acts check the rights once more, and are audited.

    Attributes:
        lists, decides: the acts that list and answer.
        command: lists all of them.
        listed: the open ones, oldest first.
        shown: those about a key; raises an error if there is none.
        decide: answer those of a key by a form (`reponse`, `raison`, for two numbers `autre` and `garder`);
            return what was decided.
    """

    lists: str
    decides: str
    command: str
    answers: tuple[str, ...]
    listed: Callable[[Any, Actor], Iterable[Question]]
    shown: Callable[[Any, Actor, str], Iterable[Question]]
    decide: Callable[[Any, Actor, str, Mapping[str, str]], str]


def _doubt(found: DoubtSummary) -> Question:
    number, other = found.student_number, found.other
    return Question(
        number,
        (number,) if other is None else (number, other),
        word("questions", "personnes"),
        notes=tuple(word("doubt_evidence", each) for each in found.evidence),
        since=found.raised_at,
        answers=_ONE_OR_TWO if found.state == "open" else (),
        sides=(found.before, found.after) if isinstance(found, IdentityCase) else None,
    )


def _say_who(site: Any, actor: Actor, number: str, form: Mapping[str, str]) -> str:
    other, keep = form.get("autre") or None, form.get("garder") or None
    said = Merge(student_number=number, other=other, holder=other is None, keep=keep, reason=form["raison"])
    return (identities.merge if form["reponse"] == "une" else identities.separate)(site, actor, said).text


def _object(asked: AdoptionQuestion, seen: QuestionReport | None = None) -> Question:
    what = word("object_questions", asked.kind)
    takes = () if seen is None else zip(_WHOSE, (seen.linkable, seen.separable), strict=True)
    return Question(
        asked.id,
        () if asked.student_number is None else (asked.student_number,),
        f"{what[:1].upper()}{what[1:]}.",
        word("object_remedies", asked.kind),
        answers=tuple(answer for answer, taken in takes if taken),
        state="" if asked.state == "open" else asked.state,
        target=asked.target,
        object=asked.object,
        at_once=asked.kind == QuestionKind.CORRECTED,
        student=None if seen is None else seen.student,
        look=None if seen is None else seen.look,
    )


def _show_object(site: Any, actor: Actor, question_id: str) -> list[Question]:
    seen = adoption.show(site, actor, question_id)
    return [_object(seen.question, seen)]


def _say_whose(site: Any, actor: Actor, question_id: str, form: Mapping[str, str]) -> str:
    given = {"ids": [question_id], "answer": form["reponse"], "reason": form["raison"]}
    done = adoption.decide(site, actor, AnswerRequest.model_validate(given))
    if done.replayed:
        return gettext("decided; it is looked at again now")
    return gettext("decided; the next adoption acts on it")


def _shut(found: AskedAbout) -> Question:
    number, heading = found.student_number, word("questions", "fermes")
    return Question(
        number, (number,), heading, notes=found.shown_shut_by, since=found.raised_at, answers=_OPEN_OR_SHUT
    )


def _list_shut(site: Any, actor: Actor) -> list[Question]:
    return list(map(_shut, restored.listed(site, actor, RestoredRequest())))


def _show_shut(site: Any, actor: Actor, number: str) -> list[Question]:
    found = [each for each in _list_shut(site, actor) if each.key == number]
    if not found:
        raise restored.NotAsked
    return found


def _say_open(site: Any, actor: Actor, number: str, form: Mapping[str, str]) -> str:
    given = {"student_number": number, "answer": form["reponse"], "reason": form["raison"]}
    restored.answer(site, actor, RestoredAnswerRequest.model_validate(given))
    return f"{number}: {word('answers', form['reponse'])}"


_ONE_OR_TWO, _WHOSE, _OPEN_OR_SHUT = ("une", "deux"), ("linked", "separate"), ("opened", "kept")

INBOX: Final = {
    "personnes": InboxKind(
        *("identity.list", "identity.merge", "sesame identities list", _ONE_OR_TWO),
        lambda site, actor: map(_doubt, identities.unanswered(site, actor)),
        lambda site, actor, number: map(_doubt, identities.show(site, actor, number)),
        _say_who,
    ),
    "objets": InboxKind(
        *("adopt.questions", "adopt.decide", "sesame adopt questions", _WHOSE),
        lambda site, actor: map(_object, adoption.questions(site, actor, QuestionsRequest())),
        _show_object,
        _say_whose,
    ),
    "fermes": InboxKind(
        *("restored.list", "restored.answer", "sesame restored list", _OPEN_OR_SHUT),
        _list_shut,
        _show_shut,
        _say_open,
    ),
}
"""Every kind by its name in addresses, in the order in which they are shown."""
