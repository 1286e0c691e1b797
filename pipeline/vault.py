"""The vault: sealed secrets for targets, under a key that the database lacks.

A secret is sealed where it is typed in (already hashed, if it is a password), travels as a reference, and is
erased once the target has it: a tombstone is left, so that a replay is a no-op and not an error.

Where the site configures it, the last hash of each student is kept after that, sealed too, for an entry that
is deleted: `kept_hashes`. It is in no backup.

A target that takes passwords as they are typed has a separate copy of each, under a reference that is made
of the first one's and its name (`plain_ref`), and for a short time only.
"""

from __future__ import annotations

import json
import math
import secrets
import stat
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of
from pipeline.errors import SesameError
from schemas.language import gettext

PASSWORD: Final = "password"  # noqa: S105 (the purpose that hashes are kept for, not a password)

vault = Table(
    "vault",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("ref", String(64), nullable=False, unique=True),
    Column("student_number", String(32), nullable=False, index=True),
    Column("purpose", String(32), nullable=False),
    Column("sealed", LargeBinary),  # None: consumed, only the tombstone is left
    Column("created_at", Float, nullable=False),
    Column("consumed_at", Float),
    Column("expires_at", Float),  # erased then, consumed or not; None: it waits until it is consumed
    Column(
        "shown_at", Float
    ),  # when it was set, by the clock of the target that has it; None: it did not say
    sqlite_autoincrement=True,
    info=rows_of("student_number"),
)

kept_hashes = Table(
    "kept_hashes",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("ref", String(64), nullable=False, unique=True),  # of its tombstone
    Column("sealed", LargeBinary, nullable=False),
    Column("sealed_by", String(16), nullable=False),  # names the key
    info=rows_of("student_number", in_backups=False),
)


# Made once: making a statement for each secret costs more than the database does.
_SEAL: Final = insert(vault)
_ROW: Final = select(vault).where(vault.c.ref == bindparam("of_ref"))
_SEQUENCE: Final = select(vault.c.sequence).where(
    vault.c.ref == bindparam("of_ref"), vault.c.student_number == bindparam("of_student")
)
_UNSETTLED: Final = select(vault.c.ref, vault.c.sealed.is_not(None).label("is_sealed")).where(
    vault.c.ref.in_(bindparam("refs", expanding=True)),
    or_(vault.c.sealed.is_not(None), vault.c.shown_at.is_(None)),
)
_SHOWN: Final = update(vault).where(vault.c.ref == bindparam("of_ref"))
_HANDED_OVER: Final = (
    select(vault.c.ref, vault.c.shown_at, vault.c.consumed_at, kept_hashes.c.ref.is_not(None).label("kept"))
    .join_from(vault, kept_hashes, vault.c.ref == kept_hashes.c.ref, isouter=True)
    .where(vault.c.ref.in_(bindparam("refs", expanding=True)), vault.c.consumed_at.is_not(None))
)
_KEPT: Final = select(kept_hashes).where(kept_hashes.c.ref == bindparam("of_ref"))
_FORGET: Final = delete(kept_hashes).where(
    or_(
        kept_hashes.c.student_number.in_(bindparam("numbers", expanding=True)),
        kept_hashes.c.ref.in_(bindparam("refs", expanding=True)),
    )
)
_TURNED_TOGETHER: Final = 500
_ERASE: Final = update(vault).where(
    vault.c.student_number == bindparam("of_student"),
    vault.c.purpose == bindparam("for_purpose"),
    vault.c.sequence <= bindparam("up_to"),
    vault.c.sealed.is_not(None),
)
_EXPIRE: Final = update(vault).where(vault.c.expires_at <= bindparam("now"), vault.c.sealed.is_not(None))


class VaultKeyError(SesameError):
    """The vault's key file is missing, readable by others, or not a key. Make one with `sesame vault init`,
    mode 0600, and keep a copy apart from the database's backups."""


class SealBroken(SesameError):
    """A sealed secret does not open with the present keys, or was moved to another student's row. Put the
    former key back as a further line of the key file; if it is lost, the student chooses a new password."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A secret that was seen in its target.

    Attributes:
        shown_at: when it was set, by the target's clock (epoch seconds); None: the target has no time.
        seen_at: when it was seen there, by our clock.
        kept: whether its hash is kept.
    """

    shown_at: float | None
    seen_at: float
    kept: bool = False


def new_key() -> str:
    """Return a new key, as one line of a key file."""
    return Fernet.generate_key().decode()


