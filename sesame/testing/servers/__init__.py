"""The sandbox's real servers for tests and benchmarks, and students made for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import pytest

from sandbox.process import MissingServer

T = TypeVar("T")


def require_service(make: Callable[[], T]) -> T:
    """Make a server of the sandbox. If its programs are missing, skip, or fail when CI=true."""
    try:
        return make()
    except MissingServer as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
