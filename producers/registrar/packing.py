"""Unpack a file (gzip, zip, a spreadsheet, UTF-16) into an unnamed temporary file.

Once, within a bound; then it is read as any other file. Out of an archive comes a CSV file or a spreadsheet,
never another archive.
"""

from __future__ import annotations

import codecs
import errno
import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, cast
from zipfile import BadZipFile, ZipFile, ZipInfo

from pipeline.errors import system_words
from producers.registrar import ods, xlsx
from producers.registrar.faults import UnusableFile
from producers.registrar.lines import SpoolFailed
from producers.registrar.physical import Source, changed, state_of
from producers.registrar.profile import FeedProfile, FileForm
from producers.registrar.sheets import harmless
from producers.registrar.workbooks import REMEDY, Budget, Unpackable
from schemas.language import gettext, gettext_noop

_ZIPS, _GZIP = (b"PK\x03\x04", b"PK\x05\x06"), b"\x1f\x8b"  # the second zip is empty
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
WIDE = "UTF-16"
"""Excel's 'Unicode text'; it is converted to UTF-8."""
_CHUNK_BYTES = 1 << 16
_MEMBERS_MAX = 10_000
_ENCRYPTED = 1
_LITTER = ("__macosx/", "thumbs.db", "desktop.ini")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_BROKEN = (
    BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    UnicodeDecodeError,
)
_OFFICE = ("[Content_Types].xml", "mimetype")
_NESTED = gettext_noop("an archive in an archive")
_UNPACK = gettext_noop("Unpack the outer one, and import what is in it.")


@contextmanager
def opened(
    path: Path,
    profile: FeedProfile,
    *,
    sent: bytes | None = None,
    heed: Callable[[], object] = lambda: None,
) -> Iterator[Source]:
    """Open the file for reading: itself, or what is packed in it.

    Args:
        sent: the file's content, unpacked, that a program sent; None: it is at `path`.
        heed: called after each unpacked mebibyte; it may raise to stop the unpacking.

    Raises:
        UnusableFile: it is packed in a way that cannot be read, too large, or holds several things.
        SpoolFailed: no room for the unpacked file.
    """
    if sent is not None:
        yield Source(path, sent=sent)
        return
    try:
        state = Source(path).state()
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:  # reported where it is read
        yield Source(path)
        return
    if not start.startswith((*_ZIPS, _GZIP, *_WIDE)):
        yield Source(path)
        return
    with TemporaryFile() as unpacked:
        try:
            form, sheet = _unpack(path, profile, unpacked, heed)
        except Unpackable as error:
            what = gettext("{path}: {why}", path=path, why=error)
            raise UnusableFile(what, remedy=error.remedy, sheets=error.sheets) from error
        except _BROKEN as error:
            what = gettext("{path}: it is damaged, or packed in an unknown way", path=path)
            raise UnusableFile(what, remedy=REMEDY) from error
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise SpoolFailed from error
            why = system_words(error)
            what = gettext("{path}: cannot be unpacked: {why}", path=path, why=why)
            raise UnusableFile(what, remedy=REMEDY) from error
        if state_of(path.stat()) != state:
            raise changed(Source(path))
        unpacked.flush()
        yield Source(path, unpacked, form, sheet)


def _unpack(
    path: Path, profile: FeedProfile, into: IO[bytes], heed: Callable[[], object]
) -> tuple[str, str | None]:
    """Unpack a file and a spreadsheet in it; return its form, and the sheet if any."""
    budget = Budget(heed)
    with path.open("rb") as file:
        form, sheet = _taken_out(file, profile, into, budget)
    if sheet is not None:
        return form, sheet
    into.seek(0)
    start = into.read(4)
    if start.startswith(_GZIP):
        raise Unpackable(gettext(_NESTED), remedy=_UNPACK)
    if not start.startswith((*_ZIPS, *_WIDE)):
        return form, None
    with TemporaryFile() as packed:
        into.seek(0)
        _copy(into, packed, Budget(heed))
        into.seek(0)
        into.truncate()
        packed.seek(0)
        inner, sheet = _taken_out(packed, profile, into, budget, archives=False)
    return f"{form}, {inner}", sheet


def _taken_out(
    file: IO[bytes], profile: FeedProfile, into: IO[bytes], budget: Budget, *, archives: bool = True
) -> tuple[str, str | None]:
    """Unpack a file's contents; return its form, and the sheet if a spreadsheet."""
    start = file.read(2)
    file.seek(0)
    if start in _WIDE:
        _copy_as_utf8(file, into, budget)
        return WIDE, None
    if start == _GZIP:
        with gzip.open(file) as packed:
            _copy(cast("IO[bytes]", packed), into, budget)
        return "gzip", None
    with ZipFile(file) as archive:
        names = set(archive.namelist())
        if len(names) > _MEMBERS_MAX:
            raise Unpackable(gettext("it holds more than {n} files", n=_MEMBERS_MAX))
        for kind, write, is_there in (
            ("xlsx", xlsx.write_sheet, xlsx.WORKBOOK in names),
            ("ods", ods.write_sheet, _is_ods(archive, names)),
        ):
            if is_there:
                if profile.form is FileForm.JSON_LINES:
                    raise Unpackable(gettext("it is a spreadsheet, and the profile reads JSON lines"))
                return kind, harmless(write(archive, profile.file.sheet, into, budget))
        if names.intersection(_OFFICE):
            raise Unpackable(gettext("it is an office document, but no .xlsx and no .ods"))
        if not archives:
            raise Unpackable(gettext(_NESTED), remedy=_UNPACK)
        with archive.open(_only_member(archive)) as packed:
            _copy(packed, into, budget)
        return "zip", None


def _is_ods(archive: ZipFile, names: set[str]) -> bool:
    if "mimetype" not in names or ods.CONTENT not in names:
        return False
    with archive.open("mimetype") as file:
        return file.read(len(ods.MIMETYPE) + 1).strip() == ods.MIMETYPE


def _only_member(archive: ZipFile) -> ZipInfo:
    def is_litter(name: str) -> bool:
        last = name.rpartition("/")[2]
        return last.startswith(".") or name.casefold().startswith(_LITTER) or last.casefold() in _LITTER

    members = [each for each in archive.infolist() if not each.is_dir() and not is_litter(each.filename)]
    if len(members) != 1:
        shown = ", ".join(harmless(each.filename) for each in members[:10])
        several = gettext("it holds {n} files: {names}", n=len(members), names=shown)
        raise Unpackable(
            several if members else gettext("it holds no file"),
            remedy=gettext("Unpack it, and import the one that is the export."),
        )
    if members[0].flag_bits & _ENCRYPTED:
        raise Unpackable(gettext("it is protected by a password"), remedy=gettext("Pack it without one."))
    return members[0]


def _copy_as_utf8(file: IO[bytes], into: IO[bytes], budget: Budget) -> None:
    decoder = codecs.getincrementaldecoder("utf-16")()
    for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
        text = decoder.decode(chunk).encode()
        budget.spend(len(text))
        into.write(text)
    decoder.decode(b"", final=True)


def _copy(file: IO[bytes], into: IO[bytes], budget: Budget) -> None:
    while chunk := file.read(_CHUNK_BYTES):
        budget.spend(len(chunk))
        into.write(chunk)
