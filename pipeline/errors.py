"""One base error for the whole system. A class's docstring is what an operator reads about it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.language import gettext, gettext_noop


class SesameError(Exception):
    """Sésame met a condition that it names."""

    remedy: str = ""

    def __init__(self, message: str = "", *, remedy: str = "") -> None:
        super().__init__(message or gettext(meaning(type(self))))
        if remedy:
            self.remedy = remedy


def meaning(error: type[SesameError]) -> str:
    """Return an error class's docstring, as one line."""
    return " ".join((error.__doc__ or "").split())


def remedy_of(error: SesameError) -> str:
    """The error's remedy, or its class's docstring unless that is its message."""
    explanation = gettext(error.remedy or meaning(type(error)))
    return "" if explanation == str(error) else explanation


class TargetDown(SesameError):
    """The target cannot be reached, or answers that it is out of order. Nobody's attempts are charged;
    the consumer stops, probes, and goes on from the backlog when the target is back.

    `unknown` says whether something may have been written all the same (a time-out, a hang-up): the students
    of that call are then left alone until the call can no longer have an effect, and compared first."""

    remedy = "Start it, or mend the network to it; work goes on by itself when it is back."

    def __init__(self, message: str = "", *, remedy: str = "", unknown: bool = True) -> None:
        super().__init__(message, remedy=remedy)
        self.unknown = unknown


class OutOfOrder(TargetDown):
    """The target answered that it is out of order (a status of 502 or 503). Nobody's attempts are charged;
    the consumer stops when half of the calls of late are answered so, and goes on when the target is back."""


class Throttled(SesameError):
    """The target asked to be called less often. The consumer pauses for as long as it was told.

    `unknown` as in `TargetDown`: an earlier call for the same students may still have an effect."""

    def __init__(self, message: str, *, retry_after_s: float, unknown: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.unknown = unknown


class Misconfigured(SesameError):
    """The target refuses the consumer itself (token, rights, base DN), whoever the student is. The consumer
    stops at once and says so; it looks again from time to time, and goes on when the fault is mended.

    `unknown` as in `TargetDown`: an earlier call for the same students may still have an effect."""

    def __init__(self, message: str = "", *, remedy: str = "", unknown: bool = False) -> None:
        super().__init__(message, remedy=remedy)
        self.unknown = unknown


class CredentialsRefused(Misconfigured):
    """The target refuses what the consumer identifies itself with: its token, key or password. Put the right
    one into its file: the running process reads a file that has changed at its next look, and goes on by
    itself. A secret that is in no file needs a restart."""


class WriteForbidden(SesameError):
    """A write was about to be sent to a target that is only observed (its setting `mode`); it was not sent.
    That is a fault of Sésame's own: report it with the log."""


class DependencyDown(SesameError):
    """The database or the event log cannot be used. Work stops until it can; nothing is lost."""


class NotInstalled(SesameError):
    """A package of one of Sésame's extras is not installed."""

    def __init__(self, extra: str) -> None:
        super().__init__(
            gettext("what the extra {extra!r} brings is not installed", extra=extra),
            remedy=gettext(
                "In Sésame's own environment: pip install {packages}. Then restart.",
                packages=" ".join(f"'{each}'" for each in _packages(extra)),
            ),
        )


def _packages(extra: str) -> list[str]:
    """What an extra brings. By name, since the package index has another `sesame`."""
    from importlib.metadata import PackageNotFoundError, requires  # slow to load

    try:
        wanted = requires("sesame") or []
    except PackageNotFoundError:  # from a checkout
        return [f".[{extra}]"]
    return [
        each.partition(";")[0].strip() for each in wanted if f"extra == '{extra}'" in each.replace('"', "'")
    ]


@contextmanager
def of_extra(extra: str) -> Iterator[None]:
    """Import packages of an extra. Raises `NotInstalled`: they are not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise NotInstalled(extra) from error


_SYSTEM_WORDS = (
    gettext_noop("No such file or directory"),
    gettext_noop("Permission denied"),
    gettext_noop("Operation not permitted"),
    gettext_noop("Is a directory"),
    gettext_noop("Not a directory"),
    gettext_noop("No space left on device"),
    gettext_noop("Disk quota exceeded"),
    gettext_noop("Read-only file system"),
    gettext_noop("File name too long"),
    gettext_noop("Input/output error"),
)
"""The operating system's commonest reasons (POSIX, strerror), for the catalogue."""


def system_words(error: OSError) -> str:
    """Return the system's reason in the reader's language, if the catalogue has it."""
    return gettext(error.strerror) if error.strerror else str(error)


def fault(error: BaseException) -> str:
    """Describe an unforeseen error by kind and place. Not by its text, which may show personal data."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    place = f" in {Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}" if ours else ""
    return type(error).__name__ + place


def told(error: Exception | None) -> str:
    """Return an error's text for the operator, with the remedy where there is one."""
    if error is None:
        return ""
    if not isinstance(error, SesameError):
        return fault(error)
    return f"{error}. {gettext(error.remedy)}" if error.remedy else str(error)
