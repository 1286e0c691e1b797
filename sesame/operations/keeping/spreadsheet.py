"""CSV lines for a spreadsheet: semicolons, as Excel expects, and no formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Final

MARK: Final = "\ufeff"
"""Begins a file; without it Excel assumes Windows-1252."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def line(cells: Iterable[str], *, quoted: bool = False) -> str:
    """One CSV line; formulas become text (OWASP, CSV Injection). `quoted`: every cell is."""
    text = io.StringIO()
    safe = [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells]
    csv.writer(
        text, delimiter=";", lineterminator="\r\n", quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    ).writerow(safe)
    return text.getvalue()
