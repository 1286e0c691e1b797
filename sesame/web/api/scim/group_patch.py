"""Separates a modification's member changes from the rest of it (RFC 7644, 3.5.2).

Members are never read to be changed: joins and leaves are taken from the operations, in the forms that
clients send (a filter in the path, a list as the value, no path at all).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from scim2_models import InvalidPathException, InvalidValueException, PatchOp, PatchOperation

from schemas.language import gettext

_MEMBERS: Final = "members"
_PATH: Final = re.compile(
    r'(?:urn:ietf:params:scim:schemas:core:2\.0:Group:)?members(?:\[\s*value\s+eq\s+"([^"\\]*)"\s*\])?',
    re.IGNORECASE,
)


@dataclass
class MemberMoves:
    """Members who join and who leave. `whole`: the complete new list; None: all others stay."""

    whole: set[str] | None = None
    join: set[str] = field(default_factory=set)
    leave: set[str] = field(default_factory=set)

    def add(self, numbers: set[str]) -> None:
        """Let these join."""
        self.join |= numbers
        self.leave -= numbers

    def remove(self, numbers: set[str]) -> None:
        """Let these leave."""
        self.leave |= numbers
        self.join -= numbers

    def replace(self, numbers: set[str]) -> None:
        """Make these the only members."""
        self.whole, self.join, self.leave = numbers, set(), set()

    def __bool__(self) -> bool:
        return self.whole is not None or bool(self.join or self.leave)


def split(patch: PatchOp[Any]) -> tuple[MemberMoves, list[PatchOperation[Any]]]:
    """Split a modification into its member changes and the other operations.

    Raises:
        InvalidValueException, InvalidPathException: the members meant are unclear.
    """
    moves, others = MemberMoves(), []
    for operation in patch.operations or ():
        path = "" if operation.path is None else str(operation.path)
        if not path and isinstance(operation.value, dict):
            left = {}
            for name, value in operation.value.items():
                if _PATH.fullmatch(name):
                    _apply(moves, operation.op, name, value)
                else:
                    left[name] = value
            if left:
                others.append(operation.model_copy(update={"value": left}))
        elif _PATH.fullmatch(path):
            _apply(moves, operation.op, path, operation.value)
        elif path.rpartition(":")[2].lower().startswith(_MEMBERS):
            raise InvalidPathException(
                detail=gettext('a member is named by members[value eq "…"], and is not changed')
            )
        else:
            others.append(operation)
    return moves, others


def _apply(moves: MemberMoves, op: PatchOperation.Op, path: str, value: Any) -> None:
    found = _PATH.fullmatch(path)
    named = found[1] if found is not None else None
    if op is PatchOperation.Op.remove:
        if named is not None:
            moves.remove({named})
        elif value is not None:  # Entra's form of members: an empty list names none
            moves.remove(_numbers(value))
        else:
            moves.replace(set())
    elif named is not None:
        raise InvalidPathException(detail=gettext("a member is put in or taken out, and is not changed"))
    elif op is PatchOperation.Op.add:
        moves.add(_numbers(value))
    else:
        moves.replace(_numbers(value))


def _numbers(value: Any) -> set[str]:
    listed = value if isinstance(value, list) else [value]
    numbers = set()
    for each in listed if value is not None else ():
        number = each.get("value") if isinstance(each, dict) else getattr(each, "value", each)
        if not isinstance(number, str) or not number:
            raise InvalidValueException(detail=gettext("a member has no `value`"))
        numbers.add(number)
    return numbers
