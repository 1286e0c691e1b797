"""The operator's name, for the audit."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from sesame.app.lazy import lazily
from sesame.cli.output import remark

with lazily():
    from sesame.acts import acts

LOGIN_UID = Path("/proc/self/loginuid")
"""Who logged in, as Linux keeps it through sudo, su and runuser (pam_loginuid(8))."""
_NO_LOGIN = 2**32 - 1  # no login: a service, a timer, a container


def operator() -> acts.Actor:
    """The operator who gives this command.

    Anyone who may read the settings and the secrets administers the site. The name is of the user who runs
    this, and who became that user to do so: `camille as sesame`. Both come from user numbers (the process's,
    and the login's or sudo's), never from LOGNAME or USER, which anybody may set. A number that the system
    has no name for is shown as it is.
    """
    own, caller = os.getuid(), _caller()
    name = _user_name(own)
    if caller is not None and caller != own:
        name = f"{_user_name(caller)} as {name}"
    return acts.Actor(name, frozenset(acts.Role), tell=remark)


def _caller() -> int | None:
    """The user id of the user who logged in or called sudo; None: there is none."""
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
