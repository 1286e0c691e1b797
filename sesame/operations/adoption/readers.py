"""From the targets to the sheet, through what their ports dump: every object, a student's or not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from consumers.directory.port import Directory, ObservedEntry
from consumers.mailbox.port import Mailboxes
from consumers.moodle.port import MoodlePort, User
from sesame.operations.adoption.run import Reader
from sesame.operations.adoption.sheet import FoundObject
from sesame.operations.ports import Targets

_Server = TypeVar("_Server")

_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")
_LOGINS, _MAILS, _PRINCIPALS = ("supannAliasLogin",), ("mail", "supannAutreMail"), ("eduPersonPrincipalName",)


def readers(site: Targets) -> dict[str, Reader]:
    """A reader of each configured target that holds people, the directory first; none of them can write."""
    made: dict[str, Reader] = {
        "directory": lambda: _reader(site.directory(read_only=True), entries),
        "mailbox": lambda: _reader(site.mailboxes(read_only=True), mailboxes),
        "moodle": lambda: _reader(site.moodle(read_only=True), users),
    }
    return {target: reader for target, reader in made.items() if target in site.settings.targets}


@contextmanager
def _reader(
    server: AbstractContextManager[_Server], dump: Callable[[_Server], Iterator[FoundObject]]
) -> Iterator[Iterator[FoundObject]]:
    with server as connected:
        yield dump(connected)


def entries(directory: Directory) -> Iterator[FoundObject]:
    """Every entry of the people's branch.

    Raises:
        TargetDown, Misconfigured: the directory cannot be read.
    """
    return map(_entry, directory.dump())


def users(site: MoodlePort) -> Iterator[FoundObject]:
    """Every user of the site who is not deleted.

    Raises:
        TargetDown, Misconfigured: the site cannot be read.
    """
    return (_user(user) for seen in site.dump(strangers=True) for user in seen.users)


def mailboxes(server: Mailboxes) -> Iterator[FoundObject]:
    """Every mailbox that the server finds.

    Raises:
        TargetDown, Misconfigured: the server cannot be read.
    """
    return map(_mailbox, server.addresses())


def _entry(entry: ObservedEntry) -> FoundObject:
    shown = entry.attributes

    def of(*attributes: str) -> list[str]:
        return [value for name in attributes for value in shown.get(name, ())]

    def told(*attributes: str) -> list[str]:
        return [value for name in attributes for value in entry.evidence.get(name, ())]

    mails = [mail.lower() for mail in of(*_MAILS)]
    names = [("login", login.lower()) for login in (*entry.logins, *of(*_LOGINS))]
    names += [("mail", mail) for mail in mails]
    names += [("principal", principal.lower()) for principal in of(*_PRINCIPALS)]
    dates = [
        match
        for value in told("supannOIDCDateDeNaissance", "schacDateOfBirth")
        if (match := _DATE.fullmatch(value))
    ]
    return FoundObject(
        target="directory",
        ref=entry.dn.lower(),
        login=entry.logins[0] if entry.logins else "",
        mail=next((mail.lower() for mail in of("mail")), ""),
        numbers=tuple(number.strip() for number in entry.student_numbers if number.strip()),
        ine=next((ine.strip().upper() for ine in told("supannCodeINE")), ""),
        birth="-".join(dates[0].groups()) if dates else "",
        family="\n".join(dict.fromkeys([*told("supannNomDeNaissance"), *of("sn")])),
        given="\n".join(of("givenName")),
        names=tuple(dict.fromkeys(names)),
    )


def _user(user: User) -> FoundObject:
    names = [("login", user.username.lower()), *([("mail", user.email.lower())] if user.email else [])]
    return FoundObject(
        target="moodle",
        ref=f"{user.id} {user.idnumber}".strip(),
        login=user.username,
        mail=user.email.lower(),
        numbers=(user.idnumber,) if user.idnumber else (),
        family=user.lastname,
        given=user.firstname,
        names=tuple(names),
    )


def _mailbox(address: str) -> FoundObject:
    mail = address.lower()
    return FoundObject("mailbox", mail, "", mail, names=(("mail", mail),))
