"""Reads an export, however its profile says it is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from producers.registrar import json_lines, reader
from producers.registrar.physical import Digest, Layout, Line
from producers.registrar.profile import FeedProfile, FileForm


def examine(path: Path, profile: FeedProfile) -> Layout:
    """Find out how the file is written.

    Raises:
        UnusableFile: it is no export of this profile.
    """
    if profile.form is FileForm.JSON_LINES:
        return json_lines.examine(path, profile.column_names, profile.encoding)
    return reader.examine(path, profile.column_names, profile.encoding)


def read(path: Path, layout: Layout, profile: FeedProfile, *, digest: Digest | None = None) -> Iterator[Line]:
    """The lines that state something; see `reader.read` and `json_lines.read`.

    Raises:
        UnusableFile: reading failed on the way, or the file was changed meanwhile.
    """
    if profile.form is FileForm.JSON_LINES:
        return json_lines.read(path, layout, profile.column_names, digest=digest)
    return reader.read(path, layout, profile.column_names, digest=digest)
