"""The page of an office's odd files says what becomes of them today."""

from __future__ import annotations

import pytest

from tests.docs.office_files import PAGE, office_files, page


@pytest.mark.usefixtures("no_variables")
def test_the_page_of_odd_files_is_what_imports_say_now() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tests.docs.office_files`"


def test_every_row_of_every_file_has_a_fate() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = sum(len(file.rows) for file in office_files())
    assert text.count("\n| ") - text.count("\n| Ligne |") == rows
    for fate in ("acceptée", "ignorée", "**refusée**"):
        assert text.count(f"| {fate}") > len("rows")
