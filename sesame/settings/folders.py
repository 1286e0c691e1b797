"""The folders that Sésame's own files live in."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import SesameError


class FolderUnusable(SesameError):
    """A folder for Sésame's files can neither be used nor made. Make it for the user that runs Sésame, with
    mode 0700, or name another one by `data_dir`."""


def make(folder: Path) -> None:
    """Make this folder, closed to others; leave an existing one as it is. Raises `FolderUnusable`."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise FolderUnusable(f"the folder {folder} cannot be used: {error.strerror}") from error
