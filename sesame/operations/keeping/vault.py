"""The vault's key: made once, and never replaced."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import SesameError
from pipeline.vault import new_key
from schemas.language import gettext
from sesame.acts.acts import ADMINISTRATORS, Actor, Report, act
from sesame.acts.ports import HasSettings
from sesame.settings import folders


class KeyExists(SesameError):
    """The key file exists, and is left as it is: without it nothing that it sealed can be opened again."""


class KeyMade(Report):
    """The key's place. The key opens everything that it seals."""

    path: Path


@act("vault.init", ADMINISTRATORS)
def make_key(site: HasSettings, _actor: Actor) -> KeyMade:
    """Make the vault's key file, mode 0600. No store is needed yet, and so there is no audit.

    Raises:
        KeyExists: there is one.
        FolderUnusable: its folder can neither be used nor made.
    """
    remedy = gettext("To change keys, put a new one on a line above the present one.")
    return key_made(site.settings.vault_key_file, remedy=remedy)


def key_made(path: Path, *, remedy: str) -> KeyMade:
    """Make a file with a new key, mode 0600, and its folder. `remedy`: of `KeyExists`.

    Raises:
        KeyExists, FolderUnusable: as `make_key`.
    """
    folders.make(path.parent)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyExists(gettext("{path} exists, and is left as it is", path=path), remedy=remedy) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(new_key() + "\n")
    return KeyMade(path=path)
