"""What of a filter an index answers: equalities that must hold whatever else does (RFC 7644, 3.4.2.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scim2_models.path import (
    CompareOperator,
    Comparison,
    FilterNode,
    LogicalExpr,
    LogicalOperator,
    ValuePath,
)


def equalities(node: FilterNode, known: Mapping[str, str]) -> dict[str, str]:
    """The texts that some attributes must have for the filter to fit.

    Args:
        known: by attribute, in lower case and without its schema, what it is called in the answer.
    """
    found: dict[str, str] = {}
    for attribute, value in _equal(node):
        if attribute in known:
            found.setdefault(known[attribute], value)
    return found


def _equal(node: FilterNode, within: str = "") -> Iterator[tuple[str, str]]:
    match node:
        case LogicalExpr(op=LogicalOperator.and_):
            for term in node.terms:
                yield from _equal(term, within)
        case ValuePath():
            yield from _equal(node.val_filter, f"{node.attr_path.attr}.".lower())
        case Comparison(op=CompareOperator.eq, value=str() as value):
            sub = f".{node.attr_path.sub_attr}" if node.attr_path.sub_attr else ""
            yield f"{within}{node.attr_path.attr}{sub}".lower(), value
