"""Messages about wrong request values; never with the value: it may be personal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.language import gettext, gettext_noop
from sesame.settings.explain import WORDS

_LIST = gettext_noop("must be a list")
_OBJECT = gettext_noop("must be an object")
_TEXT = gettext_noop("must be a text")
_DAY = gettext_noop("must be a day such as 2026-09-01")
_TIME = gettext_noop("must be a time such as 2026-09-01T08:30:00Z")

_WORDS: Final[Mapping[str, str]] = {
    **WORDS,
    "extra_forbidden": gettext_noop("is not known here"),
    "json_invalid": gettext_noop("is no JSON"),
    "too_long": gettext_noop("must have at most {max_length} entries"),
    **dict.fromkeys(("string_type", "string_unicode", "path_type"), _TEXT),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type"), _LIST),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type", "mapping_type"), _OBJECT),
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_parsing"), _DAY),
    **dict.fromkeys(("datetime_type", "datetime_parsing", "timezone_aware"), _TIME),
}
"""Messages by pydantic's type of error, in JSON's terms: the settings' are for a file."""


def in_words(error: Mapping[str, Any]) -> str:
    """The message of one of `ValidationError.errors()`, in the current language."""
    context = error.get("ctx", {})
    template = _WORDS.get(error["type"])
    if template is not None:
        if "expected" in context:  # pydantic's list, in English
            choices = str(context["expected"]).replace(" or ", ", ").split(", ")
            context = {**context, "expected": f" {gettext('or')} ".join(choices)}
        return gettext(template, **context)
    ours = str(context.get("error", "")) if error["type"] == "value_error" else ""
    return ours or gettext("is not of the form that is expected here")
