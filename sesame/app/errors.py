"""Whether a dependency is down, and the reference's errors."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Collection, Iterator

from pipeline.errors import DependencyDown, Misconfigured, SesameError, TargetDown, Throttled, meaning
from pipeline.eventlog.port import LogUnavailable


def is_away(error: BaseException) -> bool:
    """Whether the error means that a dependency is down, not a fault on this side."""
    return isinstance(error, DependencyDown | LogUnavailable | TargetDown | Throttled)


PACKAGES = ("pipeline", "consumers", "producers", "sesame")

_KINDS = (TargetDown, Throttled, Misconfigured, DependencyDown, LogUnavailable)
_HEAD = """\
## Errors

What the pipeline does about one follows from its kind, in brackets: a `TargetDown` stops the consumer
until a probe succeeds, a `Throttled` makes it pause, a `Misconfigured` stops it until the settings are
mended, a `DependencyDown` or `LogUnavailable` stops the process's work until the store or the log is
back. Any other is the command's or the student's alone. What becomes a token is explained there.
"""


def errors_part(tokens: Collection[str], anchored: Callable[[str], str], linked: Callable[[str], str]) -> str:
    """The errors' part of the page of causes, in Markdown.

    `tokens`: those that the page explains. `anchored`, `linked`: write a name as a link's aim, or as a link.
    """
    lines = [_HEAD]
    for error in sorted(set(_all()), key=lambda each: each.__name__):
        kind = next((f" ({each.__name__})" for each in _KINDS if each in error.__mro__[1:]), "")
        token = _token(error, tokens)
        lines.append(f"- {anchored(error.__name__)}{kind}: {linked(token) if token else meaning(error)}")
    return "\n".join(lines) + "\n"


def _token(error: type[SesameError], tokens: Collection[str]) -> str | None:
    """The token that an error of a room below becomes: `moodle_broken`, of Moodle's `Broken`."""
    room, part, *_ = error.__module__.split(".")
    name = re.sub(r"(?<!^)([A-Z])", r"_\1", error.__name__).lower()
    names = (f"{part}_{name}", name) if room in ("consumers", "pipeline") else ()
    return next((each for each in names if each in tokens), None)


def _all() -> Iterator[type[SesameError]]:
    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if "migrations" not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    yield from _below(SesameError)


def _below(error: type[SesameError]) -> Iterator[type[SesameError]]:
    for each in error.__subclasses__():
        if each.__module__.split(".")[0] in PACKAGES:
            yield each
        yield from _below(each)