def read_keys(path: Path) -> list[str]:
    """Read a key file: the first line seals, every line opens (rotation). Raises `VaultKeyError`."""
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise VaultKeyError(
            gettext("the vault's key file {path} cannot be read: {why}", path=path, why=error)
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise VaultKeyError(
            gettext("the vault's key file {path} is open to others", path=path), remedy=f"chmod 600 {path}"
        )
    if not lines:
        raise VaultKeyError(gettext("the vault's key file {path} is empty", path=path))
    return lines


def derive_keys(keys: Sequence[str], purpose: str) -> list[bytes]:
    """Derive a key for another purpose from each vault key (HKDF, RFC 5869).

    The present one first. Code that signs cookies or keys digests so needs no secret file, and rotates with
    the vault's key.
    """
    return [
        HKDF(algorithm=SHA256(), length=32, salt=None, info=f"sesame/{purpose}".encode()).derive(key.encode())
        for key in keys
    ]


def plain_ref(ref: str, target: str) -> str:
    """Return the reference of a target's plain copy of the password behind `ref`."""
    return f"{ref}.{target}"


def handed_over(connection: Connection, refs: Sequence[str]) -> dict[str, HandedOver]:
    """Return those of these references whose secret was seen in a target."""
    rows = connection.execute(_HANDED_OVER, {"refs": list(refs)}) if refs else ()
    return {row.ref: HandedOver(row.shown_at, row.consumed_at, row.kept) for row in rows}


def forget_kept(
    connection: Connection, *, numbers: Iterable[str] = (), refs: Iterable[str | None] = ()
) -> None:
    """Destroy the kept hashes of these students, and those behind these references."""
    connection.execute(_FORGET, {"numbers": list(numbers), "refs": [ref for ref in refs if ref is not None]})


def expire(connection: Connection, now: float) -> int:
    """Erase expired secrets, and leave tombstones; return how many."""
    values = {"now": now, "sealed": None, "consumed_at": now}
    return connection.execute(_EXPIRE, values).rowcount


class Vault:
    """Seals and opens secrets. Thread-safe.

    Args:
        keys: as `read_keys` gives them.
        clock: seconds since the epoch, UTC.
        plain_for: the targets that want passwords as they are typed, and for how many seconds each is kept.
        keep_last: whether the last hash that was handed over is kept, for an entry that is deleted later.
    """

    def __init__(
        self,
        database: Database,
        keys: Sequence[str],
        *,
        clock: Callable[[], float],
        plain_for: Mapping[str, float] | None = None,
        keep_last: bool = False,
    ) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError as error:
            raise VaultKeyError(
                "a line of the vault's key file is not a key (32 bytes, URL-safe base64)"
            ) from error
        self._database = database
        self._clock = clock
        self._plain_for = dict(plain_for or {})
        self._keep_last = keep_last
        self._key = derive_keys(keys[:1], "kept-hashes")[0].hex()[:16]

    def seal(self, connection: Connection, student_number: str, purpose: str, secret: str) -> str:
        """Keep `secret` for this student and purpose; return its reference."""
        # One after the other: what is sealed later has the higher sequence, and is seen later.
        self._database.alone(connection, "vault", student_number)
        ref = secrets.token_urlsafe(18)
        self._keep(connection, ref, student_number, purpose, secret)
        if purpose == PASSWORD:
            forget_kept(connection, numbers=[student_number])
        return ref

    def seal_password(self, connection: Connection, student_number: str, hashed: str, password: str) -> str:
        """Keep a password's hash, and plain copies for targets that need one. Return the hash's reference."""
        ref = self.seal(connection, student_number, PASSWORD, hashed)
        typed = unicodedata.normalize("NFC", password)  # as it was hashed (RFC 8265, 4.2.2)
        for target, life_s in self._plain_for.items():
            expires_at = self._clock() + life_s
            self._keep(connection, plain_ref(ref, target), student_number, f"@{target}", typed, expires_at)
        return ref

    def _keep(
        self,
        connection: Connection,
        ref: str,
        student_number: str,
        purpose: str,
        secret: str,
        expires_at: float | None = None,
    ) -> None:
        inside = json.dumps({"ref": ref, "student": student_number, "secret": secret})
        connection.execute(
            _SEAL,
            {
                "ref": ref,
                "student_number": student_number,
                "purpose": purpose,
                "sealed": self._fernet.encrypt(inside.encode()),
                "created_at": self._clock(),
                "expires_at": expires_at,
            },
        )

    def open(self, ref: str) -> str | None:
        """Return the secret of a reference, None if consumed, expired or unknown. Raises `SealBroken`."""
        with self._database.read() as connection:
            row = connection.execute(_ROW, {"of_ref": ref}).one_or_none()
        if row is None or row.sealed is None or (row.expires_at or math.inf) <= self._clock():
            return None
        return self._opened(row)

    def open_kept(self, ref: str) -> str | None:
        """Return the kept last hash, to restore a deleted entry; None: not kept. Raises `SealBroken`.

        It counts as handed over now, and its target reports the time of the write that follows.
        """
        if not self._keep_last:
            return None
        with self._database.write() as connection:
            row = connection.execute(_KEPT, {"of_ref": ref}).one_or_none()
            if row is None:
                return None
            secret = self._opened(row)
            connection.execute(_SHOWN, {"of_ref": ref, "shown_at": None, "consumed_at": self._clock()})
        return secret

    def _opened(self, row: Row[Any]) -> str:
        try:
            inside = json.loads(self._fernet.decrypt(row.sealed))
        except InvalidToken as error:
            raise SealBroken from error
        if inside["ref"] != row.ref or inside["student"] != row.student_number:
            raise SealBroken
        return str(inside["secret"])

    def wrap(self, text: str) -> bytes:
        """Seal something that is kept elsewhere, for a short time."""
        return self._fernet.encrypt(text.encode())

    def unwrap(self, sealed: bytes) -> str:
        """Return the content of a wrapped text; raises `SealBroken`."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            raise SealBroken from error

    def consume(self, shown: Mapping[str, float | None]) -> None:
        """Erase these secrets, and older ones of the same student and purpose. Leave tombstones.

        `shown`: when the target reports that each was set; None: it does not report it. Nothing may ever be
        set back to these secrets. Consuming twice is harmless.
        """
        with self._database.read() as connection:
            rows = connection.execute(_UNSETTLED, {"refs": list(shown)}).all() if shown else []
        left = [row for row in rows if row.is_sealed or shown[row.ref] is not None]
        if not left:
            return
        with self._database.write() as connection:
            for row in left:
                if row.is_sealed:
                    self.erase(connection, row.ref)
                connection.execute(_SHOWN, {"of_ref": row.ref, "shown_at": shown[row.ref]})

    def handed_over(self, refs: Sequence[str]) -> Mapping[str, HandedOver]:
        """Return those of these references whose secret was seen in a target."""
        with self._database.read() as connection:
            return handed_over(connection, refs)

    def erase(self, connection: Connection, ref: str) -> None:
        """Erase one secret, within the caller's transaction; see `consume`."""
        row = connection.execute(_ROW, {"of_ref": ref}).one_or_none()
        if row is None:
            return
        if row.purpose == PASSWORD and row.sealed is not None:
            forget_kept(connection, numbers=[row.student_number])
            if self._keep_last and self.latest(connection, row.student_number, PASSWORD) == row.ref:
                self._keep_hash(connection, row.ref, row.student_number, row.sealed)
        these = {"of_student": row.student_number, "for_purpose": row.purpose, "up_to": row.sequence}
        connection.execute(_ERASE, {**these, "sealed": None, "consumed_at": self._clock()})

    def _keep_hash(self, connection: Connection, ref: str, student_number: str, sealed: bytes) -> None:
        """Keep a hash, resealed by the present key; drop it if no key opens it."""
        with suppress(InvalidToken):
            values = {"student_number": student_number, "ref": ref, "sealed_by": self._key}
            connection.execute(insert(kept_hashes).values(**values, sealed=self._fernet.rotate(sealed)))

    def forget_kept(self, refs: Sequence[str]) -> None:
        """Destroy the kept hashes behind these references."""
        with self._database.write() as connection:
            forget_kept(connection, refs=refs)

    def tend_kept(self) -> None:
        """Reseal kept hashes under the present key, or destroy them if none is to be kept."""
        others = select(kept_hashes).limit(_TURNED_TOGETHER)
        if self._keep_last:
            others = others.where(kept_hashes.c.sealed_by != self._key)
        while True:
            with self._database.read() as connection:
                if connection.execute(others.limit(1)).one_or_none() is None:
                    return
            with self._database.write() as connection:
                for row in connection.execute(others).all():
                    forget_kept(connection, refs=[row.ref])
                    if self._keep_last:
                        self._keep_hash(connection, row.ref, row.student_number, row.sealed)

    def sequence(self, connection: Connection, student_number: str, ref: str) -> int | None:
        """Return a reference's place in the order of sealing; None: not this student's."""
        sealed = connection.execute(_SEQUENCE, {"of_ref": ref, "of_student": student_number})
        return sealed.scalar_one_or_none()

    def latest(self, connection: Connection, student_number: str, purpose: str) -> str | None:
        """The newest reference of a student for this purpose, consumed or not."""
        return connection.execute(
            select(vault.c.ref)
            .where(vault.c.student_number == student_number, vault.c.purpose == purpose)
            .order_by(vault.c.sequence.desc())
            .limit(1)
        ).scalar_one_or_none()
