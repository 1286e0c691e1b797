"""A password for each student, as one would choose it, kept in files of mode 0600."""

from __future__ import annotations

import os
import secrets
import string
from collections.abc import Iterable, Mapping
from pathlib import Path

_ALPHABET = "".join(set(string.ascii_letters + string.digits) - set("0O1lI") - set("aeiouyAEIUY"))
"""Read aloud without doubt, and no vowels: among thousands, one would hold its student's name by chance."""
_CHARACTERS = 18  # log2(47 ** 18) is 99 bits


def make(numbers: Iterable[str]) -> dict[str, str]:
    """A password for each student number."""
    return {number: _made() for number in numbers}


def _made() -> str:
    """A password of three kinds of characters, as students' must be."""
    while True:
        made = "".join(secrets.choice(_ALPHABET) for _ in range(_CHARACTERS))
        if all(any(map(kind, made)) for kind in (str.islower, str.isupper, str.isdecimal)):
            return made


def write_private(path: Path, text: str) -> Path:
    """Write a file that its owner alone may read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def write_passwords(path: Path, passwords: Mapping[str, str]) -> Path:
    """Write the file that `sesame activate --password-file` reads."""
    return write_private(path, "".join(f"{number}:{word}\n" for number, word in passwords.items()))
