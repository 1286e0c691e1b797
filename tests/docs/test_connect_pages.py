"""A connector of gold or better has a page that connects it: its settings, and a command that tries them."""

from __future__ import annotations

import re

import pytest

from consumers.kit import registration
from tests.docs.documents import ROOT

PAGES = [*(ROOT / "docs" / "how-to").glob("*.md"), ROOT / "docs" / "reference" / "connector-contract.md"]
GOOD = sorted(
    name for name, each in registration.installed().items() if each.load().level in ("gold", "platinum")
)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_connector_is_connected_by_a_page(name: str) -> None:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    named = rf'^\[{name}\]$|^connector = "{name}"$|`{name}` to `targets`'
    tried = rf"sesame (doctor --only|connector check) ({name}|badges)\b"
    connecting = [text for text in texts if re.search(named, text, re.MULTILINE) and re.search(tried, text)]
    assert connecting, f"no page connects {name}"
