"""Active Directory: its administrator's view over LDAPS, and students' logins."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence

from ldap3 import SUBTREE
from ldap3.core.exceptions import LDAPException
from ldap3.utils.dn import parse_dn

from sandbox.demo.finding import Announced, Disagreement
from sandbox.demo.roll import Student
from sandbox.samba import Samba

Entry = Mapping[str, Sequence[str]]

_TARGET = "active_directory"
_PAGE = 500
_LOGINS = 20
"""How many students log in: each bind is a handshake and a hash."""
_SHORT = 20
"""Characters of a sAMAccountName."""
_NORMAL, _DISABLED = 0x200, 0x2
_NUMBER, _ACCOUNT, _CONTROL, _MEMBER_OF = "employeeID", "sAMAccountName", "userAccountControl", "memberOf"
_ATTRIBUTES = (_NUMBER, _ACCOUNT, _CONTROL, _MEMBER_OF, "userPrincipalName", "mail", "displayName")


def dump(samba: Samba) -> list[Entry]:
    """Every user of the students' unit, page by page."""
    password = samba.administrator_password_file.read_text(encoding="ascii")
    with samba.connect(samba.administrator_dn, password) as connection:
        found = connection.extend.standard.paged_search(
            *(samba.users_dn, "(objectClass=user)", SUBTREE),
            attributes=_ATTRIBUTES,
            paged_size=_PAGE,
            generator=True,
        )
        return [each["attributes"] for each in found]


def compare(
    samba: Samba,
    entries: Sequence[Entry],
    students: Mapping[str, Student],
    announced: Mapping[str, Announced],
) -> Iterator[Disagreement]:
    """Users that are missing, too many, or otherwise than announced and implied."""
    by_number: dict[str, list[Entry]] = {}
    for entry in entries:
        by_number.setdefault(_one(entry, _NUMBER), []).append(entry)
    for number in sorted(by_number.keys() - students.keys()):
        yield Disagreement(number or "-", _TARGET, "is a user and not in the registrar's file")
    for number, student in students.items():
        held, said = by_number.get(number, []), announced.get(number)
        if not student.opened:
            if held:
                yield Disagreement(number, _TARGET, "is a user before any enrolment is in force")
        elif said is not None and said.given(_TARGET):
            if len(held) == 1:
                for what in _differences(samba, held[0], student, said):
                    yield Disagreement(number, _TARGET, what)
            else:
                yield Disagreement(number, _TARGET, f"{len(held)} users, one is announced")


def log_in(
    samba: Samba,
    students: Mapping[str, Student],
    announced: Mapping[str, Announced],
    passwords: Mapping[str, str],
) -> tuple[int, list[Disagreement]]:
    """Log some students in with their passwords. Count them, and name those who could not."""
    given = [said for said in announced.values() if students[said.number].opened and said.given(_TARGET)]
    some = given[:: max(1, len(given) // _LOGINS)][:_LOGINS]
    found = []
    for said in some:
        try:
            with samba.connect(_principal(said), passwords[said.number]):
                pass
        except LDAPException as refused:
            found.append(Disagreement(said.number, _TARGET, f"cannot log in: {refused}"))
    return len(some) - len(found), found


def _differences(samba: Samba, entry: Entry, student: Student, said: Announced) -> Iterator[str]:
    due = {
        "userPrincipalName": _principal(said),
        "mail": said.mail,
        "displayName": f"{student.given_name} {student.family_name}",
    }
    for name, value in due.items():
        if _one(entry, name) != value:
            yield f"{name} is {_one(entry, name)!r}, {value!r} is due"
    if not _stands_for(_one(entry, _ACCOUNT), said.login):
        yield f"{_ACCOUNT} is {_one(entry, _ACCOUNT)!r}, {said.login!r} is due"
    control = int(_one(entry, _CONTROL))
    if not control & _NORMAL or control & _DISABLED:
        yield f"{_CONTROL} is {control:#x}: no account that is enabled"
    groups = {_group(samba, dn) for dn in entry.get(_MEMBER_OF, ())}
    if groups != student.groups:
        yield f"groups are {sorted(groups)}, {sorted(student.groups)} is due"


def _stands_for(account: str, login: str) -> bool:
    """Whether it is the login, or a shortened one, perhaps with a number."""
    if len(login) <= _SHORT:
        return account == login
    beginning = account.rstrip(string.digits)
    return len(account) <= _SHORT and beginning != "" and login.startswith(beginning)


def _principal(said: Announced) -> str:
    return f"{said.login}@univ-exemple.fr"


def _group(samba: Samba, dn: str) -> str:
    """The name of a group of the groups' unit; another group's DN."""
    (_, name, _), *unit = parse_dn(dn)
    return name if unit == parse_dn(samba.groups_dn) else dn


def _one(entry: Entry, name: str) -> str:
    return next(iter(entry.get(name, ())), "")
