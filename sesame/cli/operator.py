"""Who gives a command, and why: what support is shown, and what the audit holds."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from sesame.operations.acts import Actor

Command = TypeVar("Command", bound=Callable[..., object])

LOGIN_UID = Path("/proc/self/loginuid")
"""Who logged in, as Linux keeps it through sudo, su and runuser (pam_loginuid(8))."""
_NO_LOGIN = 2**32 - 1  # nobody logged in: a service, a timer, a container


def reason_option(default: str | None = None) -> Callable[[Command], Command]:
    """`--reason`: the command gets `reason`, one line of text. Required without `default`."""
    words = "Why, for support: kept in the store, never on the log."
    if default is None:  # a default of None would count as a value that was given
        return click.option("--reason", required=True, callback=_one_line, help=words)
    return click.option("--reason", default=default, show_default=True, callback=_one_line, help=words)


def operator_name() -> str:
    """The user who runs this, and who became that user to do so: `camille as sesame`.

    Both come from user numbers (the process's, and the login's or sudo's), never from LOGNAME or USER, which
    anybody may set. A number that the system has no name for is shown as it is.
    """
    own, caller = os.getuid(), _caller()
    name = _user_name(own)
    return name if caller in {None, own} else f"{_user_name(caller)} as {name}"


def operator() -> Actor:
    """Who gives this command. Whoever may read the settings and the secrets administers the site."""
    from sesame.operations.acts import Actor, Role

    return Actor(operator_name(), frozenset(Role))


def _caller() -> int | None:
    """The number of the user who logged in or called sudo; None: nobody did."""
    try:
        login = int(LOGIN_UID.read_text(encoding="ascii"))
    except (OSError, ValueError):
        login = _NO_LOGIN
    if login != _NO_LOGIN:
        return login
    called = os.environ.get("SUDO_UID", "")
    return int(called) if called.isascii() and called.isdecimal() else None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid {uid}"


def _one_line(_context: click.Context, _option: click.Parameter, value: object) -> object:
    if not isinstance(value, str):
        return value  # it was not given: click says so itself, afterwards
    from pydantic import TypeAdapter, ValidationError

    from schemas.scalars import Text

    try:
        return TypeAdapter(Text).validate_python(value.strip())
    except ValidationError:
        raise click.BadParameter("give one line of 1 to 512 characters") from None
