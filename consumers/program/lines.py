"""One line of JSON in each direction. Pure. See docs/reference/connector-contract.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from consumers.kit.connector import Change, Held, Refused, Seen, TargetObject
from pipeline.errors import Misconfigured
from schemas.account import Account

REFUSED: Final = "program_refused"
HELD: Final = "program_waits"

_Text = Annotated[str, Field(max_length=2000)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


LineT = TypeVar("LineT", bound=_Line)


class ObjectLine(_Line):
    """An object as the target has it."""

    ref: Annotated[str, Field(min_length=1, max_length=2000)]
    student_number: str = ""
    fields: dict[str, tuple[_Text, ...]] = {}
    open: bool | None = None
    names: tuple[tuple[str, str], ...] = ()
    evidence: dict[str, _Text] = {}

    def shown(self) -> TargetObject:
        """Convert to the kit's shape; the values of a field have no order."""
        fields = {name: tuple(sorted(values)) for name, values in self.fields.items()}
        return TargetObject(
            self.ref, self.student_number, fields, self.open, self.names, evidence=self.evidence
        )


class RefusedLine(_Line):
    """Why one student was refused; `message` is for operators, without names."""

    message: str = ""
    lasting: bool = False

    def said(self) -> Refused:
        """Convert to the kit's shape."""
        text = "".join(c if c.isprintable() else " " for c in self.message)[:200]
        return Refused(REFUSED, text or "the program refuses this student", self.lasting)


class HeldLine(_Line):
    """What a student waits for at the target."""

    pending: tuple[_Text, ...] = ()
    recheck_after_s: Annotated[float, Field(gt=0)] | None = None


class SeenLine(_Line):
    """An answer to `read`."""

    student_number: str
    objects: tuple[ObjectLine, ...] = ()
    held: HeldLine | None = None
    refused: RefusedLine | None = None

    def said(self) -> Seen:
        """Convert to the kit's shape."""
        if self.refused is not None:
            return self.refused.said()
        if self.held is not None:
            return Held(HELD, self.held.pending, self.held.recheck_after_s)
        return [each.shown() for each in self.objects]


class WrittenLine(_Line):
    """An answer to `apply` and `close`: `student_number`; to `erase`: `ref`."""

    student_number: str = ""
    ref: str = ""
    refused: RefusedLine | None = None


def account_line(account: Account) -> str:
    """An account as sent to the program."""
    return _json(_told(account))


def change_line(change: Change) -> str:
    """A change to be written, or access to be shut."""
    return _json(
        {
            **_told(change.account),
            "ref": None if change.found is None else change.found.ref,
            "fields": {name: list(values) for name, values in change.fields.items()},
            "open": change.open,
        }
    )


def ref_line(found: TargetObject) -> str:
    """An object to be erased."""
    return _json({"ref": found.ref, "student_number": found.student_number})


def values_of(account: Account, field: str) -> tuple[str, ...]:
    """The wanted values of a field, sorted by text: the program's answer has no order."""
    return tuple(sorted(value for value in _VALUES[field](account) if value))


def seen_of(lines: Iterable[bytes], asked: Collection[str]) -> dict[str, Seen]:
    """Answers to `read`, by student number. Raises Misconfigured: not the contract's, or unasked."""
    return {line.student_number: line.said() for line in _asked(SeenLine, lines, asked, "student_number")}


def refused_of(lines: Iterable[bytes], asked: Collection[str], key: str) -> dict[str, Refused]:
    """The refusals among the answers to a writing verb, by `key`. Raises Misconfigured: as `seen_of`."""
    return {
        getattr(line, key): line.refused.said()
        for line in _asked(WrittenLine, lines, asked, key)
        if line.refused is not None
    }


def objects_of(lines: Iterable[bytes]) -> Iterator[TargetObject]:
    """All objects in the answer to `objects`. Raises Misconfigured: a line is not the contract's."""
    return (_parsed(ObjectLine, line).shown() for line in lines if line.strip())


def _asked(model: type[LineT], lines: Iterable[bytes], asked: Collection[str], key: str) -> Iterator[LineT]:
    for text in lines:
        if not text.strip():
            continue
        line = _parsed(model, text)
        if getattr(line, key) not in asked:
            raise Misconfigured(
                f"the connector's program answers for a {key} that it was not asked for",
                remedy="Its author mends it; nothing was taken from this answer.",
            )
        yield line


def _parsed(model: type[LineT], text: bytes) -> LineT:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        raise Misconfigured(
            f"the connector's program says a line that is not the contract's: {where}: {first['msg']}",
            remedy="Its author mends it: docs/reference/connector-contract.md.",
        ) from None


def _told(account: Account) -> Mapping[str, Any]:
    fields = {name: list(values_of(account, name)) for name in _VALUES}
    return {"student_number": account.student_number, "version": account.version, "account": fields}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_VALUES: Final[Mapping[str, Callable[[Account], tuple[str, ...]]]] = {
    "login": lambda a: (a.login,),
    "mail": lambda a: (a.mail,),
    "aliases": lambda a: a.aliases,
    "display_name": lambda a: (a.person.display_name,),
    "family_name": lambda a: (a.person.family_name,),
    "given_name": lambda a: (a.person.shown_given_name,),
    "language": lambda a: (a.person.language,),
    "affiliations": lambda a: a.affiliations,
    "entities": lambda a: a.entities,
    "groups": lambda a: tuple(each.key for each in a.groups if each.met),
    "cohorts": lambda a: tuple(each.key for each in a.cohorts if each.met),
    "valid_until": lambda a: () if a.valid_until is None else (a.valid_until.isoformat(),),
}
