"""Shared by tests, benchmarks and connectors' authors; no shipped code imports it.

It needs pytest, which the application does not install; `servers` needs a checkout, as the sandbox does.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(f"{__name__}.eventlog", f"{__name__}.servers")
