"""Configuration of Dovecot 2.3 and 2.4: `ops/dovecot/`, without privileges."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from sandbox.process import PATIENCE_S, MissingServer, SandboxError, find_program

PACKAGES = "dovecot-core dovecot-imapd dovecot-lmtpd dovecot-ldap dovecot-managesieved dovecot-sieve"
"""The Debian packages that the sandbox needs."""

_OPS = Path(__file__).resolve().parent.parent / "ops" / "dovecot"

_PARTS = (
    "imap",
    "lmtp",
    "managesieve",
    "modules/auth/libauthdb_ldap.so",
    "modules/lib90_sieve_plugin.so",
    "modules/doveadm/lib10_doveadm_sieve_plugin.so",
)
"""A file of each package, in /usr/lib/dovecot; `dovecot --version` needs dovecot-core alone."""

_LIBEXEC = Path("/usr/lib/dovecot")

_HEADER_2_4 = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n"

# The same words in 2.3 and 2.4. Without privileges it takes an empty chroot, and one user for everything.
_ROOTLESS = """\
base_dir = @folder@/run
state_dir = @folder@/state
instance_name = sandbox
log_path = /dev/stderr
listen = 127.0.0.1
default_internal_user = @internal_user@
default_internal_group = @internal_group@
default_login_user = @mail_user@
first_valid_uid = @uid@
service anvil {
  chroot =
  # Tests type wrong passwords on purpose: no growing penalty for their address.
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service imap-login {
  chroot =
  inet_listener imap {
    port = @imap_port@
  }
  inet_listener imaps {
    port = @imaps_port@
    ssl = yes
  }
}
service managesieve-login {
  chroot =
  inet_listener sieve {
    port = @sieve_port@
  }
}
auth_failure_delay = 0
sendmail_path = @folder@/sendmail
!include sesame.conf
"""

_ACCESS_LISTS = {
    "2.3": """\
mail_plugins = $mail_plugins acl
protocol imap {
  mail_plugins = $mail_plugins acl imap_acl
}
plugin {
  acl = vfile
}
""",
    "2.4": """\
mail_plugins {
  acl = yes
}
protocol imap {
  mail_plugins {
    imap_acl = yes
  }
}
acl_driver = vfile
""",
}
"""Lets students share folders (RFC 4314); not shipped."""

_SENDMAIL = """\
#!/bin/sh
# Stands where the outgoing mail server would: keeps each message, whole or not at all.
set -eu
umask 077
draft=$(mktemp @folder@/redirected/.XXXXXXXXXX)
{ printf 'X-Sandbox-Arguments: %s\\n' "$*"; cat; } > "$draft"
mv "$draft" "@folder@/redirected/$(basename "$draft" | cut -c2-).eml"
"""

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9 .,:;/=_@+~&?!()*-]*")
"""Dovecot's configuration gives a meaning to quotes, backslashes, `#`, `%`, `$`, `<` and line ends."""


def render(template: str, values: Mapping[str, str]) -> str:
    """Replace every `@word@` of a configuration template.

    Raises SandboxError for a word without a value, and for a value that the configuration would not take
    literally (the value itself is not shown: it may be a secret).
    """

    def value_of(match: re.Match[str]) -> str:
        word = match[1]
        if word not in values:
            raise SandboxError(f"the configuration wants a value for @{word}@")
        plain = _PLAIN_VALUE.fullmatch(values[word]) and values[word] == values[word].strip()
        if not plain:
            raise SandboxError(
                f"the value for @{word}@ has a character that Dovecot would not take literally"
            )
        return values[word]

    return re.sub(r"@([a-z_]+)@", value_of, template)


def find_dovecot() -> Path:
    """Return the program's path. Raises MissingServer, naming every package, when one of them is missing."""
    program = find_program("dovecot", PACKAGES)
    for part in _PARTS:
        if not (_LIBEXEC / part).exists():
            raise MissingServer(f"Dovecot's {Path(part).name}", PACKAGES)
    return program


class Version(tuple[int, ...]):
    """A version that compares by its numbers and shows itself with dots."""

    __slots__ = ()

    def __str__(self) -> str:
        return ".".join(map(str, self))


def version_of(program: Path) -> Version:
    """The version that Dovecot reports. E.g. `2.3.19.1 (9b53102964)` or `2.4.1-4 (7d8c0e5759)`."""
    answer = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    match = re.match(r"\d+(?:\.\d+)+", answer.stdout)
    if match is None:
        raise SandboxError(f"{program} --version answers nothing that looks like a version")
    version = Version(int(number) for number in match[0].split("."))
    if not (2, 3) <= version < (2, 5):
        raise SandboxError(f"Dovecot {version} is not known here: 2.3 and 2.4 are")
    return version


def templates(version: Version, *, access_lists: bool = False) -> dict[str, str]:
    """Return the files to render, by name, for this version of Dovecot."""
    family = "2.3" if version < (2, 4) else "2.4"
    shipped = {path.name: path.read_text(encoding="utf-8") for path in (_OPS / family).iterdir()}
    if family == "2.3":
        shipped["sesame-ldap-users.conf.ext"] = shipped["sesame-ldap.conf.ext"]
    frame = (
        (_HEADER_2_4 if family == "2.4" else "") + _ROOTLESS + (_ACCESS_LISTS[family] if access_lists else "")
    )
    return {"dovecot.conf": frame, "sendmail": _SENDMAIL, **shipped}
