"""SCIM's errors (RFC 7644, 3.12): one text, and sometimes a type."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from scim2_models import (
    Error,
    InvalidSyntaxException,
    InvalidValueException,
    NotFoundException,
    PreconditionFailedException,
    SCIMException,
    TooManyException,
    UniquenessException,
)
from starlette.exceptions import HTTPException

from pipeline.errors import SesameError, fault, meaning
from producers.registrar.memberships import GroupChanged, GroupGone, GroupTaken
from schemas.language import gettext
from sesame.operations.programs.person_facts import PersonRefused
from sesame.operations.programs.registered_persons import TooManyToCompare
from sesame.operations.programs.sent_persons import PersonKnown
from sesame.operations.programs.teaching_groups import NoSuchMember, TooManyShown
from sesame.web.api import problems, words
from sesame.web.api.routes import UnusableRequest

_SAID: Final[Mapping[type[SesameError], type[SCIMException]]] = {
    GroupChanged: PreconditionFailedException,
    GroupGone: NotFoundException,
    GroupTaken: UniquenessException,
    NoSuchMember: InvalidValueException,
    UnusableRequest: InvalidSyntaxException,
    PersonKnown: UniquenessException,
    PersonRefused: InvalidValueException,
    TooManyShown: TooManyException,
    TooManyToCompare: TooManyException,
}


def error_of(exception: Exception) -> Error:
    """The SCIM error for an exception, in the current language."""
    if isinstance(exception, SCIMException):
        cause = exception.__cause__
        if isinstance(exception, InvalidValueException) and isinstance(cause, ValidationError):
            return error_of_value(cause.errors()[0])
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


_theirs: Final = Error.from_validation_error


def error_of_value(error: Mapping[str, Any]) -> Error:
    """The SCIM error for one validation error. The library would repeat pydantic's sentence."""
    is_scim = str(error["type"]).startswith("scim_")
    return _theirs(error if is_scim else {**error, "msg": words.in_words(error)})


def places_of(error: ValidationError, names: Mapping[str, str], within: str = "") -> str:
    """The errors of a resource's attributes, each with its place.

    Args:
        names: SCIM's for ours, unless they are the same in camel case.
        within: the path of the resource.
    """
    return "; ".join(
        f"{within}{names.get(name) or to_camel(name)}: {words.in_words(each)}"
        for each in error.errors()
        for name in [str(each["loc"][0])]
    )


def in_words(error: SesameError) -> str:
    """An error's message, meaning and remedy in one text: SCIM has one field for all."""
    means, said = gettext(meaning(type(error))), str(error)
    texts = (said if said != means else "", means, gettext(error.remedy))
    return " ".join(text if text.endswith(".") else f"{text}." for text in texts if text)
