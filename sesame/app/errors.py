"""What an operator can do about an error, and whether it is a dependency that is away."""

from __future__ import annotations

import inspect

from pipeline.errors import DependencyDown, SesameError, TargetDown, Throttled
from pipeline.eventlog.port import LogUnavailable


def remedy_of(error: SesameError) -> str:
    """The error's remedy; without one, what its class's docstring says unless that is its message."""
    if error.remedy:
        return error.remedy
    explanation = " ".join(inspect.cleandoc(type(error).__doc__ or "").split())
    return "" if explanation == " ".join(str(error).split()) else explanation


def is_away(error: BaseException) -> bool:
    """Whether the error says that a dependency is down, and not that something is wrong on this side."""
    return isinstance(error, DependencyDown | LogUnavailable | TargetDown | Throttled)
