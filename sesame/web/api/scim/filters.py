"""Translates filters (RFC 7644, 3.4.2.2) for the database: keys, and columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from scim2_models import InvalidFilterException, Resource, ScimFilter
from scim2_models.path import (
    CompareOperator,
    Comparison,
    FilterNode,
    LogicalExpr,
    LogicalOperator,
    Not,
    ValuePath,
)

from schemas.language import gettext
from sesame.operations.people.person_search import (
    AllBut,
    AllOrNobody,
    KnownBy,
    PersonChanged,
    PersonHeld,
    Several,
    Where,
)

TERMS_MAX: Final = 100
"""Comparisons of one filter: the keys of as many persons as a page has at most."""

FILTER_CHARACTERS_MAX: Final = 20_000
"""Room for that many comparisons; a longer filter is not read."""

_FIXED: Final = ("schemas", "meta.resourcetype")
"""Values that all users share."""


@dataclass(frozen=True)
class Narrowed:
    """The database's part of a filter. `exact`: it is the whole filter; else some rows found do not match."""

    where: Where
    exact: bool


def check_terms(wanted: ScimFilter[Any]) -> None:
    """Refuse a filter with too many comparisons. Raises `InvalidFilterException`."""
    if sum(1 for _ in _leaves(wanted.ast)) > TERMS_MAX:
        raise InvalidFilterException(
            detail=gettext("a filter has at most {count} comparisons", count=TERMS_MAX)
        )


def narrowed(wanted: ScimFilter[Any], known: Mapping[str, Any], sample: Resource[Any]) -> Narrowed | None:
    """The database's part of this filter; None: it can answer nothing.

    Args:
        known: the kind of key, by attribute in lower case and without its schema.
        sample: any resource.
    """
    return _Narrower(wanted, known, sample).of(wanted.ast)


@dataclass(frozen=True)
class _Narrower:
    wanted: ScimFilter[Any]
    known: Mapping[str, Any]
    sample: Resource[Any]

    def of(self, node: FilterNode, within: str = "") -> Narrowed | None:
        match node:
            case LogicalExpr():
                return self._several([self.of(term, within) for term in node.terms], node.op)
            case Not():
                inner = self.of(node.expr, within)
                exact = inner is not None and inner.exact
                return Narrowed(AllBut(inner.where), exact=True) if inner is not None and exact else None
            case ValuePath():
                inner = self.of(node.val_filter, f"{node.attr_path.attr}.".lower())
                return None if inner is None else Narrowed(inner.where, exact=False)
            case Comparison():
                return self._compared(node, within)
        return None

    @staticmethod
    def _several(found: Sequence[Narrowed | None], op: LogicalOperator) -> Narrowed | None:
        """Combine parts: `and` uses those that narrow; `or` needs all to narrow."""
        parts, some = [each for each in found if each is not None], op is LogicalOperator.or_
        whole = len(parts) == len(found)
        if not parts or (some and not whole):
            return None
        where = Several(tuple(each.where for each in parts), some=some)
        return Narrowed(where, exact=whole and all(each.exact for each in parts))

    def _compared(self, node: Comparison, within: str) -> Narrowed | None:
        name, equal = _name(node, within), node.op is CompareOperator.eq
        if name in _FIXED:
            return Narrowed(AllOrNobody(type(self.wanted)(node).match(self.sample)), exact=True)
        if name in self.known and equal and isinstance(node.value, str):
            kind = self.known[name]
            where = KnownBy(kind, node.value) if is_kept(node.value) else AllOrNobody(everybody=False)
            return Narrowed(where, exact=kind in ("number", "external_id"))
        if name == "active" and isinstance(node.value, bool) and node.op in _EQUAL:
            return Narrowed(PersonHeld() if node.value is not equal else AllBut(PersonHeld()), exact=True)
        changed = _changed(node) if name == "meta.lastmodified" else None
        return None if changed is None else Narrowed(changed, exact=True)


def equalities(node: FilterNode, known: Mapping[str, str]) -> dict[str, str]:
    """The texts that some attributes must have for the filter to match.

    `known`: the name in the answer, by attribute in lower case and without its schema.
    """
    found: dict[str, str] = {}
    for attribute, value in _equal(node):
        if attribute in known and is_kept(value):
            found.setdefault(known[attribute], value)
    return found


def is_kept(text: str) -> bool:
    """Whether a database may have this text: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


_EQUAL: Final = (CompareOperator.eq, CompareOperator.ne)


def _changed(node: Comparison) -> Where | None:
    try:
        at = datetime.fromisoformat(str(node.value))
        moment = at.timestamp()
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        return None
    at_or_after, at_or_before = PersonChanged(moment, after=True), PersonChanged(moment, after=False)
    then = Several((at_or_after, at_or_before))
    compared: dict[CompareOperator, Where] = {
        CompareOperator.gt: AllBut(at_or_before),
        CompareOperator.ge: at_or_after,
        CompareOperator.lt: AllBut(at_or_after),
        CompareOperator.le: at_or_before,
        CompareOperator.eq: then,
        CompareOperator.ne: AllBut(then),
    }
    return compared.get(node.op)


def _name(node: Comparison, within: str) -> str:
    sub = f".{node.attr_path.sub_attr}" if node.attr_path.sub_attr else ""
    return f"{within}{node.attr_path.attr}{sub}".lower()


def _equal(node: FilterNode, within: str = "") -> Iterator[tuple[str, str]]:
    match node:
        case LogicalExpr(op=LogicalOperator.and_):
            for term in node.terms:
                yield from _equal(term, within)
        case ValuePath():
            yield from _equal(node.val_filter, f"{node.attr_path.attr}.".lower())
        case Comparison(op=CompareOperator.eq, value=str() as value):
            yield _name(node, within), value


def _leaves(node: FilterNode) -> Iterator[FilterNode]:
    match node:
        case LogicalExpr():
            for term in node.terms:
                yield from _leaves(term)
        case Not():
            yield from _leaves(node.expr)
        case ValuePath():
            yield from _leaves(node.val_filter)
        case _:
            yield node
