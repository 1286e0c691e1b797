"""Files kept between an import's steps: sealed, for 15 minutes, for their sender.

The disk has only what AES-GCM (NIST SP 800-38D) sealed under a key of the vault's, in a folder that no backup
has; whose each file is, this process alone knows. So a start forgets all of them, and empties the folder.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline.errors import SesameError
from pipeline.vault import derive_keys

KEPT_S: Final = 900.0
KEPT_BYTES_MAX: Final = 512 * 1024**2
"""Of all files together: two of the largest that may be sent."""

_CHUNK_BYTES: Final = 1024**2
_SEAL_BYTES: Final = 12 + 16
_SWEPT_EVERY_S: Final = 15.0


class KeptFileGone(SesameError):
    """This file is no longer kept. Its 15 minutes are over, it was imported or set aside, or another person
    sent it. Nothing was imported: choose the file again."""


class TooManyKept(SesameError):
    """Too many files wait to be imported at the moment. Nothing was imported. Try again in 15 minutes, or set
    aside a file that you sent."""


@dataclass
class KeptFile:
    """One file. `asked`: how it is to be read, as chosen so far; `ends_at`: on the monotonic clock.

    Attributes:
        loss: the approval's id and the number of people of the last preview, if the guard would hold it.
        header: the columns that have to be matched with the expected ones.
    """

    key: str
    owner: str
    name: str
    size: int
    ends_at: float
    asked: dict[str, str] = field(default_factory=dict)
    loss: tuple[str, int] | None = None
    header: tuple[str, ...] = ()


class KeptFiles:
    """The kept files of one process; for any thread.

    Args:
        folder: of these files alone; it is emptied.
        keys: the vault's, as `read_keys` gives them.
    """

    def __init__(
        self, folder: Path, keys: Sequence[str], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._seal = AESGCM(derive_keys(list(keys), "kept-files")[0])
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: dict[str, KeptFile] = {}
        shutil.rmtree(folder, ignore_errors=True)

    def keep(self, owner: str, name: str, file: IO[bytes], size: int, asked: dict[str, str]) -> KeptFile:
        """Seal a file and keep it. Raises `TooManyKept`."""
        kept = KeptFile(secrets.token_urlsafe(), owner, name, size, self._monotonic() + KEPT_S, asked)
        self.sweep()
        with self._lock:
            if size + sum(each.size for each in self._kept.values()) > KEPT_BYTES_MAX:
                raise TooManyKept
            self._kept[kept.key] = kept
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with open(self._folder / kept.key, "xb", opener=_private) as sealed:
                number = 0
                while chunk := file.read(_CHUNK_BYTES):
                    nonce = secrets.token_bytes(12)
                    sealed.write(nonce + self._seal.encrypt(nonce, chunk, _place(kept, number)))
                    number += 1
        except BaseException:
            self.drop(kept)
            raise
        return kept

    def of(self, owner: str, key: str) -> KeptFile:
        """A person's own file. Raises `KeptFileGone`."""
        self.sweep()
        kept = self._kept.get(key)
        if kept is None or kept.owner != owner:
            raise KeptFileGone
        return kept

    def unseal(self, kept: KeptFile, into: IO[bytes]) -> None:
        """Write the file's content. Raises `KeptFileGone`."""
        number = size = 0
        try:
            with (self._folder / kept.key).open("rb") as sealed:
                while chunk := sealed.read(_CHUNK_BYTES + _SEAL_BYTES):
                    plain = self._seal.decrypt(chunk[:12], chunk[12:], _place(kept, number))
                    into.write(plain)
                    number, size = number + 1, size + len(plain)
        except FileNotFoundError as error:
            raise KeptFileGone from error
        if size != kept.size:
            raise KeptFileGone

    def drop(self, kept: KeptFile) -> None:
        """Delete a file."""
        with self._lock:
            self._kept.pop(kept.key, None)
        (self._folder / kept.key).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete those whose time is over."""
        now = self._monotonic()
        for each in [each for each in list(self._kept.values()) if each.ends_at <= now]:
            self.drop(each)

    def keep_swept(self, stopping: threading.Event) -> None:
        """Sweep from time to time until `stopping` is set; then delete all."""
        while not stopping.wait(_SWEPT_EVERY_S):
            self.sweep()
        for each in list(self._kept.values()):
            self.drop(each)


def _place(kept: KeptFile, number: int) -> bytes:
    """Binds a part to its file and its place in it."""
    return f"{kept.key}:{kept.size}:{number}".encode()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
