"""Read all objects that the targets list, students' or not, for the sheet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from consumers.directory import NAME as DIRECTORY
from consumers.directory.objects import EntryObject
from consumers.kit.connector import Anything, TargetObject
from pipeline.errors import Misconfigured, SesameError, TargetDown, fault
from schemas.language import gettext
from sesame.acts.ports import Targets
from sesame.operations.questions.adoption.adoptions import NUMBER_AFTER
from sesame.operations.questions.adoption.run import Reader
from sesame.operations.questions.adoption.sheet import FoundObject

_KINDS: Final = ("login", "mail", "principal")
_NAME_MAX, _REF_MAX = 255, 512  # the store's columns


def readers(site: Targets) -> dict[str, Reader]:
    """Read-only readers of configured targets that hold people, the directory first."""
    targets = sorted(site.settings.targets, key=lambda target: target != DIRECTORY)
    return {
        target: partial(_reader, site, target)
        for target in targets
        if target == DIRECTORY or _lists(site, target)
    }


def _lists(site: Targets, target: str) -> bool:
    """Whether a connector lists objects; an unusable one fails when it is read."""
    connector = site.settings.connector_of(target).connector
    return connector is None or "objects" in connector.verbs()


@contextmanager
def _reader(site: Targets, target: str) -> Iterator[Iterator[FoundObject]]:
    if target == DIRECTORY:
        with site.directory() as directory:
            yield map(_entry, directory.objects())
    else:
        with site.connector(target) as connector:
            yield objects(connector)


def objects(connector: Anything) -> Iterator[FoundObject]:
    """Every object of a connector's target.

    Raises:
        TargetDown, Misconfigured: it cannot be read, also for a fault in the connector's code.
    """
    try:
        for found in connector.objects():
            yield _object(connector.name, found)
    except SesameError:
        raise
    except Exception as error:  # the connector's own code
        message = gettext("{target} cannot be listed: {why}", target=connector.name, why=fault(error))
        raise TargetDown(message, unknown=False) from error


def _entry(entry: EntryObject) -> FoundObject:
    """Convert a listed entry, with all of its numbers and names."""
    return FoundObject(
        target=DIRECTORY,
        ref=entry.ref,
        login=entry.logins[0] if entry.logins else "",
        mail=next((mail.lower() for mail in entry.of("mail")), ""),
        numbers=tuple(number.strip() for number in entry.student_numbers if number.strip()),
        ine=entry.evidence["ine"].strip().upper(),
        birth=entry.evidence["birth"],
        family="\n".join(dict.fromkeys(entry.of("supannNomDeNaissance", "sn"))),
        given="\n".join(entry.of("givenName")),
        names=tuple(dict.fromkeys((kind, value.lower()) for kind, value in entry.names)),
    )


def _object(target: str, found: TargetObject) -> FoundObject:
    names = [
        (kind, value)
        for kind, value in found.names
        if kind in _KINDS and 0 < len(value) <= _NAME_MAX and value.isprintable()
    ]
    number = _printable(found.student_number)
    if len(found.ref) + len(NUMBER_AFTER) + len(number) > _REF_MAX or not found.ref.isprintable():
        message = gettext(
            "{target} names an object by more than {n} characters, or by some that cannot be printed",
            target=target,
            n=_REF_MAX,
        )
        raise Misconfigured(message)

    def told(kind: str) -> str:
        return _printable(found.evidence.get(kind) or "")

    return FoundObject(
        target=target,
        ref=found.ref,
        login=next((value for kind, value in names if kind == "login"), ""),
        mail=next((value.lower() for kind, value in names if kind == "mail"), ""),
        numbers=(number,) if number else (),
        ine=told("ine").upper(),
        birth=told("birth"),
        family=told("family"),
        given=told("given"),
        names=tuple(dict.fromkeys((kind, value.lower()) for kind, value in names)),
    )


def _printable(text: str) -> str:
    """A text that every store takes."""
    return "".join(each if each.isprintable() else "?" for each in text.strip())
