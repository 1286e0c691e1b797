"""The page of evidence: each tool writes its figures between its marks."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "evidence.md"


def written(section: str, page: Path = PAGE) -> str:
    """The present text of a section. Raises ValueError: the page has no such marks."""
    found = _between(section).search(page.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{page.name} has no marks of {section}")
    return found[2].strip()


def write(section: str, text: str, page: Path = PAGE) -> None:
    """Replace a section's text; everything else stays as it is."""
    written(section, page)  # check that there are marks
    before = page.read_text(encoding="utf-8")
    after = _between(section).sub(lambda found: f"{found[1]}\n\n{text.strip()}\n\n{found[3]}", before)
    page.write_text(after, encoding="utf-8")


def _between(section: str) -> re.Pattern[str]:
    name = re.escape(section)
    return re.compile(rf"(<!-- {name} -->)(.*?)(<!-- /{name} -->)", re.DOTALL)
