"""Errors as SCIM says them (RFC 7644, 3.12): one text, and sometimes a type."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import structlog
from scim2_models import (
    Error,
    InvalidValueException,
    NotFoundException,
    PreconditionFailedException,
    SCIMException,
    TooManyException,
    UniquenessException,
)
from starlette.exceptions import HTTPException

from pipeline.errors import SesameError, fault, meaning
from producers.registrar.teachings.memberships import GroupChanged, GroupGone, GroupTaken
from schemas.language import gettext
from sesame.operations.person_facts import PersonRefused
from sesame.operations.registered_persons import TooManyToCompare
from sesame.operations.sent_persons import PersonKnown
from sesame.operations.teaching_groups import NoSuchMember, TooManyShown
from sesame.web.api import problems

_SAID: Final[Mapping[type[SesameError], type[SCIMException]]] = {
    GroupChanged: PreconditionFailedException,
    GroupGone: NotFoundException,
    GroupTaken: UniquenessException,
    NoSuchMember: InvalidValueException,
    PersonKnown: UniquenessException,
    PersonRefused: InvalidValueException,
    TooManyShown: TooManyException,
    TooManyToCompare: TooManyException,
}


def error_of(exception: Exception) -> Error:
    """What an error is answered with, in the language that is spoken."""
    if isinstance(exception, SCIMException):
        return exception.to_error()
    if isinstance(exception, SesameError):
        said = _SAID.get(type(exception))
        if said is not None:
            return said(detail=in_words(exception)).to_error()
        return Error(status=int(problems.status_of(exception)), detail=in_words(exception))
    if isinstance(exception, HTTPException):
        return Error(status=exception.status_code, detail=HTTPStatus(exception.status_code).phrase)
    structlog.get_logger().error("api_fault", error=fault(exception))
    return Error(status=500, detail=HTTPStatus.INTERNAL_SERVER_ERROR.phrase)


def in_words(error: SesameError) -> str:
    """What an error says, what it means, and what to do, where SCIM has one text for all of it."""
    means, said = gettext(meaning(type(error))), str(error)
    texts = (said if said != means else "", means, gettext(error.remedy))
    return " ".join(text if text.endswith(".") else f"{text}." for text in texts if text)
