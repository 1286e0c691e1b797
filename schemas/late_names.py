"""A package's public names that are loaded from its modules when they are first asked for (PEP 562).

For a room of which many want little: who reads its settings, or a row, does not load the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def late_names(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """What a package has as its `__getattr__`.

    Args:
        places: each public name's module in the package.
    """

    def get(name: str) -> Any:
        if name in places:
            found = getattr(import_module(f"{package}.{places[name]}"), name)
            setattr(sys.modules[package], name, found)  # it is not asked for again
            return found
        if not name.startswith("_") and find_spec(f"{package}.{name}") is not None:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
