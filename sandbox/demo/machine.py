"""Check this machine before a demo, and name the command that completes it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from sandbox.dovecot_conf import find_dovecot, version_of
from sandbox.process import MissingServer, SandboxError, find_program

_MODULES = Path("/usr/lib/ldap")
_PROGRAM = Path(sys.executable).parent / "sesame"


class MachineUnfit(SandboxError):
    """The demo cannot run here; the message says what is missing and what to type."""


def check() -> list[str]:
    """Return the findings, one line each.

    Raises:
        MachineUnfit: something is missing; every missing thing is named at once.
    """
    found: list[str] = []
    missing: list[MissingServer] = []
    checks: tuple[Callable[[], str], ...] = (_slapd, _ldapsearch, _dovecot)
    for one in checks:
        try:
            found.append(one())
        except MissingServer as lack:
            missing.append(lack)
    if missing:
        raise MachineUnfit(_remedy(missing))
    if not _PROGRAM.exists():
        raise MachineUnfit(f"{_PROGRAM} is not installed: type `make python`, or `make setup` for everything")
    if not Path("/proc/self/stat").exists():
        raise MachineUnfit("the demo needs Linux with /proc mounted")
    return found


def sesame_program() -> Path:
    """The `sesame` command of the environment that runs this."""
    return _PROGRAM


def _remedy(missing: list[MissingServer]) -> str:
    names = ", ".join(lack.program for lack in missing)
    packages = list(dict.fromkeys(package for lack in missing for package in lack.package.split()))
    command = f"apt-get install -y --no-install-recommends {' '.join(packages)}"
    return (
        f"missing on this machine: {names}\n"
        f"As root, or with sudo: {command}\n"
        "(`make servers` does that without starting Debian's own services.)"
    )


def _slapd() -> str:
    program = find_program("slapd", "slapd")
    if not (_MODULES / "argon2.so").exists() and not any(Path("/usr/lib").glob("*/ldap/argon2.so")):
        raise MissingServer("slapd's argon2 module", "slapd slapd-contrib")
    return f"slapd     {program}"


def _ldapsearch() -> str:
    return f"ldap      {find_program('ldapsearch', 'ldap-utils')}"


def _dovecot() -> str:
    program = find_dovecot()
    return f"dovecot   {program} {version_of(program)}"
