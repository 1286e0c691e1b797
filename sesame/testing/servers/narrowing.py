"""Narrow a value's type, or fail."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def expect(kind: type[T], value: object) -> T:
    assert isinstance(value, kind), f"{value!r} is no {kind.__name__}"
    return value


def present(value: T | None) -> T:
    assert value is not None
    return value
