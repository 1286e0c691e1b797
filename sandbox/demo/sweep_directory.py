"""The directory, as ldapsearch shows it over StartTLS."""

from __future__ import annotations

import os
import subprocess
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path

from sandbox.demo.finding import Announced, Disagreement
from sandbox.demo.roll import Student
from sandbox.process import SandboxError, find_program
from sandbox.slapd import Slapd

Entry = Mapping[str, list[str]]

_UAI = "0751717J"


def search(
    slapd: Slapd,
    base: str,
    criterion: str,
    *attributes: str,
    who: str = "",
    password_file: Path | None = None,
) -> str:
    """Run ldapsearch over StartTLS, verified, and return its LDIF. As the provisioner unless `who` is given.

    Raises `SandboxError`, with ldapsearch's own message.
    """
    argv = [
        *(find_program("ldapsearch", "ldap-utils"), "-x", "-ZZ", "-LLL", "-o", "ldif-wrap=no"),
        *("-H", slapd.ldap_uri, "-D", who or slapd.provisioner_dn),
        *("-y", password_file or slapd.provisioner_password_file, "-b", base, criterion, *attributes),
    ]
    done = subprocess.run(
        [str(word) for word in argv],
        capture_output=True,
        encoding="utf-8",
        timeout=600,
        check=False,
        env={"PATH": os.defpath, "LDAPTLS_CACERT": str(slapd.ca_file), "LC_ALL": "C.UTF-8"},
    )
    if done.returncode != 0:
        raise SandboxError(f"ldapsearch ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def dump(slapd: Slapd) -> dict[str, Entry]:
    """The entries with a student number, by DN."""
    return dict(_entries(search(slapd, slapd.people_dn, "(supannEtuId=*)")))


def readable(ldif: str) -> str:
    """The LDIF with its encoded values decoded, for people."""
    lines = []
    for dn, entry in _entries(ldif):
        lines.append(f"dn: {dn}")
        lines += [f"{name}: {value}" for name, values in entry.items() for value in values]
    return "\n".join(lines)


def compare(
    entries: Mapping[str, Entry], students: Mapping[str, Student], announced: Mapping[str, Announced]
) -> list[Disagreement]:
    """Entries that are missing, too many, or otherwise than announced and implied."""
    by_number: dict[str, list[Entry]] = {}
    for entry in entries.values():
        for number in entry.get("supannEtuId", []):
            by_number.setdefault(number, []).append(entry)
    found = [
        Disagreement(number, "directory", "has an entry and is not in the registrar's file")
        for number in sorted(by_number.keys() - students.keys())
    ]
    for number, student in students.items():
        held, said = by_number.get(number, []), announced.get(number)
        if not student.opened:
            if held:
                found.append(
                    Disagreement(number, "directory", "has an entry before any enrolment is in force")
                )
        elif said is not None and said.given("directory"):
            if len(held) != 1:
                found.append(Disagreement(number, "directory", f"{len(held)} entries, one is announced"))
            else:
                found += (
                    Disagreement(number, "directory", what) for what in _differences(held[0], student, said)
                )
    return found


def _differences(entry: Entry, student: Student, said: Announced) -> Iterator[str]:
    due = {
        "uid": {said.login},
        "mail": {said.mail},
        "sn": {student.family_name},
        "givenName": {student.given_name},
        "sesameMailEnabled": {"TRUE"},
        "supannEtuEtape": {f"{{UAI:{_UAI}}}{step}" for step in student.steps},
        "sesameGroup": student.groups,
    }
    for name, values in due.items():
        shown = set(entry.get(name, []))
        if shown != values:
            yield f"{name} is {sorted(shown)}, {sorted(values)} is due"


def _entries(ldif: str) -> Iterator[tuple[str, Entry]]:
    """The entries of unwrapped LDIF (RFC 2849)."""
    for block in ldif.split("\n\n"):
        dn, entry = "", dict[str, list[str]]()
        for line in block.splitlines():
            name, colon, value = line.partition(":")
            if not colon or line.startswith("#"):
                continue
            plain = b64decode(value[1:].strip()).decode() if value.startswith(":") else value.strip()
            if name == "dn":
                dn = plain
            else:
                entry.setdefault(name, []).append(plain)
        if dn:
            yield dn, entry
