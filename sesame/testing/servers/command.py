"""A command as an operator types it, in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from sesame.cli import main


def sesame(*words: str, answer: str | None = None) -> Result:
    """Run `sesame` with these words; `answer` is typed when it asks."""
    return CliRunner().invoke(main, words, prog_name="sesame", input=answer)
