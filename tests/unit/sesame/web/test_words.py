"""What is wrong with a value is never a sentence of the library's, whatever the error is."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic_core.core_schema import ErrorType

from sesame.web.api.words import in_words

CONTEXT: dict[str, Any] = {
    **dict.fromkeys(("gt", "ge", "lt", "le", "min_length", "max_length"), 7),
    "pattern": "^a$",
    "expected": "'a', 'b' or 'c'",
    "error": ValueError("ours"),
}


@pytest.mark.parametrize("kind", get_args(ErrorType))
def test_each_error_has_our_words(kind: str) -> None:
    theirs = "Input should be a valid string"
    said = in_words({"type": kind, "msg": theirs, "ctx": CONTEXT, "loc": ("body", "x"), "input": "Maëlwenn"})
    assert said
    assert not any(each in said for each in (theirs, "{", "Maëlwenn"))
