"""OpenLDAP's command-line tools, an observer that shares no code with the project."""

from __future__ import annotations

import os
import subprocess
from base64 import b64decode

from sandbox.process import PATIENCE_S
from sandbox.slapd import Slapd


def ldap_tool(
    slapd: Slapd,
    program: str,
    *arguments: str,
    who: str,
    password: str,
    starttls: bool = True,
    uri: str | None = None,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ldapsearch, ldapadd, ldapmodify or ldapwhoami by a simple bind. The exit code is LDAP's."""
    tls = ["-ZZ"] if starttls else []
    return subprocess.run(
        [program, "-x", "-H", uri or slapd.ldap_uri, *tls, "-D", who, "-w", password, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={"PATH": os.defpath, "LDAPTLS_CACERT": str(slapd.ca_file)},
    )


def as_provisioner(slapd: Slapd, program: str, *arguments: str, stdin: str | None = None) -> str:
    """Run a tool as the provisioner and return its output; it must succeed."""
    password = slapd.provisioner_password_file.read_text(encoding="ascii")
    done = ldap_tool(slapd, program, *arguments, who=slapd.provisioner_dn, password=password, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def search(slapd: Slapd, base: str, criterion: str, *attributes: str) -> dict[str, dict[str, list[str]]]:
    """Search as the provisioner: entries by DN, attributes by name, values as text."""
    out = as_provisioner(
        slapd, "ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-b", base, criterion, *attributes
    )
    return parse_ldif(out)


def parse_ldif(text: str) -> dict[str, dict[str, list[str]]]:
    """Parse ldapsearch's unwrapped LDIF (RFC 2849)."""
    entries: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if not colon or line.startswith("#"):
            continue
        plain = b64decode(value[1:].strip()).decode() if value.startswith(":") else value.strip()
        if name == "dn":
            current = entries.setdefault(plain, {})
        else:
            current.setdefault(name, []).append(plain)
    return entries


def can_log_in(slapd: Slapd, dn: str, password: str) -> bool:
    """True if a bind as this entry succeeds, False for invalid credentials, else fail."""
    done = ldap_tool(slapd, "ldapwhoami", who=dn, password=password)
    assert done.returncode in (0, 49), done.stderr
    return done.returncode == 0
