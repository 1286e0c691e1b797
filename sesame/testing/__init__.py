"""What tests, benchmarks and authors of connectors share; nothing that is shipped imports it.

It wants pytest, which the application does not install; `servers` is for a checkout, as the sandbox is.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(f"{__name__}.eventlog", f"{__name__}.servers")
