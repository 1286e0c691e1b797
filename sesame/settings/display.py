"""The settings in force, to show an operator: every secret masked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

MASK = "********"


def masked(value: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting's dotted name and a value that is safe to show."""
    for name in type(value).model_fields:
        part = getattr(value, name)
        if isinstance(part, BaseModel):
            yield from masked(part, f"{prefix}{name}.")
        else:
            yield prefix + name, _safe(part, name)


def _safe(value: object, name: str) -> object:
    if isinstance(value, SecretStr):
        return _address(value.get_secret_value()) if name == "url" else MASK
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple | list):
        return [_safe(item, name) for item in value]
    if isinstance(value, frozenset | set):
        return sorted(str(item) for item in value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _address(url: str) -> str:
    """A database's address with its password hidden; all of it hidden, if it is none."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        return MASK
    kept = {name: text for name, text in address.query.items() if "password" not in name}
    return address.set(query=kept).render_as_string(hide_password=True).replace(":***@", f":{MASK}@")
